"""Draws, terms and data of a pair as an ArviZ container, under names that say which posterior is meant."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import DataError, SettingsError, ShapeError
from bayes_vae.estimators.annealing.annealed import AnnealedEstimate
from bayes_vae.estimators.arviz_import import import_arviz
from bayes_vae.estimators.elbo import ElboAtDraws, ElboTerms
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.posterior.draws import PosteriorDraws
from bayes_vae.terms import LogTerms
from bayes_vae.terms.at_draws import TermsAtDraws
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import OpenPair, Options, collect, open_pair
from bayes_vae.terms.program import Observations, Program
from bayes_vae.terms.rows import RowSource, X, policy_text
from bayes_vae.terms.whole_numbers import whole_number

__all__ = ["container_of", "netcdf_bytes", "to_arviz"]

LIBRARIES = {"bayes_vae": "bayes_vae", "pyro": "pyro-ppl", "torch": "torch", "arviz": "arviz"}
"""Library → its distribution, whose version is stored."""

POINTWISE = {
    "log_prior": "log_prior",
    "log_likelihood_of_draw": "log_likelihood",
    "log_guide": "log_guide",
    "log_importance_weights": "log_importance_weights",
}
"""Variable of sample_stats → term. One called log_likelihood would be taken by az.loo for what it is not."""

_RESULTS = {
    "terms": ElboTerms,
    "evidence": LogEvidenceEstimate,
    "annealed": AnnealedEstimate,
    "posterior": PosteriorDraws,
}
"""Argument → the class of its result."""

Variable = tuple[tuple[str, ...], Any, dict[str, Any]]
"""Dims, values and attributes."""


@lists_options
def to_arviz(
    model: Program,
    guide: Program,
    x: X,
    *,
    terms: ElboTerms | None = None,
    evidence: LogEvidenceEstimate | None = None,
    annealed: AnnealedEstimate | None = None,
    posterior: PosteriorDraws | None = None,
    num_draws: int = 100,
    labels: Tensor | Sequence[int | str] | None = None,
    **options: Unpack[Options],
) -> Any:
    r"""An ArviZ container of what is known of some observations.

    ======================= ==================================================================================
    group                   what it holds
    ======================= ==================================================================================
    variational_posterior   draws of q(z given x): chain (1), draw, observation, dims of z
    posterior               draws of the exact p(z given x), only where they are handed in
    prior                   draws of p(z), with the same dims as q's
    sample_stats            terms of q's draws: log_prior, log_likelihood_of_draw, log_guide,
                            log_importance_weights; of each observation: elbo, expected_log_likelihood,
                            kl_to_prior, log_evidence, pareto_k, effective_sample_size, and their errors
    observed_data           x
    constant_data           index, labels
    ======================= ==================================================================================

    There is no group log_likelihood, and no variable of that name: leave-one-out needs draws of one posterior of all
    data, which these are not, so ``az.loo`` refuses the container. ``az.summary`` and the plots take ``posterior`` by
    default; where there is none, name ``group="variational_posterior"``. Memory holds num_draws times N draws of z,
    twice.

    Args:
        model, guide, x: as in :func:`bayes_vae.log_terms`.
        terms: from :func:`bayes_vae.elbo_terms` on the same x; else estimated with K = num_draws.
        evidence: from :func:`bayes_vae.estimate_log_evidence` on the same x; else with K = num_draws.
        annealed: from :func:`bayes_vae.annealed_log_evidence` on the same x, stored beside it.
        posterior: from :func:`bayes_vae.posterior_draws` or its like on the same x.
        num_draws: stored draws of q and of the prior.
        labels: one for each observation; rows of a data set bring their own.
        Others: as in :func:`bayes_vae.log_terms`; where no data policy is given, that of what is handed in.

    Returns:
        ``arviz.InferenceData`` with ArviZ 0.x, ``xarray.DataTree`` with 1.x; log densities in nats, attributes beside
        every figure.

    Raises:
        ShapeError: what is handed in is not of x.
        SettingsError: data policies that differ.
    """
    figures: dict[str, Any] = {"terms": terms, "evidence": evidence, "annealed": annealed, "posterior": posterior}
    for name, kind in _RESULTS.items():
        if not isinstance(figures[name], kind | None):
            raise SettingsError(
                f"{name} must be {kind.__name__}, a result of its estimator on this x, got "
                f"{type(figures[name]).__name__}. Leave it out, or pass the whole result."
            )
    policy_text(options.get("data_policy"))
    if not isinstance(x, RowSource):
        given = [one for one in figures.values() if one is not None]
        options["data_policy"] = _one_policy(options.get("data_policy"), given)
    num_draws = whole_number("num_draws", num_draws)
    with open_pair(model, guide, x, **options) as opened:
        return container_of(opened, num_draws=num_draws, labels=labels, **figures)


def container_of(
    opened: OpenPair,
    *,
    num_draws: int = 100,
    labels: Tensor | Sequence[int | str] | None = None,
    terms: ElboTerms | None = None,
    evidence: LogEvidenceEstimate | None = None,
    annealed: AnnealedEstimate | None = None,
    posterior: PosteriorDraws | None = None,
    drawn: LogTerms | None = None,
) -> Any:
    """:func:`to_arviz` of a pair that is open; ``drawn`` has the terms of q's draws, latents too, where they exist."""
    _check_sizes(opened.num_observations, terms, evidence, annealed, posterior)
    _one_policy(opened.rows.data_policy, [one for one in (terms, evidence, annealed, posterior) if one is not None])
    at_draws, elbo, weights = TermsAtDraws(keep_latents=True), ElboAtDraws("auto"), WeightsAtDraws(num_draws)
    missing = [one for one, there in ((at_draws, drawn), (elbo, terms), (weights, evidence)) if there is None]
    if missing:
        collect(opened, num_draws, *missing)
    drawn = drawn or at_draws.result(opened)
    terms, evidence = terms or elbo.result(opened), evidence or weights.result(opened)
    beforehand, under_prior = TermsAtDraws(keep_latents=True), opened.with_prior_as_guide().purpose("prior").quiet()
    collect(under_prior, num_draws, beforehand)
    groups = {
        "variational_posterior": _latents(_one_chain(drawn.latents), "draws of q(z given x)"),
        "prior": _latents(_one_chain(beforehand.result(under_prior).latents), "draws of p(z)"),
        "sample_stats": {**_pointwise(drawn), **_figures(terms, evidence, annealed)},
        "observed_data": _observed(opened.rows.read()),
        "constant_data": _constants(opened.index, opened.rows.labels if labels is None else labels),
    }
    if posterior is not None:
        groups["posterior"] = _latents(posterior.latents, f"draws of the exact p(z given x), {posterior.sampler}")
    attributes = _attributes(terms, evidence, drawn.num_particles, opened.seed, opened.rows.data_policy)
    return _container(groups, opened.index, attributes)


