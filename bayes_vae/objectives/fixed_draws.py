"""Draws from the guide, and the terms at the same latents taken as given: what path gradients are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.errors import ProgramError
from bayes_vae.terms.containers import Draw
from bayes_vae.terms.stream import BoundBatch

__all__ = ["draw_and_fix"]

RELATIVE, ABSOLUTE = 1e-2, 0.1
"""How far, in parts and in nats, two evaluations of one draw may differ: rounding and inexact inverses of flows."""


def draw_and_fix(bound: BoundBatch, num_particles: int) -> tuple[Draw, Draw]:
    r"""Terms of draws z from q, and the same terms at :math:`\bar z`, which is z without its gradient.

    Their difference is zero, and its gradient is that through z alone: what a parameter does at a given z is in both,
    and cancels, be it the guide's, the model's, or shared by them.

    Args:
        bound: the batch.
        num_particles: K.

    Returns:
        two draws with terms of shape (K, N).

    Raises:
        ProgramError: the terms differ between two runs, a latent is not given by its value, or q has no density there.
    """
    draw = bound.draw(range(num_particles), None)
    fixed = _evaluate(bound, {name: value.detach() for name, value in draw.latents.items()})
    _refuse_moving_latents(fixed)
    _refuse_other_noise(draw, fixed)
    return draw, fixed


def _evaluate(bound: BoundBatch, latents: dict[str, Tensor]) -> Draw:
    try:
        return bound.evaluate(latents)
    except (KeyError, NotImplementedError) as error:  # what Pyro's and torch's transforms raise
        raise ProgramError(
            f"log q(z given x) cannot be evaluated at given latents: a flow of the guide has no inverse ({error}). Use "
            "Elbo or ImportanceWeightedObjective, or a flow with an inverse, such as a coupling."
        ) from error


def _refuse_moving_latents(fixed: Draw) -> None:
    for name, value in fixed.latents.items():
        if value.requires_grad:
            raise ProgramError(
                f"latent {name!r} is a point mass (Delta) that moves with the parameters of the guide, so there is no "
                "gradient at a given latent. Use Elbo or ImportanceWeightedObjective, or sample the latent from a "
                "density."
            )


def _refuse_other_noise(draw: Draw, fixed: Draw) -> None:
    for name, one, other in zip(("log_prior", "log_likelihood", "log_guide"), draw[:3], fixed[:3], strict=True):
        if not torch.allclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
            furthest = float((one.detach() - other.detach()).abs().max())
            raise ProgramError(
                f"{name} of the same latents differs by {furthest:g} between two runs: a program draws something "
                "beside its latents, as dropout does, or the inverse of a flow is inexact. Switch dropout off with "
                ".eval(), or use Elbo or ImportanceWeightedObjective, which need one run."
            )
