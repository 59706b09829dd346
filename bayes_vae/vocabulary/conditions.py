"""The line that stands beside every figure: what it was measured under."""

from __future__ import annotations

from bayes_vae.vocabulary.number_text import thousands

__all__ = ["PER_OBSERVATION", "conditions", "missing_text"]

PER_OBSERVATION = "nats per observation"
"""Unit of every term of a data set."""


def conditions(
    num_particles: int | str | None,
    num_observations: int | str | None,
    data_policy: str,
    *also: str,
    unit: str = "",
    kl_weight: float | None = None,
    seed: int | str | None = None,
    pixel_seed: int | None = None,
    missing_share: float = 0.0,
    draws: str = "K",
) -> str:
    """Unit, K, N, data policy, KL weight and seeds, as far as they are given, and then what else is to be said.

    Args:
        num_particles: K; text where it is no single number.
        num_observations: N, or text with what the observations are.
        data_policy: how pixels became observations.
        also: further parts, such as the estimator.
        unit: of the figures.
        kl_weight: weight of the KL; None for what has no KL.
        seed: of the draws.
        pixel_seed: of the pixels, shown where it is not the same seed.
        missing_share: share of the numbers of x that are missing.
        draws: the letter for the number of draws.

    >>> conditions(5000, "200 images", "stochastic", "estimator: annealed", kl_weight=1, seed=0, pixel_seed=3)
    'K = 5,000 · N = 200 images · data policy: stochastic · KL weight 1 · seed 0 · pixel seed 3 · estimator: annealed'
    """
    counts = ((draws, num_particles), ("N", num_observations))
    parts = [
        unit,
        *(f"{letter} = {thousands(n) if isinstance(n, int) else n}" for letter, n in counts if n is not None),
        f"data policy: {data_policy}",
        missing_text(missing_share),
        "" if kl_weight is None else f"KL weight {kl_weight:g}",
        "" if seed is None else f"seed {seed}",
        "" if pixel_seed in (None, seed) else f"pixel seed {pixel_seed}",
        *also,
    ]
    return " · ".join(filter(None, parts))


def missing_text(share: float) -> str:
    """What is said of missing values wherever data or a figure are described; empty where none is missing.

    >>> missing_text(0.2)
    '20 % of the numbers missing (at random, assumed)'
    """
    return f"{100 * share:.2g} % of the numbers missing (at random, assumed)" if share else ""
