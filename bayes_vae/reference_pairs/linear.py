r"""Pairs that are linear and Gaussian, so that log p(x) has a closed form; the hard part is the guide.

.. math:: z \sim N(0, I), \quad x \mid z \sim N(W z, \sigma^2 I), \quad \log p(x) = \log N(x; 0, W W^T + \sigma^2 I)
"""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.reference_pairs.pair import Parts, cosines, log_normal, waves
from bayes_vae.reference_pairs.programs import FunctionGuide, FunctionModel, NormalGuide, standard_normal

__all__ = ["PAIRS"]

CLOSED = "closed form: x is normal"


class Linear:
    """The linear-Gaussian model: its program, log p(x) and exact posterior."""

    def __init__(self, weight: Tensor, noise: float, dtype: torch.dtype = torch.float64) -> None:
        self.weight, self.noise = weight, noise
        narrow = weight.to(dtype)
        self.model = FunctionModel(
            standard_normal(weight.shape[1], dtype), lambda z: dist.Normal(z @ narrow.mT, noise).to_event(1)
        )
        self.precision = torch.eye(weight.shape[1], dtype=torch.float64) + weight.mT @ weight / noise**2

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), shape (N,)."""
        size = len(self.weight)
        covariance = self.weight @ self.weight.mT + self.noise**2 * torch.eye(size, dtype=torch.float64)
        return _log_centred_normal(x.double(), covariance)

    def loc(self, x: Tensor) -> Tensor:
        """Mean of p(z given x), shape (N, D)."""
        pull = self.weight.mT @ x.double().mT / self.noise**2
        loc: Tensor = torch.linalg.solve(self.precision, pull).mT.to(x.dtype)
        return loc

    def conditional(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means of p(z given x), and the deviation of each z given the others: the q that maximizes the ELBO."""
        loc = self.loc(x)
        return loc, self.precision.diagonal().rsqrt().to(x.dtype).expand_as(loc)

    def marginal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations of p(z given x)."""
        loc = self.loc(x)
        return loc, torch.linalg.inv(self.precision).diagonal().sqrt().to(x.dtype).expand_as(loc)

    def parts(self, about: str, guide: Any, dtype: torch.dtype = torch.float64) -> Parts:
        """A pair of this model."""
        return Parts(about, self.model, guide, self.log_evidence, CLOSED, self.weight.shape[1], dtype)


def _log_centred_normal(x: Tensor, covariance: Tensor) -> Tensor:
    zero = torch.zeros(len(covariance), dtype=torch.float64)
    log_density: Tensor = torch.distributions.MultivariateNormal(zero, covariance).log_prob(x)
    return log_density


def correlated() -> Parts:
    """Four latents that the observations see almost only as a sum."""
    linear = Linear(0.3 * waves(5, 4) + 1.0, 0.3)
    return linear.parts("correlated posterior, guide with independent dimensions", NormalGuide(linear.conditional))


def _eight() -> Linear:
    return Linear(1.2 * waves(12, 8), 0.8)


def exact_guide() -> Parts:
    """q is the exact posterior: every weight is p(x)."""
    linear = _eight()
    tril = torch.linalg.cholesky(torch.linalg.inv(linear.precision))
    guide = FunctionGuide(lambda x: dist.MultivariateNormal(linear.loc(x), scale_tril=tril))
    return linear.parts("the guide is exact: every estimate is log p(x), with no error", guide)


def too_narrow() -> Parts:
    """The deviations of a guide that a collapsed scale left at 2e-6."""
    linear = _eight()
    guide = NormalGuide(lambda x: (linear.loc(x), torch.full_like(linear.loc(x), 2e-6)))
    return linear.parts("guide with the exact mean and a deviation of 2e-6", guide)


def too_wide() -> Parts:
    """Twenty times the deviations of the posterior."""
    linear = _eight()
    return linear.parts("guide with the exact mean, twenty times too wide", NormalGuide(linear.marginal, 20.0))


def far_off() -> Parts:
    """The means of q lie thirty deviations from the posterior's."""
    linear = Linear(0.8 * waves(6, 3), 0.5)
    return linear.parts("guide thirty deviations from the posterior", NormalGuide(linear.marginal, shift=30.0))


