"""Pairs whose posteriors are not normal: counts, two modes, heavy tails, a funnel, a curve, a network's decoder."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.reference_pairs.pair import Parts, cosines, log_integral, log_normal, waves
from bayes_vae.reference_pairs.programs import FunctionModel, NormalGuide, standard_normal

__all__ = ["PAIRS"]

ONE = "quadrature: one-dimensional, the other latents integrated in closed form"
FACTORS = "quadrature: a product of one-dimensional integrals"

Moments = tuple[Tensor, Tensor]


def unimodal() -> Parts:
    """Three counts with one latent."""
    gain, offset = torch.tensor([[0.9, 0.5, -0.4], [1.0, 0.5, 0.0]], dtype=torch.float64)
    model = FunctionModel(standard_normal(1), lambda z: dist.Poisson((z * gain + offset).exp()).to_event(1))

    def exact(x: Tensor) -> Tensor:
        def log_joint(z: Tensor) -> Tensor:
            logits = z.unsqueeze(-1) * gain + offset
            counts: Tensor = (x * logits - logits.exp() - torch.lgamma(x + 1)).sum(-1)
            return log_normal(z, 0.0, 1.0) + counts

        return log_integral(log_joint, 12)

    def laplace(x: Tensor) -> Moments:
        z = x.new_zeros(len(x), 1)
        for _ in range(20):
            rate = (z * gain + offset).exp()
            curvature = 1 + (gain**2 * rate).sum(-1, keepdim=True)
            z = z + ((gain * (x - rate)).sum(-1, keepdim=True) - z) / curvature
        return z, 1.2 * curvature.rsqrt()

    return Parts("unimodal, close to normal", model, NormalGuide(laplace), exact, "quadrature: one-dimensional", 1)


def _squared() -> tuple[FunctionModel, Callable[[Tensor], Tensor]]:
    r"""x₁ is z₁² with noise, and x₂ is z₁ + z₂ with noise: a mode at each root of x₁, of different mass."""
    noise = torch.tensor([0.3, 0.5], dtype=torch.float64)

    def likelihood(z: Tensor) -> dist.TorchDistribution:
        loc = torch.stack([z[..., 0] ** 2, z[..., 0] + z[..., 1]], -1)
        normal: dist.TorchDistribution = dist.Normal(loc, noise).to_event(1)
        return normal

    def exact(x: Tensor) -> Tensor:
        return log_integral(
            lambda z: (
                log_normal(z, 0.0, 1.0)
                + log_normal(x[:, 0], z**2, noise[0])
                + log_normal(x[:, 1], z, (1 + noise[1] ** 2).sqrt())
            ),
            12,
        )

    return FunctionModel(standard_normal(2), likelihood), exact


def bimodal() -> Parts:
    """The guide spans both modes."""
    model, exact = _squared()

    def moments(x: Tensor) -> Moments:
        root = x[:, 0].clamp(min=0.25).sqrt()
        return torch.stack([torch.zeros_like(root), 0.5 * x[:, 1]], -1), torch.stack([root, root + 0.5], -1)

    return Parts("two modes, guide over both", model, NormalGuide(moments), exact, ONE, 2)


def missed_mode() -> Parts:
    """The guide sits on the mode at the positive root, and never draws from the other."""
    model, exact = _squared()

    def moments(x: Tensor) -> Moments:
        root = x[:, 0].clamp(min=0.25).sqrt()
        scale = torch.stack([0.17 / root, torch.full_like(root, 0.5)], -1)
        return torch.stack([root, 0.8 * (x[:, 1] - root)], -1), scale

    return Parts("two modes, guide on one of them", model, NormalGuide(moments), exact, ONE, 2)


def many_modes() -> Parts:
    """Two modes in each of six dimensions, turned so that no axis of z shows them."""
    size, noise = 6, 0.4
    turn = cosines(size)
    model = FunctionModel(standard_normal(size), lambda z: dist.Normal((z @ turn.mT) ** 2, noise).to_event(1))

    def exact(x: Tensor) -> Tensor:
        def log_joint(u: Tensor) -> Tensor:
            return (log_normal(u.unsqueeze(-1), 0.0, 1.0) + log_normal(x, u.unsqueeze(-1) ** 2, noise)).flatten(1)

        return log_integral(log_joint, 12).reshape(x.shape).sum(-1)

    guide = NormalGuide(lambda x: (x.new_zeros(len(x), size), x.new_ones(len(x), size)))
    return Parts("64 modes along turned axes, guide equal to the prior", model, guide, exact, FACTORS, size)


def heavy_tailed() -> Parts:
    """Student-t prior and likelihood, normal guide: where the two disagree, neither gives way."""
    degrees, noise = 2.0, 0.5
    prior = dist.StudentT(degrees, torch.zeros(2, dtype=torch.float64), 1.0).to_event(1)
    model = FunctionModel(prior, lambda z: dist.StudentT(degrees, z, noise).to_event(1))

    def log_student(value: Tensor, scale: float) -> Tensor:
        # two degrees of freedom: the density of value / scale is (2 + t²)^(-3/2)
        return -1.5 * torch.log(2 + (value / scale) ** 2) - math.log(scale)

    def exact(x: Tensor) -> Tensor:
        def log_joint(t: Tensor) -> Tensor:
            z = torch.sinh(t).unsqueeze(-1)  # tails that fall like a power of z fall exponentially in t
            found = log_student(z, 1.0) + log_student(x - z, noise) + torch.log(torch.cosh(t)).unsqueeze(-1)
            return found.flatten(1)

        return log_integral(log_joint, 30).reshape(x.shape).sum(-1)

    guide = NormalGuide(lambda x: (0.8 * x, torch.full_like(x, 0.8)))
    return Parts("heavy tails, guide without", model, guide, exact, FACTORS, 2)


def funnel() -> Parts:
    """v sets the scale of nine z: wide where v is large, and a narrow neck where it is small."""
    width, size, noise = 1.5, 9, 0.5

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            v = pyro.sample("v", dist.Normal(x.new_zeros(len(x)), width))
            scale = (v / 2).exp().unsqueeze(-1).expand(*v.shape, size)
            z = pyro.sample("z", dist.Normal(torch.zeros_like(scale), scale).to_event(1))
            pyro.sample("x", dist.Normal(z, noise).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            variance = (x.square().mean(-1) - noise**2).clamp(min=0.05)
            pyro.sample("v", dist.Normal(variance.log(), 0.7))
            shrink = (variance / (variance + noise**2)).unsqueeze(-1)
            pyro.sample("z", dist.Normal(shrink * x, noise * shrink.sqrt()).to_event(1))

    def exact(x: Tensor) -> Tensor:
        def log_joint(v: Tensor) -> Tensor:
            scale = (v.exp() + noise**2).sqrt().unsqueeze(-1)
            return log_normal(v, 0.0, width) + log_normal(x, 0.0, scale).sum(-1)

        return log_integral(log_joint, 18)

    return Parts("a funnel: one latent sets the scale of nine others", model, guide, exact, ONE, 10)


def curved() -> Parts:
    """The posterior lies along a parabola."""
    noise = torch.tensor([1.0, 0.1], dtype=torch.float64)

    def likelihood(z: Tensor) -> dist.TorchDistribution:
        loc = torch.stack([z[..., 0], z[..., 1] + z[..., 0] ** 2 - 1], -1)
        normal: dist.TorchDistribution = dist.Normal(loc, noise).to_event(1)
        return normal

    def exact(x: Tensor) -> Tensor:
        return log_integral(
            lambda z: (
                log_normal(z, 0.0, 1.0)
                + log_normal(x[:, 0], z, noise[0])
                + log_normal(x[:, 1], z**2 - 1, (1 + noise[1] ** 2).sqrt())
            ),
            12,
        )

    def moments(x: Tensor) -> Moments:
        first = x[:, 0] / 2
        loc = torch.stack([first, x[:, 1] - first**2 + 1], -1)
        return loc, torch.tensor([0.4, 0.3], dtype=torch.float64).expand_as(loc)

    model = FunctionModel(standard_normal(2), likelihood)
    return Parts("a curved posterior, guide with independent dimensions", model, NormalGuide(moments), exact, ONE, 2)


def fifty_counts() -> Parts:
    """Fifty latents and fifty counts of ten, turned so that each count sees every latent."""
    size, trials = 50, 10
    turn, gain, offset = cosines(size), torch.linspace(0.2, 3, size, dtype=torch.float64), waves(1, size)[0]

    def likelihood(z: Tensor) -> dist.TorchDistribution:
        binomial: dist.TorchDistribution = dist.Binomial(trials, logits=(z @ turn.mT) * gain + offset).to_event(1)
        return binomial

    def log_joint(u: Tensor, x: Tensor) -> Tensor:
        logits = u * gain + offset
        ways = math.lgamma(trials + 1) - torch.lgamma(x + 1) - torch.lgamma(trials - x + 1)
        return log_normal(u, 0.0, 1.0) + x * logits - trials * torch.nn.functional.softplus(logits) + ways

    def exact(x: Tensor) -> Tensor:
        return log_integral(lambda u: log_joint(u.unsqueeze(-1), x).flatten(1), 12, 2001).reshape(x.shape).sum(-1)

    def laplace(x: Tensor) -> Moments:
        u = torch.zeros_like(x)
        for _ in range(30):
            chance = (u * gain + offset).sigmoid()
            curvature = 1 + trials * gain**2 * chance * (1 - chance)
            u = u + 0.7 * (gain * (x - trials * chance) - u) / curvature
        return u @ turn, (curvature @ turn**2).rsqrt()

    model = FunctionModel(standard_normal(size), likelihood)
    about = "50 latents and counts, guide with independent dimensions"
    return Parts(about, model, NormalGuide(laplace), exact, FACTORS, size)


def decoder() -> Parts:
    """A Bernoulli VAE: two latents, six hidden units, twelve pixels."""
    into, out, offset = 2 * waves(6, 2), 2.5 * waves(12, 6), waves(1, 12)[0]

    def logits(z: Tensor) -> Tensor:
        return torch.tanh(z @ into.mT + waves(1, 6)[0]) @ out.mT + offset

    def on_grid(x: Tensor, points: int, width: float) -> tuple[Tensor, Tensor]:
        line = torch.linspace(-width, width, points, dtype=torch.float64)
        z = torch.cartesian_prod(line, line)
        found = logits(z)
        softplus = torch.nn.functional.softplus(found).sum(-1, keepdim=True)
        return z, log_normal(z, 0.0, 1.0).sum(-1, keepdim=True) + found @ x.mT - softplus

    def exact(x: Tensor) -> Tensor:
        points, width = 801, 9.0
        return torch.logsumexp(on_grid(x, points, width)[1], 0) + 2 * math.log(2 * width / (points - 1))

    def moments(x: Tensor) -> Moments:
        z, log_joint = on_grid(x, 61, 4.0)
        weights = log_joint.softmax(0)
        loc = weights.mT @ z
        return loc, (weights.mT @ z**2 - loc**2).sqrt()

    model = FunctionModel(standard_normal(2), lambda z: dist.Bernoulli(logits=logits(z)).to_event(1))
    about = "a Bernoulli VAE with a network, guide with the posterior's moments"
    return Parts(about, model, NormalGuide(moments), exact, "quadrature: two-dimensional", 2)


PAIRS = {
    "unimodal": unimodal,
    "decoder": decoder,
    "curved": curved,
    "bimodal": bimodal,
    "missed-mode": missed_mode,
    "many-modes": many_modes,
    "heavy-tailed": heavy_tailed,
    "funnel": funnel,
    "fifty-counts": fifty_counts,
}
