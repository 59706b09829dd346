"""Draws of the exact posterior of one observation, by Pyro's NUTS on the program itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack, cast

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.infer.mcmc import MCMC, NUTS
from pyro.poutine.messenger import Messenger
from torch import Tensor

from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.estimators.latent_space import fixed_supports
from bayes_vae.posterior.draws import PosteriorDraws, check_numbers
from bayes_vae.posterior.hamiltonian import refuse_discrete
from bayes_vae.terms.layout import latent_sites
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Options, open_pair
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.program import Observations, Program, index_arguments
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.rows import X
from bayes_vae.terms.stream import Progress, check_source
from bayes_vae.terms.traced import TracedPair
from bayes_vae.terms.whole_numbers import seed_number, whole_number

__all__ = ["nuts_draws"]


@lists_options
def nuts_draws(
    model: Program,
    x: X,
    *,
    num_draws: int = 1000,
    num_chains: int = 4,
    num_warmup: int = 500,
    max_tree_depth: int = 10,
    **options: Unpack[Options],
) -> PosteriorDraws:
    r"""Draws of the exact posterior of one observation by Pyro's No-U-Turn sampler.

    .. math:: z_{cs} \sim p(z \mid x) \propto p(x, z)

    Pyro reads the density off the program, so this is also a check of :func:`bayes_vae.posterior_draws`, which is much
    faster where there are many observations. Chains run one after another, each from a start of its own, with a seed
    of its own. What the model masks stays where one draw of the prior put it, and ``masked`` says where.

    Args:
        model: Pyro program of p(x, z) with continuous latents.
        x: one observation, shape (1, *event), a tuple of such tensors, or one row of a data set.
        num_draws: kept draws of each chain, at least 4.
        num_chains: at least 2.
        num_warmup: of each chain before them, in which step and scales are tuned.
        max_tree_depth: a trajectory has at most 2 to this power leapfrog steps.
        Others: as in :func:`bayes_vae.log_terms`, but that the terms are always read from traces, and progress is
            called with (moves done, all moves).

    Returns:
        :class:`PosteriorDraws` with N = 1; the step is the mean over chains.

    Raises:
        NotDefinedError: a discrete latent, or one whose support depends on another.
        ShapeError: more than one observation.
        SettingsError: numbers too small.

    Reference: Hoffman, Gelman (2014), "The No-U-Turn sampler".
    """
    check_numbers(num_draws, num_chains, num_warmup)
    max_tree_depth = whole_number("max_tree_depth", max_tree_depth)
    began = time.perf_counter()
    check_source(options.get("source", "traces"))
    if options.get("source", "traces") == "distributions":
        raise SettingsError("nuts_draws reads the program itself: leave source out.")
    seed = seed_number("seed", options.get("seed", 0))
    proposal = prior_as_guide(model, "traces")
    options["source"] = "traces"
    with open_pair(model, proposal, x, **options) as opened:
        parts, indices, origin = opened.rows.read(), opened.index, opened.provenance
        pair = cast(TracedPair, opened.pair)
        if len(indices) != 1:
            raise ShapeError(
                f"nuts_draws takes one observation, got {len(indices)}: pass x[n : n + 1], or use posterior_draws, "
                "which draws for all of them at once."
            )
        refuse_discrete(pair)
        opened.check_memory(2 * num_draws * num_chains, f"{num_chains} chains of num_draws={num_draws}")
        bound = pair.bind(parts, indices)
        with isolated_rng(derived_seed(seed, "held"), parts[0].device):
            held = bound.draw(range(1), None).latents
        fixed_supports(bound)
        dtype = next(iter(bound.draw(range(1), None).latents.values())).dtype
        program = _Program(model, parts, indices)
        frames = program.frames(pair.layout.model_dim)
        chains = []
        for chain in range(num_chains):
            with isolated_rng(derived_seed(seed, "nuts", chain), parts[0].device), _sampler(parts[0], dtype):
                ended = _Ended(opened.progress, chain, num_chains, num_warmup, num_draws)
                kernel = NUTS(program, jit_compile=False, max_tree_depth=max_tree_depth)
                sampler = MCMC(kernel, num_draws, num_warmup, hook_fn=ended, disable_progbar=True)
                sampler.run()
            drawn = {name: value.movedim(1 + frames[name], 1) for name, value in sampler.get_samples().items()}
            drawn = {
                name: torch.where(bound.masked[name], held[name], value) if name in bound.masked else value
                for name, value in drawn.items()
            }
            terms = bound.log_joint(drawn)
            chains.append((drawn, (terms.log_prior + terms.log_likelihood).double(), ended))
    latents = {name: torch.stack([drawn[name] for drawn, _, _ in chains]) for name in frames}
    log_joint = torch.stack([values for _, values, _ in chains])
    acceptance, step, divergences = log_joint.new_tensor([list(ended.report) for _, _, ended in chains]).T
    return PosteriorDraws(
        latents,
        log_joint,
        acceptance.mean().reshape(1),
        step.mean().reshape(1),
        divergences.sum().long().reshape(1),
        num_warmup,
        "NUTS",
        time.perf_counter() - began,
        origin,
        bound.masked,
    )


class _Program:
    """The model conditioned on its observation, at weight 1 whatever scales it holds."""

    def __init__(self, model: Program, x: Observations, index: Tensor) -> None:
        self.model, self.x, self.arguments = model, x, index_arguments(model, index)

    def __call__(self) -> Any:
        with _ProperDensity():
            return self.model(*self.x, **self.arguments)

    def frames(self, model_dim: int) -> dict[str, int]:
        """Which dim of each latent is the plate over observations."""
        sites = latent_sites(poutine.trace(self).get_trace())
        return {name: len(site["fn"].batch_shape) + model_dim for name, site in sites.items()}


class _ProperDensity(Messenger):
    """Takes the scale off every site, as everywhere else; the reading of the pair has warned of it.

    And the mask off latents, so that the chains do not drift where they have no density: nothing that is left depends
    on these numbers, as the reading has seen, and so their prior is their posterior.
    """

    def _pyro_sample(self, msg: Any) -> None:
        msg["scale"] = 1.0
        if not msg["is_observed"]:
            msg["mask"], msg["fn"] = None, _unmasked(msg["fn"])


def _unmasked(fn: Any) -> Any:
    """A distribution without the masks within it."""
    if isinstance(fn, dist.MaskedDistribution):
        return _unmasked(fn.base_dist)
    if isinstance(fn, torch.distributions.Independent):
        return _unmasked(fn.base_dist).to_event(fn.reinterpreted_batch_ndims)
    return fn


class _Ended:
    """What Pyro calls after every move: tells of the progress, and keeps what the kernel forgets at its end."""

    def __init__(self, progress: Progress | None, chain: int, num_chains: int, num_warmup: int, num_draws: int) -> None:
        self.progress, self.last = progress, num_draws - 1
        moves = num_warmup + num_draws
        self.done, self.total = chain * moves, num_chains * moves
        self.report = (torch.nan, torch.nan, 0.0)
        """Mean acceptance probability, step, and divergences after warm-up."""

    def __call__(self, kernel: Any, params: Any, stage: str, move: int) -> None:
        self.done += 1
        if stage == "Sample" and move == self.last:
            divergences = len(kernel.diagnostics()["divergences"])
            self.report = (float(kernel.logging()["acc. prob"]), float(kernel.step_size), float(divergences))
        if self.progress is not None:
            self.progress(self.done, self.total)


@contextmanager
def _sampler(x: Tensor, dtype: torch.dtype) -> Iterator[None]:
    """What Pyro's sampler needs: gradients, and defaults that are those of the latents, as it makes tensors of its own.

    Its logger, which every run gives a handler, is put back.
    """
    logger, default = logging.getLogger("pyro.infer.mcmc"), torch.get_default_dtype()
    before = logger.handlers, logger.propagate
    try:
        torch.set_default_dtype(dtype)
        with torch.enable_grad(), x.device:
            yield
    finally:
        torch.set_default_dtype(default)
        logger.handlers, logger.propagate = before
