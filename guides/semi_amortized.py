"""An encoder's guess, improved by a few gradient steps on the ELBO of each observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions import analytic_kl, diagonal_normal, observed_log_prob
from bayes_vae.distributions.normal_outputs import SCALE_FLOOR, normal_of_outputs
from bayes_vae.errors import SettingsError
from bayes_vae.guides.amortized import AmortizedGuide
from bayes_vae.terms.randomness import KeyedNoise

__all__ = ["SemiAmortizedGuide"]

PARTICLES = 4
"""Draws behind each gradient; each with its mirror image."""


class SemiAmortizedGuide(AmortizedGuide):
    r"""Factorized normal guide: an encoder gives mean and scale, T gradient steps improve them.

    .. math:: m_{t+1} = m_t + \eta s_t \tanh(s_t \nabla_m \widehat{\mathrm{ELBO}}), \qquad
        \log s_{t+1} = \log s_t + \eta \tanh(\tfrac12 \nabla_{\log s} \widehat{\mathrm{ELBO}})

    The ELBO within is estimated with noise that is fixed in the guide, so q(z given x) is a function of x alone, and
    each observation's steps depend on no other. Small steps are those of a natural gradient, s² and 1/2 being the
    inverse Fisher information; none is longer than η scales. Training runs through the steps, so the encoder learns to
    start well.

    Args:
        model: a model with ``prior()`` and ``likelihood(z)``.
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        network: "mlp" or "conv".
        num_refinements: T.
        step_size: η, in (0, 1].
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Raises:
        SettingsError: no step, or a step size outside (0, 1].

    Reference: Kim, Wiseman, Miller, Sontag, Rush (2018), "Semi-amortized variational autoencoders", algorithm 1.
    """

    noise: Tensor

    def __init__(
        self,
        model: Any,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        network: str = "mlp",
        num_refinements: int = 5,
        step_size: float = 0.3,
        mask_input: bool = False,
    ) -> None:
        if num_refinements < 1 or not 0 < step_size <= 1:
            raise SettingsError(
                "a semi-amortized guide needs num_refinements of at least 1 and a step_size in (0, 1], got "
                f"{num_refinements} and {step_size:g}."
            )
        super().__init__(
            latent_dim,
            data_shape,
            hidden_dims,
            activation,
            network,
            num_outputs=2 * latent_dim,
            num_refinements=num_refinements,
            step_size=step_size,
            mask_input=mask_input,
        )
        self._model = (model,)  # in a tuple: the parameters stay the model's alone
        self.num_refinements, self.step_size = num_refinements, step_size
        drawn = KeyedNoise(0).normal(
            "refinement", torch.zeros(1, dtype=torch.int64), range(PARTICLES), (latent_dim,), torch.zeros(())
        )
        drawn = drawn / drawn.square().mean(0).sqrt()  # few draws of another variance would move the best scale
        self.register_buffer("noise", torch.cat([drawn, -drawn]), persistent=False)

    def amortized_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """The encoder's own q(z given x), before any step."""
        return normal_of_outputs(self.encode(x))

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x) after T steps.

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        through = torch.is_grad_enabled()
        with torch.enable_grad():
            start = self.amortized_posterior(x).base_dist
            loc, log_scale = start.loc, start.scale.log()
            if not through:
                loc, log_scale = (part.detach().requires_grad_() for part in (loc, log_scale))
            observed = self._model[0].check_observations(x)
            for _ in range(self.num_refinements):
                loc, log_scale = self._step(observed, loc, log_scale, through)
        if not through:
            loc, log_scale = loc.detach(), log_scale.detach()
        return diagonal_normal(loc, log_scale.exp() + SCALE_FLOOR)

    def _step(self, x: Tensor, loc: Tensor, log_scale: Tensor, through: bool) -> tuple[Tensor, Tensor]:
        """One step uphill for every observation; differentiable where training goes through it."""
        model = self._model[0]
        scale = log_scale.exp()
        q, z = diagonal_normal(loc, scale), loc + scale * self.noise
        kl = analytic_kl(q, model.prior())
        if kl is None:
            kl = (q.log_prob(z) - model.prior().log_prob(z)).mean(0)
        elbo = (observed_log_prob(model.likelihood(z), x).mean(0) - kl).sum()
        uphill, wider = torch.autograd.grad(elbo, [loc, log_scale], create_graph=through)
        step = self.step_size
        return loc + step * scale * (scale * uphill).tanh(), log_scale + step * (0.5 * wider).tanh()
