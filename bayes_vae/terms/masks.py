r"""Masked latents: which numbers of z an observation does not have, and whether its evidence is proper without them.

A mask, by ``.mask(...)`` of a distribution or by ``poutine.mask``, takes a density out of the sum. On a latent this is
Pyro's idiom for sequences of different length: the numbers beyond an observation's end are drawn, and have no density.
With z = (u, m), m masked, the evidence of an observation is

.. math:: p(x) = \int p(x, u) \, du,

which needs that model and guide mask the same numbers and that no term which is left depends on m.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to

from bayes_vae.errors import ProgramError
from bayes_vae.terms.layout import PairLayout, Site, latent_sites, observed_sites
from bayes_vae.terms.particles import ParticleLayout

__all__ = [
    "Masked",
    "PairTraces",
    "masked_in_both",
    "masked_numbers",
    "refuse_dependence",
    "same_masks",
]

Masked: TypeAlias = dict[str, Tensor]
"""Site → (N, *rest), shaped like its value; True where an observation does not have this number."""

PairTraces: TypeAlias = tuple[Any, Any]
"""Traces of the guide and of the model."""

STEPS = (1.0, 10.0, -10.0)
"""How far masked numbers are moved, in unconstrained units, to see what depends on them: and up to twice as far."""

ROUNDING = 100.0
"""Units in the last place by which a term may change all the same."""


def masked_numbers(layout: ParticleLayout, sites: dict[str, Site], frame_dim: int) -> Masked:
    """Where the sites are masked, each (K, N, *rest) like its value; sites without any mask are left out.

    Raises:
        ProgramError: a mask that lies within a transformed distribution.
    """
    found = {}
    for name, site in sites.items():
        kept = _kept(name, site)
        if kept is not None:
            kept = kept.reshape(*kept.shape, *(1,) * (site["value"].dim() - kept.dim())).expand(site["value"].shape)
            found[name] = ~layout.from_site(kept, frame_dim, len(site["fn"].batch_shape))
    return found


def _kept(name: str, site: Site) -> Tensor | None:
    """The masks around and within a site's distribution, over the leading dims of its value; None without any."""
    fn, around = site["fn"], site["mask"]
    within = _kept_within(name, fn)
    if around is None:
        return within
    around = torch.as_tensor(around, device=site["value"].device).expand(fn.batch_shape)
    if within is None:
        return around
    return within & around.reshape(*around.shape, *(1,) * (within.dim() - around.dim()))


def _kept_within(name: str, fn: Any) -> Tensor | None:
    base = getattr(fn, "base_dist", None)
    if base is None:
        return None
    within = _kept_within(name, base)
    if isinstance(fn, dist.MaskedDistribution):
        own = torch.as_tensor(fn._mask).expand(fn.batch_shape)
        return own if within is None else within & own.reshape(*own.shape, *(1,) * (within.dim() - own.dim()))
    if within is not None and not isinstance(fn, torch.distributions.Independent):
        raise ProgramError(
            f"latent site {name!r} is masked within its {type(fn).__name__}: expected the mask outside, so that the "
            "density of a number is there or not. Write .mask(...) after the transform."
        )
    return within


def masked_in_both(layout: ParticleLayout, pair: PairLayout, traces: PairTraces, index: Tensor) -> Masked:
    """Which numbers of z model and guide mask; a site with any mask is among them, even where it masks nothing.

    Raises:
        ProgramError: they mask different numbers, or the mask differs between particles.
    """
    dims = {"guide": pair.guide_dim, "model": pair.model_dim}
    guide, model = (
        masked_numbers(layout, latent_sites(trace), dims[program]) for program, trace in zip(dims, traces, strict=True)
    )
    found = {}
    for name in guide.keys() | model.keys():
        one = guide[name] if name in guide else torch.zeros_like(model[name])
        other = model[name] if name in model else torch.zeros_like(one)
        differ = (one != other).transpose(0, 1).flatten(1).any(1)
        if bool(differ.any()):
            raise ProgramError(
                f"latent site {name!r} is masked differently in model and guide for {_rows(differ, index)}: the mask "
                "takes a density out of one of p(x, z) and q(z given x) alone, and what is left is no bound on log "
                "p(x). Mask the same rows and dimensions in both."
            )
        found[name] = one[0]
        if bool((one != one[:1]).any()):
            raise ProgramError(_moving(name))
    return {name: found[name] for name in latent_sites(traces[0]) if name in found}


