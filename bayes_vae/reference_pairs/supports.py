"""Pairs whose latents are positive, on a simplex, or discrete."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.reference_pairs.pair import Parts, log_normal, waves
from bayes_vae.reference_pairs.programs import FunctionGuide, FunctionModel

__all__ = ["PAIRS"]


def positive() -> Parts:
    r"""A gamma rate behind two counts.

    .. math:: p(x) = \frac{\Gamma(a + s)}{\Gamma(a)} \frac{b^a}{(b + 2)^{a + s}} \frac1{x_1! \, x_2!},
        \quad s = x_1 + x_2
    """
    shape, rate = 1.5, 0.5
    prior = dist.Gamma(torch.full((1,), shape, dtype=torch.float64), rate).to_event(1)
    model = FunctionModel(prior, lambda z: dist.Poisson(z.expand(*z.shape[:-1], 2)).to_event(1))

    def exact(x: Tensor) -> Tensor:
        after = shape + x.sum(-1)
        front = shape * math.log(rate) - math.lgamma(shape) - torch.lgamma(x + 1).sum(-1)
        return front + torch.lgamma(after) - after * math.log(rate + 2)

    def log_normal_guide(x: Tensor) -> dist.TorchDistribution:
        after = shape + x.sum(-1, keepdim=True)
        guide: dist.TorchDistribution = dist.LogNormal((after / (rate + 2)).log(), after.rsqrt()).to_event(1)
        return guide

    about = "a positive latent with a log-normal guide"
    return Parts(about, model, FunctionGuide(log_normal_guide), exact, "closed form: gamma and Poisson", 1)


def simplex() -> Parts:
    r"""Chances of four outcomes behind twelve throws: Dirichlet and multinomial.

    .. math:: p(x) = \frac{n! \, \Gamma(A)}{\Gamma(A + n)} \prod_j \frac{\Gamma(a_j + x_j)}{\Gamma(a_j) \, x_j!},
        \quad A = \sum_j a_j
    """
    throws, before = 12, torch.tensor([0.8, 1.0, 2.0, 3.0], dtype=torch.float64)
    model = FunctionModel(dist.Dirichlet(before), lambda z: dist.Multinomial(throws, probs=z))

    def exact(x: Tensor) -> Tensor:
        total = before.sum()
        front = math.lgamma(throws + 1) + torch.lgamma(total) - torch.lgamma(total + throws)
        return front + (torch.lgamma(before + x) - torch.lgamma(before) - torch.lgamma(x + 1)).sum(-1)

    guide = FunctionGuide(lambda x: dist.Dirichlet(1.0 + 0.5 * x))
    return Parts("a simplex, guide too wide", model, guide, exact, "closed form: Dirichlet and multinomial", 3)


def discrete() -> Parts:
    """One of five classes and three bits: forty values, added up."""
    classes, bits, noise = 5, 3, 0.6
    places, moves, chance = 2.5 * waves(classes, 2), 1.2 * waves(bits, 2), 0.3
    patterns = torch.cartesian_prod(*[torch.arange(2, dtype=torch.float64)] * bits)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            label = pyro.sample("label", dist.Categorical(logits=x.new_zeros(len(x), classes)))
            flips = pyro.sample("bits", dist.Bernoulli(x.new_full((len(x), bits), chance)).to_event(1))
            pyro.sample("x", dist.Normal(places[label] + flips @ moves, noise).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            nearness = -0.5 * torch.cdist(x, places + chance * moves.sum(0)).square()
            pyro.sample("label", dist.Categorical(logits=nearness))
            pyro.sample("bits", dist.Bernoulli(x.new_full((len(x), bits), 0.4)).to_event(1))

    def exact(x: Tensor) -> Tensor:
        ones = patterns.sum(-1)
        log_prior = ones * math.log(chance) + (bits - ones) * math.log(1 - chance) - math.log(classes)
        loc = places[:, None] + patterns @ moves  # (classes, patterns, 2)
        log_likelihood = log_normal(x, loc.unsqueeze(-2), noise).sum(-1)
        return torch.logsumexp((log_prior.unsqueeze(-1) + log_likelihood).flatten(0, 1), 0)

    return Parts("discrete latents", model, guide, exact, "enumeration of forty values", 0)


PAIRS = {"positive": positive, "simplex": simplex, "discrete": discrete}
