"""Pairs (z, x) drawn from the model: z from the prior, then x from the likelihood."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyro.poutine as poutine
import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.isolation import isolated_context
from bayes_vae.terms.layout import Site, latent_sites, observed_sites
from bayes_vae.terms.particles import ParticleLayout
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.probe import read_traced_pair
from bayes_vae.terms.program import Observations, Program, undisturbed
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import TensorRows, as_index, as_observations
from bayes_vae.terms.traced import TracedPair
from bayes_vae.terms.tracing import run_model
from bayes_vae.terms.traits import traits_of
from bayes_vae.terms.whole_numbers import seed_number

__all__ = ["Simulated", "simulate", "simulate_like"]


class Simulated(NamedTuple):
    """N draws of the model: latents, site → (N, *rest), and the observations simulated from them."""

    latents: dict[str, Tensor]
    x: Observations


def simulate(model: Any, num_observations: int, seed: int, quantity: str, otherwise: str) -> Simulated:
    """Simulate from a model with ``prior()`` and ``likelihood(z)``.

    Args:
        model: the model.
        num_observations: N.
        seed: of every draw; the caller's random state is left as it was.
        quantity: what is asked for, named in the message.
        otherwise: what to do with other programs, a sentence.

    Raises:
        NotDefinedError: a model whose program does not follow from its distributions.
    """
    if not traits_of(model).exposes_distributions:
        raise NotDefinedError(
            f"{quantity} simulates from the model and needs one with prior() and likelihood(z) whose program "
            f"follows from them. {otherwise}"
        )
    parameter = next(iter(model.parameters()), None)
    device = "cpu" if parameter is None else parameter.device
    seed = derived_seed(seed_number("seed", seed), "simulated data")
    with isolated_context(), undisturbed(model, device=device, seed=seed):
        z = model.prior().sample((num_observations,))
        return Simulated({"z": z}, (model.likelihood(z).sample(),))


def simulate_like(model: Program, template: Tensor | tuple[Tensor, ...], seed: int) -> Simulated:
    """Simulate from any Pyro program, its observed sites drawn in place of conditioned on.

    Args:
        model: the program.
        template: its arguments; what it observes is replaced, the rest (covariates) is kept as it is.
        seed: of every draw.

    Returns:
        as many draws as the template has rows.

    Raises:
        NotDefinedError: an observed site that is no argument of the program, a ``pyro.factor``, or a density of x
            that reads x itself.
    """
    parts, seed = as_observations(template), seed_number("seed", seed)
    indices = as_index(None, len(parts[0]), parts[0].device)
    prior = prior_as_guide(model, "traces")
    with undisturbed(model, device=parts[0].device, seed=derived_seed(seed, "simulated data")):
        pair = read_traced_pair(model, prior, TensorRows(parts, indices))
        # one prior draw in a run of its own, laid out as every traced draw is: site → (1, N, *rest)
        latents = pair.bind(parts, indices).draw(range(1), None).latents
        arguments = _observed_arguments(observed_sites(run_model(model, parts, indices)), parts)
        simulated = _Simulation(pair, latents, len(indices))
        drawn = latent_sites(run_model(poutine.uncondition(model), parts, indices, simulated.supply))
        x = list(parts)
        for name, position in arguments.items():
            x[position] = drawn[name]["value"].reshape(parts[position].shape)
        again = observed_sites(run_model(model, tuple(x), indices, simulated.supply))
        _refuse_self_reference(drawn, again)
    return Simulated({name: value[0] for name, value in latents.items()}, tuple(x))


class _Simulation:
    """Supplies the latents of one draw, and draws what was observed."""

    def __init__(self, pair: TracedPair, latents: dict[str, Tensor], num_observations: int) -> None:
        self.latents, self.dim = latents, pair.layout.model_dim
        self.layout = ParticleLayout("repeat", -pair.layout.max_plate_nesting - 1, 1, num_observations)

    def supply(self, name: str, site: Site) -> Tensor:
        if name in self.latents:
            return self.layout.to_site(self.latents[name], self.dim, len(site["fn"].batch_shape))
        value: Tensor = site["fn"].sample()
        return value


def _observed_arguments(sites: dict[str, Site], x: Observations) -> dict[str, int]:
    """Which argument each observed site conditions on."""
    found: dict[str, int] = {}
    for name, site in sites.items():
        value = site["value"]
        same = [
            place
            for place, part in enumerate(x)
            if value.numel() == part.numel() > 0 and torch.equal(value.reshape(part.shape), part.to(value.dtype))
        ]
        if len(same) != 1 or same[0] in found.values():
            raise NotDefinedError(
                f"observed site {name!r} cannot be simulated: its value is not one of the program's arguments as they "
                "were passed (a pyro.factor, a transformed x, or two arguments that are equal). Give the model "
                "prior() and likelihood(z), as SingleLatentModel does, or observe the argument itself."
            )
        found[name] = same[0]
    return found


def _refuse_self_reference(drawn: dict[str, Site], again: dict[str, Site]) -> None:
    """With the simulated x as its argument the program must have the density that x was drawn from."""
    for name, site in again.items():
        before, after = (run[name]["fn"].log_prob(site["value"]) for run in (drawn, again))
        if not torch.allclose(before, after, rtol=1e-4, atol=1e-4):
            raise NotDefinedError(
                f"observed site {name!r} cannot be simulated: its distribution depends on the observed value itself "
                "(an autoregressive likelihood, say). Give the model prior() and likelihood(z)."
            )
