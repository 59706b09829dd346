"""L_K has not converged for most observations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, Kind

__all__ = ["importance_weights"]

PARETO_K_SHARE = 0.5
"""Share of observations with k̂ above its threshold from which log p(x) wants annealing."""


@partial(
    Kind,
    "importance-weights",
    "note",
    needs=("pareto_k_share_above",),
    why="For most observations L_K is a lower bound that has not converged, whatever its standard error says.",
    advice="Report log p(x) from annealing (bayes-vae compare), or with a refined proposal.",
    symptom="guide",
)
def importance_weights(seen: Examined) -> Iterator[Case]:
    """k̂ above its threshold for many observations."""
    yield Case(
        f"k̂ is above its threshold for {seen.value('pareto_k_share_above'):.0%} of the observations.",
        [seen.above("pareto_k_share_above", PARETO_K_SHARE)],
        ("pareto_k_median", "bound_above_elbo"),
    )
