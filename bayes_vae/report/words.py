"""Numbers as text: a value with its error, a share, and what every figure was measured under."""

from __future__ import annotations

import math
import re

from bayes_vae.report.contents import ReportContents
from bayes_vae.terms.averages import Average, with_error

__all__ = [
    "average_text",
    "change",
    "conditions",
    "count_of",
    "dash",
    "error_cell",
    "estimate_text",
    "first_of",
    "joined",
    "share",
    "total_error",
    "value_cell",
]


def dash(text: str) -> str:
    """Text with true minus signs before numbers; hyphens within words stay.

    >>> dash("-1.5 nats of -inf, nan in full-rank Cannan-2")
    '−1.5 nats of −∞, – in full-rank Cannan-2'
    """
    text = re.sub(r"(?<!\w)-(?=\d)|(?<=\de)-(?=\d)|(?<!\w)-(?=inf\b)", "−", text)
    return re.sub(r"(?<!\w)nan\b", "–", text).replace("−inf", "−∞")


def change(value: float) -> str:
    """A difference with its sign.

    >>> change(-1.5), change(2.0)
    ('−1.50', '+2.00')
    """
    return dash(f"{value:+.2f}")


def total_error(average: Average) -> float:
    """Standard error for fresh data, both parts in quadrature, with what is known of them."""
    known = (error for error in (average.monte_carlo_error, average.data_error) if not math.isnan(error))
    return math.hypot(*known)


def average_text(average: Average) -> str:
    """The value and its total error, in nats.

    >>> average_text(Average("elbo", -96.66, 0.3, 0.4, 10, 40))
    '−96.66 ± 0.50'
    """
    return estimate_text(average.value, total_error(average))


def estimate_text(value: float, error: float = 0.0) -> str:
    """A value and its error with a true minus sign; two decimals where there is no error."""
    return dash(with_error(value, error) if error > 0 and math.isfinite(value) else f"{value:.2f}")


def value_cell(value: float) -> str:
    """A value in a table: three decimals.

    >>> value_cell(-1.5)
    '−1.500'
    """
    return dash(f"{value:.3f}")


def error_cell(error: float) -> str:
    """An error in a table; a dash where it is unknown.

    >>> error_cell(0.0), error_cell(0.0001), error_cell(math.nan)
    ('0', '<0.001', '–')
    """
    if error == 0 or math.isnan(error):
        return "–" if math.isnan(error) else "0"
    return f"{error:.3f}" if error >= 0.0005 else "<0.001"


def share(part: float) -> str:
    """A share in percent; neither none nor all where it is only nearly so.

    >>> share(0.0), share(0.001), share(0.256), share(0.999), share(1.0)
    ('0 %', 'less than 1 %', '26 %', 'more than 99 %', '100 %')
    """
    if 0 < part < 0.01:
        return "less than 1 %"
    return "more than 99 %" if 0.99 < part < 1 else f"{part:.0%}".replace("%", " %")


def count_of(number: int, word: str) -> str:
    """A number and its noun.

    >>> count_of(1, "observation"), count_of(1200, "observation")
    ('1 observation', '1,200 observations')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def first_of(number: int) -> str:
    """The first so many observations.

    >>> first_of(1), first_of(20)
    ('the first observation', 'the first 20 observations')
    """
    return "the first observation" if number == 1 else f"the first {number:,} observations"


def joined(words: list[str]) -> str:
    """Words with commas and a last "and".

    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def conditions(
    contents: ReportContents,
    num_particles: int | str,
    num_observations: int | str,
    *,
    estimator: str,
    error: str = "",
    unit: str = "Nats per observation",
) -> str:
    """What stands below every figure: unit, K, N, seed, data policy, KL weight, estimator and what the errors are."""
    data = contents.data
    particles = f"{num_particles:,}" if isinstance(num_particles, int) else num_particles
    rows = count_of(num_observations, "test observation") if isinstance(num_observations, int) else num_observations
    parts = [
        unit,
        f"K = {particles}",
        f"N = {rows} of {data['name']}",
        f"data policy: {data['policy']}",
        "KL weight 1",
        f"seed {contents.settings.seed}",
        f"estimator: {estimator}",
        *([f"errors: {error}"] if error else []),
    ]
    return " · ".join(parts) + "."
