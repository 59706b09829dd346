"""log p(x) from log weights that were computed elsewhere: numpy, JAX, torch, TensorFlow, or a file of ArviZ."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from bayes_vae.data.safe_reading import LARGEST_FILE, check_fits
from bayes_vae.errors import DataError, SettingsError, ShapeError
from bayes_vae.estimators.importance.accumulator import WeightAccumulator
from bayes_vae.estimators.importance.bound import importance_weighted_bound
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.reliability import MINIMUM_PARTICLES
from bayes_vae.plain_files import check_plain_file, one_error
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.rows import policy_text
from bayes_vae.terms.whole_numbers import switch

__all__ = ["log_evidence_from_weights"]

PARTICLE_DIMS = ("chain", "draw", "sample", "particle", "particles")
"""Names of dims that number draws; whatever other dim there is numbers observations."""

LOOKED_AT = 1000
"""Weights of an observation in which repeated draws are looked for, the first ones."""


def log_evidence_from_weights(
    log_weights: Any,
    *,
    group: str = "sample_stats",
    name: str = "log_importance_weights",
    discrete_latents: bool = False,
    data_policy: str | None = None,
) -> LogEvidenceEstimate:
    r"""L_K, and how far to trust it, from the log weights of any framework.

    .. math:: \log w_{kn} = \log p(x_n, z_{kn}) - \log q(z_{kn} \mid x_n), \quad z_{kn} \sim q(z \mid x_n),
        \qquad L_K = \log \frac1K \sum_k w_k

    The weights are sums over all dims of z and of x, one for each draw and observation, and the draws of an observation
    are independent. Where all its weights are the same to the last bit, or most of them come several times, the
    same draws were counted again (the same random key in each step of a loop does it); such an estimate reads "lower
    bound, not converged".

    Args:
        log_weights: shape (K, N), nats, draws first: an array of numpy, JAX or TensorFlow, a tensor, or anything that
            has ``__array__`` or ``__dlpack__``; an xarray ``DataArray`` with dims for draws (chain, draw, sample or
            particle) and one more; or an ArviZ container, or the path of its netCDF file.
        group: of an ArviZ container.
        name: the variable there; :func:`bayes_vae.to_arviz` writes this one.
        discrete_latents: whether any latent is discrete: their few values may miss a mode, which no k̂ shows.
        data_policy: how pixels became observations; "unstated" when not given.

    Returns:
        :class:`bayes_vae.LogEvidenceEstimate`, shape (N,), nats, which :func:`bayes_vae.compare_models` takes too.

    Raises:
        ShapeError: not of shape (K, N).
        DataError: not an array of real numbers, or a file without such a group.
        NumericalError: NaN, +inf, or an observation whose weights are all zero.

    Reference: Burda, Grosse, Salakhutdinov (2016), eq. 8; Vehtari, Simpson, Gelman, Yao, Gabry (2024), "Pareto smoothed
    importance sampling", section 3, on k̂.

    >>> log_evidence_from_weights(np.log([[0.25, 1.0], [0.75, 3.0]])).log_evidence.exp()
    tensor([0.5000, 2.0000], dtype=torch.float64)
    """
    for what, text in (("group", group), ("name", name)):
        if not isinstance(text, str):
            raise SettingsError(f"{what} must be text, got {reprlib.repr(text)}.")
    discrete_latents, data_policy = switch("discrete_latents", discrete_latents), policy_text(data_policy)
    weights = _as_tensor(_array_of(log_weights, group, name)).double()
    importance_weighted_bound(weights)  # looks at shape and values
    sums = WeightAccumulator(len(weights))
    sums.update(weights)
    pareto_k = torch.full_like(weights[0], torch.nan) if discrete_latents else _pareto_k(sums, weights)
    return LogEvidenceEstimate(
        sums.bound(),
        sums.effective_sample_size(),
        pareto_k,
        sums.doubling_step(),
        torch.full_like(pareto_k, torch.nan),
        torch.full_like(pareto_k, torch.nan),
        torch.full((weights.shape[1],), len(weights)),
        "importance sampling, weights from elsewhere",
        Provenance(None, "weights from elsewhere", "as given", "as given", data_policy),
    )


def _pareto_k(sums: WeightAccumulator, weights: Tensor) -> Tensor:
    """k̂, and +∞ where the same draws were counted again."""
    found = sums.pareto_k()
    if len(weights) < MINIMUM_PARTICLES:
        return found
    looked_at = weights[:LOOKED_AT].sort(0).values
    new = torch.cat([torch.ones_like(looked_at[:1]), looked_at.diff(dim=0)]) != 0
    possible = looked_at > -torch.inf
    distinct = (new & possible).sum(0)
    equal_but_for_rounding = found == -torch.inf
    repeated = (distinct == 1) | (~equal_but_for_rounding & (2 * distinct < possible.sum(0)))
    return found.masked_fill(repeated, torch.inf)


def _array_of(given: Any, group: str, name: str) -> Any:
    """The array of what was given: of a file or a container its variable, of an xarray array its draws first."""
    if isinstance(given, str | Path):
        given = _read(Path(given), group)
    elif hasattr(given, "groups") and not hasattr(given, "dtype") and name not in getattr(given, "data_vars", ()):
        groups = given.groups() if callable(given.groups) else given.groups
        names = [str(one).strip("/") for one in groups]
        if group not in names:
            raise DataError(f"the container has no group {group!r}; it has {', '.join(filter(None, names))}.")
        given = given[group]
    if hasattr(given, "data_vars"):
        if name not in given.data_vars:
            there = ", ".join(map(str, given.data_vars)) or "no variable"
            raise DataError(f"the group {group!r} has no variable {name!r}; it has {there}. Name it with name=.")
        given = given[name]
    return _draws_first(given) if hasattr(given, "dims") and hasattr(given, "transpose") else given


def _read(path: Path, group: str) -> Any:
    import xarray

    found = f"log_weights: {str(path)[:200]!r} cannot be read as an ArviZ file with a group {group!r}"
    with one_error(DataError, found, "Name a netCDF file that to_netcdf wrote, and its group with group=."):
        check_fits(check_plain_file(path, LARGEST_FILE), path)
        with xarray.open_dataset(path, group=group, engine="h5netcdf") as opened:
            return opened.load()


def _draws_first(array: Any) -> Any:
    """An xarray array as (K, N)."""
    draws = [dim for dim in array.dims if dim in PARTICLE_DIMS]
    others = [dim for dim in array.dims if dim not in PARTICLE_DIMS]
    if not draws:
        return array.to_numpy()
    if len(others) != 1:
        raise ShapeError(
            f"log weights need dims for draws ({', '.join(PARTICLE_DIMS[:4])}) and one for observations, got "
            f"{array.dims}: sum over every other dim, since a weight is of all of z and of all of x."
        )
    return array.transpose(*draws, *others).to_numpy().reshape(-1, array.sizes[others[0]])


def _as_tensor(array: Any) -> Tensor:
    found = array.detach().cpu() if isinstance(array, Tensor) else _from_array(array)
    if found.is_complex() or found.dtype == torch.bool:
        raise DataError(f"log_weights are real numbers in nats, got {found.dtype}.")
    if found.dim() != 2 or 0 in found.shape:
        raise ShapeError(
            f"log_weights have shape (K, N), draws first and one column for each observation, got {tuple(found.shape)}."
        )
    return found


def _from_array(array: Any) -> Tensor:
    """numpy's view of what has one; else through DLPack, which arrays on an accelerator have."""
    try:
        values = np.asarray(array)
        if values.dtype.kind in "fiubc":
            kept = values if values.dtype.kind in "bc" else values.astype(float)
            return torch.from_numpy(np.ascontiguousarray(kept))
    except (TypeError, ValueError, RuntimeError):
        pass
    if hasattr(array, "__dlpack__"):
        return from_dlpack(array).detach().cpu()
    raise DataError(
        f"log_weights must be an array of numbers of shape (K, N), of numpy, JAX, torch or anything with __array__ or "
        f"__dlpack__, got {type(array).__name__}."
    )
