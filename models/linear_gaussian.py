"""The VAE whose every term is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.distributions import analytic_kl, diagonal_normal, missing_in, observed_log_prob
from bayes_vae.errors import NotDefinedError
from bayes_vae.models.model import SingleLatentModel

__all__ = ["LinearGaussianVAE"]


class LinearGaussianVAE(SingleLatentModel):
    r"""Linear decoder and normal noise: probabilistic PCA, where evidence and posterior are exact.

    .. math:: p(z) = N(0, I), \quad p(x \mid z) = N(Wz + b, \sigma^2 I)

    .. math:: p(x) = N(b, WW^\top + \sigma^2 I), \quad
        p(z \mid x) = N(M^{-1} W^\top (x - b), \sigma^2 M^{-1}), \quad M = W^\top W + \sigma^2 I

    Of an observation with missing numbers (NaN) both are exact too, with the rows of W and b of what was observed.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation, P numbers in all.
        noise_scale: the starting σ.

    Reference: Tipping, Bishop (1999), "Probabilistic principal component analysis", eqs. 4–8;
    Lucas, Tucker, Grosse, Norouzi (2019), "Don't blame the ELBO!", section 3.
    """

    prior_loc: Tensor
    prior_scale: Tensor

    def __init__(self, latent_dim: int, data_shape: Sequence[int], noise_scale: float = 1.0) -> None:
        super().__init__(latent_dim=latent_dim, data_shape=tuple(data_shape), noise_scale=noise_scale)
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        size = math.prod(data_shape)
        self.weight = nn.Parameter(torch.randn(size, latent_dim) / math.sqrt(latent_dim))
        self.bias = nn.Parameter(torch.zeros(size))
        self.log_scale = nn.Parameter(torch.tensor(math.log(noise_scale)))
        self.register_buffer("prior_loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("prior_scale", torch.ones(latent_dim), persistent=False)

    def prior(self) -> dist.TorchDistribution:
        """p(z), the standard normal."""
        return diagonal_normal(self.prior_loc, self.prior_scale)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z): normal pixels around W z + b."""
        loc = (z @ self.weight.T + self.bias).reshape(*z.shape[:-1], *self.data_shape)
        pixels = dist.Normal(loc, self.log_scale.exp(), validate_args=False)
        return dist.Independent(pixels, len(self.data_shape), validate_args=False)

    def _centred(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x − b, shape (N, P), zero where a number is missing; and 1 where it is not, None where none is missing."""
        centred = self.check_observations(x).flatten(1) - self.bias
        missing = missing_in(centred)
        return (centred, None) if missing is None else (centred.where(~missing, 0.0), (~missing).to(centred.dtype))

    def _gram(self, seen: Tensor | None) -> Tensor:
        """WᵀW of the rows that were observed, shape (D, D); (N, D, D) where that differs."""
        if seen is None:
            return self.weight.T @ self.weight
        return torch.einsum("np,pd,pe->nde", seen, self.weight, self.weight)

    def _precision(self, seen: Tensor | None = None) -> Tensor:
        """Precision of the exact posterior, (WᵀW + σ²I) / σ², shape as of :meth:`_gram`."""
        eye = torch.eye(self.latent_dim, dtype=self.weight.dtype, device=self.weight.device)
        return self._gram(seen) * (-2 * self.log_scale).exp() + eye

    def log_evidence(self, x: Tensor) -> Tensor:
        """Exact log p(x), the marginal likelihood, of what was observed; shape (N,), nats."""
        (centred, seen), variance = self._centred(x), (2 * self.log_scale).exp()
        precision = torch.linalg.cholesky(self._precision(seen))
        pulls = (centred @ self.weight / variance).unsqueeze(-1)
        projected = torch.linalg.solve_triangular(precision, pulls, upper=False).squeeze(-1)
        distance = centred.square().sum(-1) / variance - projected.square().sum(-1)
        size = centred.shape[1] if seen is None else seen.sum(-1)
        log_det = size * 2 * self.log_scale + 2 * precision.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_density: Tensor = -0.5 * (distance + log_det + size * math.log(2 * math.pi))
        return log_density

    def exact_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Exact p(z given x); batch shape (N,), event shape (D,), full covariance."""
        centred, seen = self._centred(x)
        precision = self._precision(seen)
        pulls = self.weight.T @ (centred * (-2 * self.log_scale).exp()).T
        if seen is None:  # one precision for all
            loc = torch.linalg.solve(precision, pulls).T
        else:
            loc = torch.linalg.solve(precision, pulls.T.unsqueeze(-1)).squeeze(-1)
        return dist.MultivariateNormal(loc, precision_matrix=precision, validate_args=False)

    def elbo(self, x: Tensor, variational_posterior: dist.TorchDistribution) -> Tensor:
        r"""Exact ELBO of a normal q, without any sampling.

        .. math:: E_q \log p(x \mid z) = \log N(x; Wm + b, \sigma^2 I)
            - \tfrac{1}{2\sigma^2} \operatorname{tr}(W^\top W S)

        Args:
            x: observations, shape (N, *data_shape).
            variational_posterior: q(z given x), normal with mean m and covariance S, batch shape (N,).

        Returns:
            shape (N,), nats; at most :meth:`log_evidence`.
        """
        q = variational_posterior
        kl = analytic_kl(q, self.prior())
        if kl is None:
            raise NotDefinedError(
                f"the exact ELBO is known for a normal q, got {type(q).__name__}. Use bayes_vae.elbo_terms."
            )
        spread = getattr(q, "covariance_matrix", None)
        spread = q.variance.diag_embed() if spread is None else spread
        trace = (self._gram(self._centred(x)[1]) * spread).sum((-2, -1))
        expected = observed_log_prob(self.likelihood(q.mean), self.check_observations(x))
        return expected - 0.5 * trace * (-2 * self.log_scale).exp() - kl