def same_masks(before: Masked, now: Masked) -> None:
    """Refuse masks that are not what they were at other latents.

    Raises:
        ProgramError: the mask depends on z.
    """
    for name in before.keys() | now.keys():
        masks = [masks[name] for masks in (before, now) if name in masks]
        if bool((masks[0] != masks[-1]).any() if len(masks) == 2 else masks[0].any()):
            raise ProgramError(_moving(name))


def _moving(name: str) -> str:
    return (
        f"the mask of latent site {name!r} differs between draws of z, so the density that is left is no density of "
        "z. Compute masks from the data alone (lengths, missing values)."
    )


def _rows(bad: Tensor, index: Tensor) -> str:
    return f"{int(bad.sum())} observation(s), the first with index {int(index[bad][0])}"


def refuse_dependence(
    run: Callable[[Callable[[str, Site], Tensor]], PairTraces],
    layout: ParticleLayout,
    pair: PairLayout,
    latents: dict[str, Tensor],
    masked: Masked,
    index: Tensor,
) -> None:
    """Move the masked numbers of one draw, and see that no term which is left moves with them.

    Then move all numbers, and see that the masks do not.

    Args:
        run: traces of the pair, whose latents are supplied.
        layout: of one particle.
        pair: where the sites lie.
        latents: the draw, site → (1, N, *rest).
        masked: as :func:`masked_in_both` gives it.
        index: of the observations, shape (N,).

    Raises:
        ProgramError: names the site whose term moves, and an observation where it does.
    """

    def traces(step: float, everything: bool = False) -> PairTraces:
        generator = torch.Generator().manual_seed(0)  # its own: the caller's draws are left as they are

        def supply(name: str, site: Site) -> Tensor:
            num_batch_dims = len(site["fn"].batch_shape)
            value = layout.to_site(latents[name], pair.guide_dim, num_batch_dims)
            if name not in masked and not everything:
                return value
            moved = _moved(site["fn"], value, step, generator)
            if everything:
                return moved
            where = layout.to_site(masked[name].unsqueeze(0), pair.guide_dim, num_batch_dims)
            return torch.where(where, moved, value)

        with pyro.validation_enabled(False):
            return run(supply)

    if any(bool(where.any()) for where in masked.values()):
        still = _terms(layout, pair, traces(0.0))
        for step in STEPS:
            _refuse_moved(still, _terms(layout, pair, traces(step)), masked, index)
    same_masks(masked, masked_in_both(layout, pair, traces(1.0, everything=True), index))


def _moved(fn: Any, value: Tensor, step: float, generator: torch.Generator) -> Tensor:
    """Another value of the support, for every number."""
    if step == 0:
        return value
    if fn.support.is_discrete:
        return _other_value(fn, value, STEPS.index(step))
    transform = biject_to(fn.support)
    at = transform.inv(value)
    direction = 2 * torch.rand(at.shape, generator=generator) - 1
    moved: Tensor = transform(at + step * (direction + direction.sign()).to(at))
    return moved


def _other_value(fn: Any, value: Tensor, which: int) -> Tensor:
    """A discrete value: the first for one step, the second for another, … where they can be listed; else a larger."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    if not fn.has_enumerate_support:
        return value + which + 1
    values = fn.enumerate_support(expand=False)
    other: Tensor = values[which % len(values)].expand_as(value)
    return other


def _terms(layout: ParticleLayout, pair: PairLayout, traces: PairTraces) -> dict[tuple[str, str], Tensor]:
    """The log density of each site of both programs, shape (N,)."""
    guide, model = traces
    sites = {
        **{("guide", name): site for name, site in latent_sites(guide).items()},
        **{("model", name): site for name, site in {**latent_sites(model), **observed_sites(model)}.items()},
    }
    dims = {"guide": pair.guide_dim, "model": pair.model_dim}
    return {key: layout.per_observation(key[1], site, dims[key[0]])[0] for key, site in sites.items()}


def _refuse_moved(
    before: dict[tuple[str, str], Tensor], after: dict[tuple[str, str], Tensor], masked: Masked, index: Tensor
) -> None:
    for (program, name), term in before.items():
        unit = ROUNDING * torch.finfo(term.dtype).eps
        moved = ~torch.isclose(after[program, name], term, rtol=unit, atol=unit, equal_nan=True)
        if bool(moved.any()):
            latents = ", ".join(repr(site) for site, where in masked.items() if bool(where.any()))
            raise ProgramError(
                f"the density of site {name!r} in the {program} moves with numbers of latent {latents} that are masked "
                f"there, for {_rows(moved, index)}: nothing says how probable these numbers are, so p(x, z) is no "
                "density and log p(x) is not defined. Keep masked latents out of everything that is not masked, as by "
                "torch.where(mask, z, 0), or mask what depends on them too."
            )
