"""L_K from a refined proposal: a normal or a Student t fitted to each posterior."""

from __future__ import annotations

import time

from bayes_vae.estimators.importance.log_evidence import estimate_of
from bayes_vae.estimators.rungs.climb import Climb
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.terms.averages import log_mean_bias

__all__ = ["refined_rung"]


def refined_rung(climb: Climb) -> list[Rung]:
    """As many draws as L_K has, where a proposal is asked for."""
    if climb.proposal == "guide":
        return []
    start = time.perf_counter()
    found = estimate_of(climb.opened, climb.sizes[-1], proposal=climb.proposal)
    error = found.standard_error
    return [
        Rung(
            "refined",
            found.num_particles,
            found.log_evidence,
            error,
            found.reading,
            time.perf_counter() - start,
            log_mean_bias(error),
            found.estimator,
            leads=True,
            function="estimate_log_evidence(…).log_evidence",
            result=found,
        )
    ]