def point_like() -> Parts:
    """In float32 every draw of this q is the same number, and every weight equal."""
    linear = Linear(torch.eye(4, dtype=torch.float64), 1.0, torch.float32)
    guide = NormalGuide(lambda x: (x / 2, torch.full_like(x, 1e-9)))
    return linear.parts("guide narrower than the spacing of float32: all its draws are equal", guide, torch.float32)


def sharp_likelihood() -> Parts:
    """In float32 x and z are either equal or many deviations apart."""
    linear = Linear(torch.eye(1, dtype=torch.float64), 1e-9, torch.float32)
    guide = NormalGuide(lambda x: (x, torch.full_like(x, 1e-7)))
    return linear.parts("likelihood narrower than the spacing of float32", guide, torch.float32)


def collapsed() -> Parts:
    """The decoder's weights on z are zero, and q is the prior."""
    weight, logits = torch.zeros(8, 6, dtype=torch.float64), waves(1, 8)[0]
    prior = standard_normal(6)
    model = FunctionModel(prior, lambda z: dist.Bernoulli(logits=z @ weight.mT + logits).to_event(1))
    guide = FunctionGuide(lambda x: prior.expand((len(x),)))
    return Parts(
        "collapsed: the decoder ignores z, and q is the prior",
        model,
        guide,
        lambda x: (x * logits - torch.nn.functional.softplus(logits)).sum(-1),
        "closed form: x does not depend on z",
        6,
    )


def two_sites() -> Parts:
    """A top latent of two numbers, and three below it."""
    down, out = 1.1 * waves(3, 2), 0.9 * waves(4, 3)
    below, noise = 0.7, 0.5

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            z1 = pyro.sample("z1", dist.Normal(z2 @ down.mT, below).to_event(1))
            pyro.sample("x", dist.Normal(z1 @ out.mT, noise).to_event(1), obs=x)

    middle = down @ down.mT + below**2 * torch.eye(3, dtype=torch.float64)
    evidence = out @ middle @ out.mT + noise**2 * torch.eye(4, dtype=torch.float64)
    back = torch.linalg.solve(evidence, out @ middle)  # E z1 = x back
    top = torch.linalg.solve(middle, down)  # E z2 = z1 top

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(x @ back, 0.5).to_event(1))
            pyro.sample("z2", dist.Normal(z1 @ top, 0.6).to_event(1))

    about = "two latent sites, one above the other"
    return Parts(about, model, guide, lambda x: _log_centred_normal(x, evidence), CLOSED, 5)


def masked_rows() -> Parts:
    """The second latent and observation of a row count only where they are seen, as in a shorter sequence."""
    noise = 0.5

    def model(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x1", dist.Normal(z1, noise), obs=x[:, 0])
            with pyro.poutine.mask(mask=seen):  # type: ignore[call-overload]
                z2 = pyro.sample("z2", dist.Normal(x.new_zeros(len(x)), 1.0))
                pyro.sample("x2", dist.Normal(z2, noise), obs=x[:, 1])

    def guide(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z1", dist.Normal(0.8 * x[:, 0], 0.5))
            with pyro.poutine.mask(mask=seen):  # type: ignore[call-overload]
                pyro.sample("z2", dist.Normal(0.8 * x[:, 1], 0.5))

    def exact(x: Tensor, seen: Tensor) -> Tensor:
        each = log_normal(x, 0.0, (1 + noise**2) ** 0.5)
        return each[:, 0] + torch.where(seen, each[:, 1], 0.0)

    return Parts("a latent that is masked in some rows", model, guide, exact, "closed form: x1 and x2 are normal", 2)


def fifty_linear() -> Parts:
    """Fifty latents, turned so that each pixel sees all of them, with deviations from 0.1 to 1."""
    gains = torch.logspace(1, -1, 50, dtype=torch.float64)
    linear = Linear(gains.unsqueeze(-1) * cosines(50), 1.0)
    about = "50 correlated latents, guide with independent dimensions"
    return linear.parts(about, NormalGuide(linear.conditional))


PAIRS = {
    "exact-guide": exact_guide,
    "correlated": correlated,
    "collapsed": collapsed,
    "too-narrow": too_narrow,
    "too-wide": too_wide,
    "far-off": far_off,
    "point-like": point_like,
    "sharp-likelihood": sharp_likelihood,
    "masked-rows": masked_rows,
    "two-sites": two_sites,
    "fifty-linear": fifty_linear,
}
