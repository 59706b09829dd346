"""No encoder at all: a mean and a deviation of its own for each observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions import analytic_kl, diagonal_normal, observed_log_prob
from bayes_vae.distributions.normal_outputs import positive_scale
from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.guides.guide import SingleLatentGuide
from bayes_vae.terms.randomness import KeyedNoise

__all__ = ["LocalNormalGuide"]

POOL, BATCH = 256, 512
"""Draws behind a fit, taken in turn; observations fitted at once."""

SPEED = 20.0
"""An optimizer's step on these parameters counts so many times: an observation has its turn once an epoch, a network's
weights in every batch. Without it the decoder learns to do without z before z has come to mean anything."""


class LocalNormalGuide(SingleLatentGuide):
    r"""Factorized normal guide with parameters for each observation: nothing is amortized.

    .. math:: q(z \mid x_n) = N\big(z; m_n, \operatorname{diag}(s_n)^2\big)

    Each observation is known by its index, and its parameters say nothing of another's. So an observation that was not
    trained on has to be fitted first, the model fixed: :meth:`fit_to`. ``bayes_vae.fit`` does so with the validation
    rows after each epoch, on from where they were, and the commands on a run do it with the test rows.

    Args:
        latent_dim: D, the size of z.
        num_observations: how many indices there is room for: 0 … num_observations − 1, of all splits together.

    Raises:
        SettingsError: sizes below 1.

    Reference: Hoffman, Blei, Wang, Paisley (2013), "Stochastic variational inference", section 2: local parameters.
    """

    needs_index = True
    fitted: Tensor

    def __init__(self, latent_dim: int, num_observations: int) -> None:
        super().__init__(latent_dim=latent_dim, num_observations=num_observations)
        if latent_dim < 1 or num_observations < 1:
            raise SettingsError(
                f"latent_dim and num_observations must be at least 1, got {latent_dim} and {num_observations}."
            )
        self.latent_dim = latent_dim
        self.free_loc = nn.Parameter(torch.zeros(num_observations, latent_dim))
        self.free_scale = nn.Parameter(torch.zeros(num_observations, latent_dim))
        self.register_buffer("fitted", torch.zeros(num_observations, dtype=torch.bool))

    def variational_posterior(self, x: Tensor, index: Tensor | None = None) -> dist.TorchDistribution:
        """q(z given x_n), looked up by index.

        Args:
            x: observations, shape (N, *data_shape); only their number counts.
            index: their indices, shape (N,).

        Raises:
            ShapeError: no index, as many as there are observations, or one that there is no room for.
            SettingsError: an index whose parameters were never fitted.
        """
        rows = self._rows(x, index)
        unknown = rows[~self.fitted[rows]].tolist()
        if unknown:
            raise SettingsError(
                f"LocalNormalGuide has no parameters for the observation with index {unknown[0]}, which was not "
                "trained on. Call guide.fit_to(model, x, index=index) for all such observations first; in a training "
                "loop without bayes_vae's objectives, guide.admit(index)."
            )
        return diagonal_normal(SPEED * self.free_loc[rows], positive_scale(SPEED * self.free_scale[rows]))

    def admit(self, index: Tensor) -> None:
        """Take note of observations that are trained on, which start at the standard normal.

        Raises:
            ShapeError: an index that there is no room for.
        """
        self.fitted[self._within(index)] = True

    def _rows(self, x: Tensor, index: Tensor | None) -> Tensor:
        if index is None:
            raise ShapeError(
                "LocalNormalGuide has parameters for each observation and must be told which these are: pass index=, "
                "as every estimator takes it, one integer for each observation."
            )
        if len(index) != len(x):
            raise ShapeError(f"index must hold one integer for each of the {len(x)} observations, got {len(index)}.")
        return self._within(index)

    def _within(self, index: Tensor) -> Tensor:
        room = len(self.fitted)
        outside = index[(index < 0) | (index >= room)]
        if len(outside) > 0:
            raise ShapeError(
                f"LocalNormalGuide has room for the indices 0…{room - 1}, got {int(outside[0])}. Build it with "
                "num_observations above the largest index."
            )
        return index

    def prepare(self, model: Any, x: Tensor, index: Tensor, *, again: bool = False) -> None:
        """Fit observations that training has not seen; again, by few steps on from where they are."""
        if again and bool(self.fitted[self._within(index)].all()):
            self.fit_to(model, x, index=index, num_steps=30, num_particles=1, learning_rate=0.02)
        else:
            self.fit_to(model, x, index=index)

    def fit_to(
        self,
        model: Any,
        x: Tensor,
        *,
        index: Tensor,
        num_steps: int = 400,
        num_particles: int = 4,
        learning_rate: float = 0.05,
    ) -> None:
        r"""Fit the parameters of these observations on the ELBO, the model fixed and the others' left alone.

        .. math:: \max_{m_n, s_n} \; E_q \log p(x_n \mid z) - \mathrm{KL}(q(z \mid x_n) \,\|\, p(z))

        Adam, its rate falling to zero, with noise keyed by the index; no random state is touched.

        Args:
            model: a model with ``prior()`` and ``likelihood(z)``.
            x: observations, shape (N, *data_shape).
            index: their indices, shape (N,).
            num_steps: of Adam.
            num_particles: draws behind each gradient, each with its mirror image.
            learning_rate: of Adam, at the start.
        """
        rows = self._rows(x, index)
        noise, x = KeyedNoise(0), model.check_observations(x)
        for part, some in zip(rows.split(BATCH), x.split(BATCH), strict=True):
            pool = noise.normal("local fit", part, range(POOL), (self.latent_dim,), self.free_loc)
            pool = pool / pool.square().mean(0).sqrt()
            self._fit(model, some, part, pool.split(num_particles), num_steps, learning_rate)
        self.fitted[rows] = True

    def _fit(
        self, model: Any, x: Tensor, rows: Tensor, noise: Sequence[Tensor], num_steps: int, learning_rate: float
    ) -> None:
        loc, raw = ((SPEED * part.detach()[rows]).requires_grad_() for part in (self.free_loc, self.free_scale))
        optimizer = torch.optim.Adam([loc, raw], lr=learning_rate)
        for step in range(num_steps):
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / num_steps)
            epsilon = noise[step % len(noise)]
            with torch.enable_grad():
                scale = positive_scale(raw)
                z = loc + scale * torch.cat([epsilon, -epsilon])
                q, prior = diagonal_normal(loc, scale), model.prior()
                kl = analytic_kl(q, prior)
                if kl is None:
                    kl = (q.log_prob(z) - prior.log_prob(z)).mean(0)
                loss = (kl - observed_log_prob(model.likelihood(z), x).mean(0)).sum()
                loc.grad, raw.grad = torch.autograd.grad(loss, [loc, raw])
            optimizer.step()
        with torch.no_grad():
            self.free_loc[rows], self.free_scale[rows] = loc / SPEED, raw / SPEED
