"""log p(x) annealed from the guide: at the given temperatures, and at as many as make two levels agree."""

from __future__ import annotations

from collections.abc import Iterable

from bayes_vae.errors import ToleranceError
from bayes_vae.estimators.annealing.annealed import AnnealedEstimate, anneal
from bayes_vae.estimators.rungs.climb import Climb
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.terms.averages import log_mean_bias

__all__ = ["annealed_of", "annealed_rung", "converged_rung", "rung_of"]


def annealed_rung(climb: Climb) -> list[Rung]:
    """At ``num_temperatures``; none with discrete latents."""
    why_not = _why_not(climb)
    if why_not:
        climb.left_out["annealed"] = why_not
        return []
    return [rung_of("annealed", anneal(climb.opened, num_temperatures=climb.num_temperatures))]


def converged_rung(climb: Climb) -> list[Rung]:
    """The temperatures doubled until two levels' means agree, where a tolerance is given."""
    if climb.tolerance is None or _why_not(climb):
        return []
    try:
        found = anneal(climb.opened, num_temperatures=climb.num_temperatures, tolerance=climb.tolerance)
    except ToleranceError as error:  # hours of rungs are not thrown away for the one that is missing
        climb.left_out["converged"] = f"no converged rung: {error}"
        return []
    return [rung_of("converged", found)]


def _why_not(climb: Climb) -> str:
    """Why nothing is annealed; empty where something is."""
    if climb.num_temperatures == 0:
        return "not annealed: num_temperatures is 0"
    discrete = climb.opened.pair.discrete
    sites = ", ".join(map(repr, discrete))
    return f"not annealed: annealing moves along gradients, and {sites} is discrete" if discrete else ""


def annealed_of(rungs: Iterable[Rung]) -> AnnealedEstimate | None:
    """The annealed estimate among these, the converged one where there is one; None where there is none."""
    found = [rung.result for rung in rungs if isinstance(rung.result, AnnealedEstimate)]
    return found[-1] if found else None


def rung_of(name: str, estimate: AnnealedEstimate) -> Rung:
    """The rung of an annealed estimate."""
    error = estimate.standard_error
    return Rung(
        name,
        estimate.num_chains,
        estimate.log_evidence,
        error,
        estimate.reading,
        estimate.seconds,
        log_mean_bias(error),
        f"{estimate.estimator}, {estimate.num_temperatures} temperatures",
        leads=True,
        function="annealed_log_evidence(…).log_evidence",
        result=estimate,
    )
