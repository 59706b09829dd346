r"""The whole theory in plain torch: loops, float64, no Pyro, nothing fast. Read this file first.

Bayes' rule for one observation x and one hypothesis z:

.. math:: p(z \mid x) = \frac{p(x \mid z) \, p(z)}{p(x)}, \qquad p(x) = \int p(x \mid z) \, p(z) \, dz

The evidence p(x) is an integral over every hypothesis, which is what makes the posterior hard. A guide q(z given x)
stands in for it, and everything the library prints follows from the identity

.. math:: \log p(x) = \underbrace{E_q \log p(x \mid z) - \mathrm{KL}(q \,\|\, p(z))}_{\text{ELBO}}
    + \mathrm{KL}(q \,\|\, p(z \mid x))

The tests compare the library with these functions. One observation is a vector ``x`` of shape (P,), one hypothesis a
vector ``z`` of shape (D,).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "bernoulli_log_likelihood",
    "effective_sample_size",
    "elbo",
    "importance_weighted_bound",
    "linear_gaussian_exact_posterior",
    "linear_gaussian_log_evidence",
    "log_evidence_by_grid",
    "log_importance_weight",
    "log_standard_normal",
    "normal_kl",
    "normal_log_density",
]

Decoder = Callable[[Tensor], Tensor]
"""From z to the parameters of p(x given z)."""


def normal_log_density(value: Tensor, loc: Tensor, scale: Tensor) -> float:
    """log N(value; loc, diag(scale)²), a sum over the vector."""
    total = 0.0
    for v, m, s in zip(value.tolist(), loc.tolist(), scale.tolist(), strict=True):
        total += -0.5 * ((v - m) / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)
    return total


def log_standard_normal(z: Tensor) -> float:
    """log p(z) under the prior of a VAE: what is believed of z before x is seen."""
    return normal_log_density(z, torch.zeros_like(z), torch.ones_like(z))


def bernoulli_log_likelihood(x: Tensor, logits: Tensor) -> float:
    """log p(x given z) where z has been decoded to the logits: how well this hypothesis explains x."""
    total = 0.0
    for pixel, logit in zip(x.tolist(), logits.tolist(), strict=True):
        log_one, log_zero = -math.log1p(math.exp(-logit)), -math.log1p(math.exp(logit))
        total += log_one if pixel == 1 else log_zero
    return total


def normal_kl(loc: Tensor, scale: Tensor) -> float:
    """KL(N(loc, diag(scale)²) to N(0, I)): what the guide's belief about this one x costs, in nats."""
    total = 0.0
    for m, s in zip(loc.tolist(), scale.tolist(), strict=True):
        total += 0.5 * (s**2 + m**2 - 1) - math.log(s)
    return total


def log_importance_weight(x: Tensor, z: Tensor, loc: Tensor, scale: Tensor, decoder: Decoder) -> float:
    """log p(z) + log p(x given z) − log q(z given x), for a Bernoulli VAE with a normal guide."""
    log_joint = log_standard_normal(z) + bernoulli_log_likelihood(x, decoder(z))
    return log_joint - normal_log_density(z, loc, scale)


def importance_weighted_bound(log_weights: list[float]) -> float:
    """log of the mean weight, L_K. With one weight it is a draw of the ELBO; as K grows it rises to log p(x)."""
    largest = max(log_weights)
    mean = sum(math.exp(w - largest) for w in log_weights) / len(log_weights)
    return largest + math.log(mean)


def effective_sample_size(log_weights: list[float]) -> float:
    """(Σw)² / Σw²."""
    largest = max(log_weights)
    weights = [math.exp(w - largest) for w in log_weights]
    return sum(weights) ** 2 / sum(w**2 for w in weights)


def elbo(x: Tensor, draws: list[Tensor], loc: Tensor, scale: Tensor, decoder: Decoder) -> float:
    """Mean log likelihood over draws from q, minus the closed-form KL."""
    likelihoods = [bernoulli_log_likelihood(x, decoder(z)) for z in draws]
    return sum(likelihoods) / len(likelihoods) - normal_kl(loc, scale)


def log_evidence_by_grid(x: Tensor, decoder: Decoder, width: float = 8.0, points: int = 401) -> float:
    """log p(x) of a Bernoulli VAE with a one-dimensional z: the integral, done as a sum over a fine grid."""
    step = 2 * width / (points - 1)
    terms = []
    for i in range(points):
        z = torch.tensor([-width + i * step], dtype=torch.float64)
        terms.append(log_standard_normal(z) + bernoulli_log_likelihood(x, decoder(z)) + math.log(step))
    largest = max(terms)
    return largest + math.log(sum(math.exp(term - largest) for term in terms))


def linear_gaussian_log_evidence(x: Tensor, weight: Tensor, bias: Tensor, noise_scale: float) -> float:
    """log p(x) where x = W z + b + noise: x is normal with covariance W Wᵀ + σ² I."""
    size = len(x)
    covariance = weight @ weight.T + noise_scale**2 * torch.eye(size, dtype=torch.float64)
    centred = x - bias
    distance = centred @ torch.linalg.inv(covariance) @ centred
    return float(-0.5 * (distance + torch.logdet(covariance) + size * math.log(2 * math.pi)))


def linear_gaussian_exact_posterior(
    x: Tensor, weight: Tensor, bias: Tensor, noise_scale: float
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of p(z given x) in the same model: precision = prior's (I) + likelihood's (WᵀW/σ²)."""
    eye = torch.eye(weight.shape[1], dtype=torch.float64)
    covariance = torch.linalg.inv(eye + weight.T @ weight / noise_scale**2)
    return covariance @ weight.T @ (x - bias) / noise_scale**2, covariance
