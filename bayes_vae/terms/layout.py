"""Where particles, observations and sites lie in the traces of a pair, and whether its terms can be read at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyro.poutine as poutine
import torch
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_vae.distributions import check_support, has_normal_base, is_discrete, is_masked, is_point_mass
from bayes_vae.errors import NumericalError, ProgramError, SupportError
from bayes_vae.terms.program import Observations

__all__ = ["PairLayout", "Site", "check_observed", "latent_sites", "observed_sites", "read_layout", "scaled_sites"]

Site: TypeAlias = Any
"""The message of one sample site, as Pyro's trace stores it."""


@dataclass(frozen=True)
class PairLayout:
    """What one plain run of a pair shows.

    Attributes:
        guide_dim, model_dim: dim of the plate over the observations in each program.
        max_plate_nesting: the particle plate goes one dim to the left of this.
        latents: names of the guide's sites, in its order; those that Pyro's guides mark as auxiliary among them.
        keyed: whether every latent is a function of standard-normal noise.
        scaled: (site, factor) of every scaled site.
        not_reparameterized: latents whose draws carry no gradient.
        discrete: latents with discrete values.
        masks_latents: whether a latent lies under a mask, whatever it masks.
    """

    guide_dim: int
    model_dim: int
    max_plate_nesting: int
    latents: tuple[str, ...]
    keyed: bool
    scaled: tuple[tuple[str, str], ...]
    not_reparameterized: tuple[str, ...]
    discrete: tuple[str, ...]
    masks_latents: bool = False


def _sample_sites(trace: poutine.Trace) -> Iterator[tuple[str, Site]]:
    nodes: dict[str, Site] = trace.nodes
    for name, site in nodes.items():
        if site["type"] == "sample" and not site_is_subsample(site) and not site["infer"].get("_deterministic"):
            yield name, site


def latent_sites(trace: poutine.Trace) -> dict[str, Site]:
    """The sites that are sampled."""
    return {name: site for name, site in _sample_sites(trace) if not site["is_observed"]}


def observed_sites(trace: poutine.Trace) -> dict[str, Site]:
    """The sites that are conditioned on data, ``pyro.factor`` among them."""
    return {name: site for name, site in _sample_sites(trace) if site["is_observed"]}


def read_layout(guide_trace: poutine.Trace, model_trace: poutine.Trace, num_observations: int) -> PairLayout:
    """Read the layout off one plain run, or say why the terms of this pair cannot be read.

    Raises:
        ProgramError: names the site, what was expected and what to do.
    """
    guide_latents, model_latents = latent_sites(guide_trace), latent_sites(model_trace)
    observed = observed_sites(model_trace)
    sites = [*guide_latents.items(), *model_latents.items(), *observed.items()]
    for name, site in sites:
        _refuse_subsampling(name, site)
    _refuse_global(model_latents, num_observations)
    _match_sites(guide_latents, model_latents, observed)
    _match_shapes(guide_latents, model_latents)
    _refuse_what_is_no_density(guide_latents, observed_sites(guide_trace))
    guide_dim = _frame_dim("guide", guide_latents, num_observations)
    model_dim = _frame_dim("model", {**model_latents, **observed}, num_observations)
    dims = [frame.dim for _, site in sites for frame in site["cond_indep_stack"] if frame.vectorized]
    return PairLayout(
        guide_dim,
        model_dim,
        -min(dims),
        tuple(guide_latents),
        all(has_normal_base(site["fn"]) or is_point_mass(site["fn"]) for site in guide_latents.values()),
        tuple(scaled_sites({**guide_latents, **model_latents, **observed})),
        tuple(name for name, site in guide_latents.items() if not site["fn"].has_rsample),
        tuple(name for name, site in guide_latents.items() if is_discrete(site["fn"])),
        any(site["mask"] is not None or is_masked(site["fn"]) for _, site in sites if not site["is_observed"]),
    )


def _refuse_global(model: dict[str, Site], num_observations: int) -> None:
    """Name the model's global latents before their guide is looked at, which may have them under other names."""
    outside = [name for name, site in model.items() if not _frames(site, num_observations)]
    if outside:
        raise ProgramError(_outside("model", outside[0], model[outside[0]], num_observations, outside))


def _match_sites(guide: dict[str, Site], model: dict[str, Site], observed: dict[str, Site]) -> None:
    if not observed:
        raise ProgramError(
            "the model has no observed site: expected at least one pyro.sample(..., obs=x). "
            "Pass the observations to it as obs=."
        )
    if not guide:
        raise ProgramError("the guide samples no latent: expected a pyro.sample site for each latent of the model.")
    for name, site in guide.items():
        if name not in model and not _is_auxiliary(site):
            raise ProgramError(
                f"guide site {name!r} is no latent of the model, whose latents are {sorted(model)}. "
                "Give both the same name, or remove it from the guide."
            )
    for name in model:
        if name not in guide:
            raise ProgramError(
                f"model site {name!r} has no counterpart in the guide, whose sites are {sorted(guide)}. "
                "Add it to the guide, or pass its value as obs=."
            )


