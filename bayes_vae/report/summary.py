"""A report's first lines, on the page and on the command line; and the list of its sections."""

from __future__ import annotations

from typing import Any

from bayes_vae.report.code_sections import aggregate_section, calibration_section, kl_section
from bayes_vae.report.contents import ReportContents
from bayes_vae.report.diagnosis import diagnosis_section
from bayes_vae.report.evidence import gap_section, ladder_section, reliability_section
from bayes_vae.report.extremes import extremes_section
from bayes_vae.report.page_elements import Section
from bayes_vae.report.pictures import (
    latent_means_section,
    prior_section,
    reconstruction_section,
    traversal_section,
)
from bayes_vae.report.term_table import terms, terms_section
from bayes_vae.report.training_sections import about_section, training_section

__all__ = ["SECTIONS", "first_sentences", "sections", "summary"]

SECTIONS = (
    diagnosis_section,
    about_section,
    terms_section,
    training_section,
    reconstruction_section,
    prior_section,
    traversal_section,
    latent_means_section,
    ladder_section,
    reliability_section,
    gap_section,
    aggregate_section,
    kl_section,
    extremes_section,
    calibration_section,
)
"""In the order of the page."""

LEADING = {"diagnosis": 1, "terms": 2, "reliability": 1, "gap": 1, "kl-per-dimension": 1, "calibration": 1}
"""Sections whose first sentences lead the report, and how many of them."""


def sections(contents: ReportContents) -> list[Section]:
    """Every section, in the order of the page."""
    return [build(contents) for build in SECTIONS]


def first_sentences(found: list[Section]) -> list[str]:
    """What a reader who stops after five lines should know."""
    return [sentence for section in found for sentence in section.sentences[: LEADING.get(section.key, 0)]]


def summary(contents: ReportContents, found: list[Section]) -> dict[str, Any]:
    """The report in JSON types: its first sentences, the terms with their errors, and what it leaves out."""
    return {
        "data": {"name": contents.data["name"], "split": "test", "policy": contents.data["policy"]},
        "sentences": first_sentences(found),
        "terms": [
            {
                "symbol": term.symbol,
                "name": term.average.name,
                "function": f"bayes_vae.{term.function}",
                "value": term.average.value,
                "monte_carlo_error": term.average.monte_carlo_error,
                "data_error": term.average.data_error,
                "num_particles": term.average.num_particles,
                "num_observations": term.average.num_observations,
                "estimator": term.estimator,
                "data_policy": contents.data["policy"],
                "kl_weight": 1.0,
                "seed": contents.settings.seed,
                **({"missing_share": gaps} if (gaps := contents.data.get("missing_share")) else {}),
                "note": str(term.average.reading),
                "reading": term.average.reading.as_json(),
            }
            for term in terms(contents)
        ],
        "left_out": {section.title: section.missing for section in found if section.missing},
        "seconds": contents.seconds,
    }
