"""The section on the observations that the model explains best and worst."""

from __future__ import annotations

import torch

from bayes_vae.plots.images import as_pictures, mosaic, value_range
from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.drawing import png_uri
from bayes_vae.report.page_elements import Card, Cards, Section
from bayes_vae.report.words import conditions
from bayes_vae.vocabulary.number_text import change, count_of, estimate_text

__all__ = ["extremes_section"]

EXPLAIN = "; `bayes-vae explain` shows one of them by its number, --index"
"""Said of runs, which the command takes."""


def extremes_section(contents: ReportContents) -> Section:
    """Cards with what each observation loses: log p(x) = E_q log p(x|z) − KL + gap."""
    title, question = "Explained best and worst", "Which observations does the model find probable, and which not?"
    best, worst = contents.best, contents.worst
    if not worst:
        return Section("extremes", title, question, missing="one observation has no best and no worst.")
    values = contents.evaluation.log_evidence
    caption = conditions(
        contents,
        f"{contents.evaluation.averages()['log_evidence'].num_particles} for log p(x), "
        f"{contents.settings.num_particles:,} for the other terms",
        contents.num_observations,
        estimator=f"log p(x) {contents.evaluation.estimator}; gap = log p(x) − ELBO",
        error=f"Monte Carlo, of that observation{EXPLAIN if contents.config else ''}",
    )
    return Section(
        "extremes",
        title,
        question,
        (
            f"log p(x) runs from {estimate_text(float(values.min()))} to {estimate_text(float(values.max()))} nats "
            "over "
            f"{count_of(contents.num_observations, 'observation')}, with a deviation of {float(values.std()):.2f}.",
            _where_it_goes(contents, worst),
        ),
        (
            Cards("Explained best", tuple(_card(contents, row) for row in best), ""),
            Cards("Explained worst", tuple(_card(contents, row) for row in worst), caption),
        ),
    )


def _where_it_goes(contents: ReportContents, worst: list[int]) -> str:
    """How the terms of the worst differ from the mean: log p(x) = reconstruction − KL + gap."""
    result = contents.evaluation
    parts = {
        "reconstruction": result.terms.expected_log_likelihood,
        "KL": -result.terms.kl_to_prior,
        "gap": result.inference_gap,
    }
    changes = {name: float(values[worst].mean() - values.mean()) for name, values in parts.items()}
    listed = ", ".join(f"{name} {change(moved)}" for name, moved in changes.items())
    return (
        f"The {len(worst)} worst have a log p(x) {abs(sum(changes.values())):.2f} nats below the mean of all; by "
        f"log p(x) = reconstruction − KL + gap, their shares are: {listed}."
    )


def _card(contents: ReportContents, row: int) -> Card:
    result = contents.evaluation
    terms, evidence_error = result.terms, result.leading.standard_errors
    values = {
        "log p(x)": (result.log_evidence, evidence_error),
        "E_q log p(x|z)": (terms.expected_log_likelihood, terms.expected_log_likelihood_error),
        "KL": (terms.kl_to_prior, terms.kl_to_prior_error),
        "gap": (result.inference_gap, torch.hypot(terms.elbo_error, evidence_error)),
    }
    figures = tuple((symbol, _with_error(value[row], error[row])) for symbol, (value, error) in values.items())
    gap, gap_error = (float(part[row]) for part in values["gap"])
    if gap < 0 and -gap <= 2 * gap_error:
        figures = (*figures[:-1], ("gap", "0 within error"))
    label = contents.label_of(row)
    title = f"test observation {row}" + (f", label {label}" if label else "")
    return Card(title, _picture(contents, row), f"{title}, and its reconstruction", figures)


def _with_error(value: torch.Tensor, error: torch.Tensor) -> str:
    """Two decimals are enough for one observation."""
    text = estimate_text(float(value))
    return f"{text} ± {float(error):.2f}" if float(error) >= 0.005 else text


def _picture(contents: ReportContents, row: int) -> str:
    """The observation beside its reconstruction; empty where it is no picture."""
    found = contents.pictures
    if isinstance(found, Missing):
        return ""
    low, high = value_range(contents.shown(contents.x))
    both = contents.shown(torch.stack([contents.x[row], found.reconstructions[row].to(contents.x.dtype)]))
    return png_uri(mosaic((as_pictures(both) - low) / (high - low), 2))
