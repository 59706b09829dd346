"""The ELBO, L_5, L_50, … and L_K, from nested groups of one set of draws."""

from __future__ import annotations

from bayes_vae.estimators.rungs.climb import Climb
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.terms.averages import log_mean_bias

__all__ = ["nested_bounds"]


def nested_bounds(climb: Climb) -> list[Rung]:
    """A rung for each size; only the last, all draws in one group, has a reliability and may lead."""
    found, top, seconds = [], climb.estimate, climb.seconds
    for size, (values, errors) in zip(climb.sizes, climb.groups, strict=False):
        name = "ELBO" if size == 1 else f"L_{size}"
        found.append(Rung(name, size, values, errors, seconds=seconds, nested=True))
    count, error = climb.sizes[-1], top.standard_error
    bound = Rung(
        f"L_{count}",
        count,
        top.log_evidence,
        error,
        top.reading,
        seconds,
        log_mean_bias(error),
        top.estimator,
        leads=True,
        nested=True,
        function="estimate_log_evidence(…).log_evidence",
        result=top,
    )
    return [*found, bound]
