"""The section on what is wrong, if anything: each finding with its evidence, why it matters and what to do."""

from __future__ import annotations

from bayes_vae.diagnosis import Diagnosis, Finding
from bayes_vae.diagnosis.result import by_reason
from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.page_elements import Point, Points, Section
from bayes_vae.report.words import conditions
from bayes_vae.vocabulary.number_text import dash, joined

__all__ = ["diagnosis_section"]


def diagnosis_section(contents: ReportContents) -> Section:
    """Findings, the most serious first, and what could not be checked."""
    title = "What is wrong, if anything"
    question = "Does this pair show a known fault, and what should be done about it?"
    found = contents.diagnosis
    if isinstance(found, Missing):
        return Section("diagnosis", title, question, missing=found.reason)
    rows = f"{found.num_train:,} training and {found.num_test:,} test observations of {contents.data['name']}"
    caption = conditions(
        contents,
        f"{found.num_particles} for the ELBO's terms",
        rows,
        estimator="each finding's own; bayes_vae's documentation has a page on them, Diagnosis",
        error="standard errors; how sure a finding is depends on them alone",
        unit="Nats per observation where a number has that unit",
    )
    return Section(
        "diagnosis",
        title,
        question,
        (dash(found.sentence()), *_read_as(found), *_not_checked(found)),
        (Points(tuple(map(_point, found.findings)), caption),),
    )


def _point(finding: Finding) -> Point:
    """A finding, as the page has it."""
    cause = f", because of {finding.because}" if finding.because else ""
    details = (
        ("measured", dash("; ".join(map(str, finding.measurements)))),
        ("why it matters", finding.why),
        ("what to do", finding.advice),
    )
    aside = f"{finding.severity}, {finding.sureness}{cause}"
    return Point(finding.name, finding.severity, aside, dash(finding.summary), details)


def _read_as(found: Diagnosis) -> list[str]:
    """How the pair was read, where that is not as its likelihood says."""
    return [f"All numbers are {found.read_as}."] if found.read_as else []


def _not_checked(found: Diagnosis) -> list[str]:
    """A sentence for each reason."""
    return [f"Not checked: {joined(names)}: {reason}" for reason, names in by_reason(found.not_checked).items()]