def netcdf_bytes(container: Any) -> bytes:
    """A container as the content of a netCDF file, which ``arviz.from_netcdf`` reads in 0.x and 1.x.

    Args:
        container: from :func:`to_arviz`.

    Raises:
        DataError: something else.
    """
    if not hasattr(container, "to_netcdf"):
        raise DataError(f"the container must be one of to_arviz, got {type(container).__name__}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "container.nc"
        if hasattr(container, "subtree"):
            encoding = {
                node.path: {
                    name: {"zlib": True} for name, values in node.data_vars.items() if values.dtype.kind in "fi"
                }
                for node in container.subtree
            }
            container.to_netcdf(path, engine="h5netcdf", encoding=encoding)
        else:
            container.to_netcdf(str(path), engine="h5netcdf")
        return path.read_bytes()


def _check_sizes(
    count: int,
    terms: ElboTerms | None,
    evidence: LogEvidenceEstimate | None,
    annealed: AnnealedEstimate | None,
    posterior: PosteriorDraws | None,
) -> None:
    of_each = {
        "terms": None if terms is None else terms.elbo,
        "evidence": None if evidence is None else evidence.log_evidence,
        "annealed": None if annealed is None else annealed.log_evidence,
        "posterior": None if posterior is None else posterior.log_joint,
    }
    for name, values in of_each.items():
        if values is not None and values.shape[-1] != count:
            raise ShapeError(
                f"{name} is of {values.shape[-1]} observations and x holds {count}: expected the same ones, in the "
                "same order."
            )


def _one_policy(data_policy: str | None, given: Iterable[Any]) -> str:
    """The data policy that all figures share; those that do not state theirs take that of the others."""
    stated = {one.provenance.data_policy for one in given} | {data_policy or "unstated"}
    known = stated - {"unstated"}
    if len(known) > 1:
        raise SettingsError(
            f"figures of the data policies {', '.join(sorted(known))} are of different data sets: compute all of them "
            "on the x that is handed in."
        )
    return known.pop() if known else "unstated"


def _one_chain(latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.unsqueeze(0) for name, value in latents.items()}


def _latents(latents: Mapping[str, Tensor], what: str) -> dict[str, Variable]:
    """Site → (chain, draw, observation, *rest)."""
    return {
        name: (
            ("chain", "draw", "observation", *(f"{name}_dim_{i}" for i in range(value.dim() - 3))),
            value,
            {"of": what},
        )
        for name, value in latents.items()
    }


def _pointwise(drawn: LogTerms) -> dict[str, Variable]:
    """The terms of each draw of q."""
    dims = ("chain", "draw", "observation")
    return {
        variable: (dims, getattr(drawn, term).unsqueeze(0), {"units": "nats", "term": term, "of": "draws of q"})
        for variable, term in POINTWISE.items()
    }


def _figures(terms: ElboTerms, evidence: LogEvidenceEstimate, annealed: AnnealedEstimate | None) -> dict[str, Variable]:
    """What is estimated for each observation."""
    found = {}
    closed = "KL in closed form" if terms.kl == "analytic" else "KL sampled"
    beside = _beside(terms, terms.num_particles, f"mean over draws of q, {closed}")
    for name in ("elbo", "expected_log_likelihood", "kl_to_prior"):
        found[name] = (getattr(terms, name), beside)
        found[f"{name}_error"] = (getattr(terms, f"{name}_error"), beside)
    beside = _beside(evidence, evidence.num_particles, evidence.estimator, str(evidence.reading))
    found["log_evidence"] = (evidence.log_evidence, beside)
    found["log_evidence_error"] = (evidence.standard_error, beside)
    for name in ("pareto_k", "effective_sample_size"):
        found[name] = (getattr(evidence, name), {**beside, "units": "1"})
    if annealed is not None:
        beside = _beside(annealed, annealed.num_chains, annealed.estimator, str(annealed.reading))
        beside["num_temperatures"] = annealed.num_temperatures
        found["annealed_log_evidence"] = (annealed.log_evidence, beside)
        found["annealed_log_evidence_error"] = (annealed.standard_error, beside)
        found["annealed_acceptance"] = (annealed.acceptance, {**beside, "units": "1"})
    return {name: (("observation",), values, about) for name, (values, about) in found.items()}


def _beside(result: Any, num_particles: int, estimator: str, note: str = "") -> dict[str, Any]:
    """What stands beside a figure."""
    return {
        "units": "nats",
        "num_particles": num_particles,
        "estimator": estimator,
        "seed": result.provenance.seed,
        "data_policy": result.provenance.data_policy,
        "note": note,
    }


def _observed(x: Observations) -> dict[str, Variable]:
    names = ["x"] if len(x) == 1 else [f"x_{i}" for i in range(len(x))]
    return {
        name: (("observation", *(f"{name}_dim_{i}" for i in range(part.dim() - 1))), part, {})
        for name, part in zip(names, x, strict=True)
    }


def _constants(index: Tensor, labels: Tensor | Sequence[int | str] | None) -> dict[str, Variable]:
    found: dict[str, Variable] = {"index": (("observation",), index, {})}
    if labels is not None:
        values = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if values.shape != (len(index),):
            raise ShapeError(f"labels must hold one for each of the {len(index)} observations, got {values.shape}.")
        found["labels"] = (("observation",), values, {})
    return found


def _attributes(
    terms: ElboTerms, evidence: LogEvidenceEstimate, num_draws: int, seed: int, data_policy: str
) -> dict[str, Any]:
    """What stands beside the whole container."""
    return {
        "units": "nats",
        "num_observations": terms.num_observations,
        "num_draws": num_draws,
        "num_particles": terms.num_particles,
        "num_particles_log_evidence": evidence.num_particles,
        "estimator": evidence.estimator,
        "seed": str(seed),
        "data_policy": data_policy,
        "kl_weight": 1.0,
        "source": terms.provenance.source,
        "randomness": terms.provenance.randomness,
        "python_version": platform.python_version(),
        **{f"{name}_version": _version(package) for name, package in LIBRARIES.items()},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


def _container(groups: Mapping[str, Mapping[str, Variable]], index: Tensor, attributes: dict[str, Any]) -> Any:
    """The groups in the container of the ArviZ that is installed."""
    arviz = import_arviz()
    import xarray

    datasets = dict(_datasets(xarray, groups, index, attributes))
    if hasattr(arviz, "psislw"):  # 0.x; 1.x has a name InferenceData that only warns
        return arviz.InferenceData(attrs=attributes, warn_on_custom_groups=False, **datasets)
    return xarray.DataTree.from_dict({"/": xarray.Dataset(attrs=attributes), **datasets})


def _datasets(
    xarray: Any, groups: Mapping[str, Mapping[str, Variable]], index: Tensor, attributes: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    for group, variables in groups.items():
        arrays = {name: (dims, _array(values), about) for name, (dims, values, about) in variables.items()}
        sizes = {dim: size for dims, values, _ in arrays.values() for dim, size in zip(dims, values.shape, strict=True)}
        coordinates = {dim: np.arange(size) for dim, size in sizes.items()} | {"observation": _array(index)}
        yield group, xarray.Dataset(arrays, coords=coordinates, attrs=attributes)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
