"""What every section of a report says of its figures: a mean with its error, and what it was measured under."""

from __future__ import annotations

from bayes_vae.report.contents import ReportContents
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.conditions import PER_OBSERVATION
from bayes_vae.vocabulary.conditions import conditions as conditions_line
from bayes_vae.vocabulary.number_text import capitalized, count_of, estimate_text

__all__ = ["average_text", "conditions"]


def average_text(average: Average) -> str:
    """The value and its error for fresh data, in nats.

    >>> average_text(Average("elbo", -96.66, 0.3, 0.4, 10, 40))
    '−96.66 ± 0.50'
    """
    return estimate_text(average.value, average.known_error)


def conditions(
    contents: ReportContents,
    num_particles: int | str,
    num_observations: int | str,
    *,
    estimator: str,
    error: str = "",
    unit: str = capitalized(PER_OBSERVATION),
) -> str:
    """What stands below every figure: unit, K, N, seed, data policy, KL weight, estimator and what the errors are."""
    data, rows = contents.data, num_observations
    if isinstance(rows, int):
        rows = f"{count_of(rows, 'test observation')} of {data['name']}"
    also = (f"estimator: {estimator}", *([f"errors: {error}"] if error else []))
    seed = contents.settings.seed
    beside = {"unit": unit, "kl_weight": 1.0, "seed": seed, "missing_share": data.get("missing_share", 0.0)}
    return f"{conditions_line(num_particles, rows, data['policy'], *also, **beside)}."
