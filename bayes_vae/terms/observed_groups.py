"""The log likelihood of each observed site of a program, and of each group of columns within one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_vae.distributions import in_support_where_masked
from bayes_vae.distributions.column_groups import ColumnGroups
from bayes_vae.terms.containers import ModelSite
from bayes_vae.terms.dependence import base_and_masks
from bayes_vae.terms.layout import Site
from bayes_vae.terms.particles import ParticleLayout

__all__ = ["by_observed_group"]


def by_observed_group(
    layout: ParticleLayout, sites: Mapping[str, Site], likelihood: Mapping[str, Tensor], frame_dim: int
) -> dict[str, Tensor]:
    """The log likelihood of each part, where there are several.

    Args:
        layout: how particles lie.
        sites: the observed sites.
        likelihood: of each of them, shape (K, N).
        frame_dim: dim of the observations.

    Returns:
        a site's name, or that of a group of its columns (after the site's, where there are several sites) → (K, N);
        they sum to the whole. Empty where there is one alone.
    """
    found: dict[str, Tensor] = {}
    for name, site in sites.items():
        groups = _groups_of(layout, name, site, frame_dim)
        beginning = f"{name}." if len(sites) > 1 else ""
        found |= {f"{beginning}{group}": values for group, values in groups.items()} or {name: likelihood[name]}
    return found if len(found) > 1 else {}


def _groups_of(layout: ParticleLayout, name: str, site: Site, frame_dim: int) -> dict[str, Tensor]:
    """The log likelihood of each group of columns, shape (K, N); empty for another family."""
    base, masks = base_and_masks(ModelSite(name, site["fn"], site["value"], site["mask"], lambda values, _: values))
    if not isinstance(base, ColumnGroups):
        return {}
    each = base.log_prob_by_number(in_support_where_masked(site["fn"], site["value"], site["mask"]))
    for mask in masks:
        each = torch.where(_over(mask, each, len(site["fn"].batch_shape)), each, torch.zeros_like(each))
    return {group: layout.reduce(name, site, values, frame_dim) for group, values in base.by_group(each).items()}


def _over(mask: Tensor, values: Any, batch_dims: int) -> Tensor:
    """A mask over batch dimensions, or over all, in the dimensions of some values."""
    return mask.to(values.device).reshape(*mask.shape, *(1,) * (values.dim() - max(mask.dim(), batch_dims)))