def _match_shapes(guide: dict[str, Site], model: dict[str, Site]) -> None:
    for name, site in model.items():
        expected, found = site["fn"].batch_shape + site["fn"].event_shape, guide[name]["value"].shape
        if expected != found:
            raise ProgramError(
                f"latent {name!r} has shape {tuple(found)} in the guide and {tuple(expected)} in the model: expected "
                "the same in both. Declare the dimensions of one latent in both with .to_event(n), and give the plate "
                "over the observations the same dim."
            )


def _is_auxiliary(site: Site) -> bool:
    return bool(site["infer"].get("is_auxiliary", False))


def _refuse_what_is_no_density(guide: dict[str, Site], observed: dict[str, Site]) -> None:
    for name in observed:
        raise ProgramError(
            f"guide site {name!r} is observed, or a pyro.factor: expected the sites of a density q(z given x) alone. "
            "Remove it from the guide."
        )
    if any(_is_auxiliary(site) for site in guide.values()):
        return  # a point mass at a function of an auxiliary draw, with its log density: Pyro's AutoNormal
    for name, site in guide.items():
        if is_point_mass(site["fn"]):
            raise ProgramError(
                f"guide site {name!r} is a point mass (Delta): a point estimate has no density q(z given x), so no "
                "ELBO and no importance weight. Use a guide with a density, such as a normal one."
            )


def _refuse_subsampling(name: str, site: Site) -> None:
    for frame in site["cond_indep_stack"]:
        if frame.full_size is not None and frame.full_size != frame.size:
            raise ProgramError(
                f"site {name!r}: plate {frame.name!r} is subsampled ({frame.size} of {frame.full_size}), which "
                "scales the terms. For evaluation make it a plate over the observations that are passed, "
                f"pyro.plate({frame.name!r}, len(x))."
            )


def _frame_dim(program: str, sites: dict[str, Site], num_observations: int) -> int:
    """The dim of the plate of size N that holds every site."""
    common: set[tuple[str, int]] | None = None
    for name, site in sites.items():
        frames = _frames(site, num_observations)
        if not frames:
            raise ProgramError(_outside(program, name, site, num_observations, [name]))
        common = frames if common is None else common & frames
    if not common:
        raise ProgramError(
            f"the sites {sorted(sites)} of the {program} lie in different plates of size {num_observations}: "
            "expected one plate over the observations that holds them all."
        )
    if len(common) > 1 and num_observations > 1:
        raise ProgramError(
            f"the plates {sorted(name for name, _ in common)} of the {program} all have the size "
            f"{num_observations} of the data, so which of them holds the observations cannot be told. "
            "Pass another number of observations."
        )
    return min(dim for _, dim in common)


def _frames(site: Site, num_observations: int) -> set[tuple[str, int]]:
    """Name and dim of the plates of size N around a site."""
    return {
        (frame.name, frame.dim)
        for frame in site["cond_indep_stack"]
        if frame.vectorized and _size_of(frame, site) == num_observations
    }


def _size_of(frame: Any, site: Site) -> int:
    """The size of a plate; of one that was given none, as ``pyro.plate("data")``, what the site has there."""
    if frame.size != -1:
        return int(frame.size)
    value = site["value"]
    batch_shape = value.shape[: value.dim() - site["fn"].event_dim]
    return batch_shape[frame.dim] if len(batch_shape) >= -frame.dim else 1


def _outside(program: str, name: str, site: Site, num_observations: int, all_outside: list[str]) -> str:
    plates = [
        f"{frame.name!r} {'without a size' if frame.size == -1 else f'of size {frame.size}'}"
        for frame in site["cond_indep_stack"]
    ]
    kind = "observed site" if site["is_observed"] else "latent"
    return (
        f"{kind} {name!r} of the {program} lies outside the frame of the observations: expected it in a "
        f"pyro.plate of size {num_observations}, the number of observations, but its plates are "
        f"{', '.join(plates) or 'none'} (batch shape {tuple(site['fn'].batch_shape)}). Global latents (here "
        f"{', '.join(map(repr, all_outside))}) have no terms per observation; for a local one write "
        "`with pyro.plate('data', len(x)):` around it."
    )


def scaled_sites(sites: dict[str, Site]) -> Iterator[tuple[str, str]]:
    """(site, factor) of every site whose density is scaled."""
    for name, site in sites.items():
        scale = site["scale"]
        if isinstance(scale, Tensor):
            if not bool((scale == 1).all()):
                yield name, f"{scale.min().item():g} to {scale.max().item():g}"
        elif scale != 1:
            yield name, f"{scale:g}"


def check_observed(
    name: str, fn: Any, value: Tensor, mask: Tensor | bool | None, x: Observations, index: Tensor
) -> None:
    """Refuse the observations of a site that lie outside its support where they are not masked.

    Raises:
        SupportError: as :func:`bayes_vae.distributions.check_support`.
        NumericalError: they hold NaN; the message gives the index.
    """
    if value.numel() == 0:  # pyro.factor
        return
    try:
        check_support(name, fn, value, mask)
    except SupportError as error:
        parts = [part.reshape(len(part), -1) for part in x if part.is_floating_point()]
        found = index[sum((part.isnan().any(1) for part in parts), torch.zeros_like(index)) > 0].tolist()
        if not found:
            raise
        raise NumericalError(
            f"site {name!r}: the data of {len(found)} observation(s) hold NaN, the first with index {found[0]}. "
            "Remove these observations, or mask their missing values with .mask(...)."
        ) from error
