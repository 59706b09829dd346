"""One run of a guide and of the model replayed against it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pyro
import pyro.poutine as poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_vae.terms.layout import Site
from bayes_vae.terms.program import Observations, Program, index_arguments
from bayes_vae.terms.program_errors import traced_or_explained

__all__ = ["PARTICLE_PLATE", "Supply", "run_model", "run_pair"]

PARTICLE_PLATE = "_bayes_vae_particles"

Supply = Callable[[str, Site], Tensor]
"""Gives the value of a latent site from its name and its message."""


class _SupplyLatents(Messenger):
    """Sets the value of each latent site in place of sampling it."""

    def __init__(self, supply: Supply) -> None:
        super().__init__()
        self.supply = supply

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not msg["done"] and not site_is_subsample(msg):
            msg["value"] = self.supply(msg["name"], msg)
            msg["done"] = True


def run_model(
    model: Program,
    x: Observations,
    index: Tensor,
    supply: Supply | None = None,
    plate: tuple[int, int] | None = None,
) -> poutine.Trace:
    """Trace the model alone, with latents that are supplied or drawn from the prior; arguments as in run_pair."""
    call = _supplied(supply, _within(model, x, index, plate))
    return traced_or_explained("model", model, call, x, index)


def _within(program: Program, x: Observations, index: Tensor, plate: tuple[int, int] | None) -> Callable[[], Any]:
    def call() -> Any:
        with pyro.plate(PARTICLE_PLATE, plate[0], dim=plate[1]) if plate else nullcontext():
            return program(*x, **index_arguments(program, index))

    return call


def run_pair(
    model: Program,
    guide: Program,
    x: Observations,
    index: Tensor,
    supply: Supply | None = None,
    plate: tuple[int, int] | None = None,
) -> tuple[poutine.Trace, poutine.Trace]:
    """Trace the guide, then the model with the guide's latents.

    Args:
        model, guide: the programs.
        x: observations, passed positionally.
        index: their indices, passed to programs that declare ``needs_index``.
        supply: gives the latents; None lets the guide sample them.
        plate: size and dim of an outer plate of particles.

    Raises:
        NumericalError, ProgramError: what a program raised, as :func:`traced_or_explained` says it.
    """
    call = _supplied(supply, _within(guide, x, index, plate))
    guide_trace = traced_or_explained("guide", guide, call, x, index)
    call = poutine.replay(_within(model, x, index, plate), trace=guide_trace)
    return guide_trace, traced_or_explained("model", model, call, x, index)


def _supplied(supply: Supply | None, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call, its latents supplied."""

    def supplied() -> Any:
        with _SupplyLatents(supply) if supply else nullcontext():
            return call()

    return supplied
