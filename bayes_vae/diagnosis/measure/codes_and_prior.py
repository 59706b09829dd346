"""Where q puts the observations: moments of the codes, KL by dimension, and how far all of them are from the prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.distributions import diagonal_normal, normal_parts
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.factorized import FactorizedBatch, variational_normal
from bayes_vae.terms.randomness import derived_seed, isolated_rng

__all__ = ["COLLAPSED_KL", "bound_of_scores", "density_ratio_bound", "measure_codes", "measure_hole"]

STEPS, ROWS, RATE, WIDTH, REPEATS = 120, 256, 2e-2, 32, 4

COLLAPSED_KL = 0.02
"""Nats of mean KL below which a latent dimension is collapsed."""


def measure_codes(subject: Subject) -> dict[str, Measurement]:
    """Moments of q's means and deviations in units of the prior's, and the KL of each dimension."""
    x, index = subject.train
    bound = subject.factorized.bind(x, index)
    loc, scale = _standardized(bound)
    kl = bound.kl_per_dimension().double()
    spread = loc.var(0, correction=0) + scale.square().mean(0)
    share = scale.square().mean(0) / spread
    mean_kl = kl.mean(0)
    found = {
        "latent_dimensions": Measurement.of(loc.shape[1]),
        "collapsed_dimensions": Measurement.of((mean_kl < COLLAPSED_KL).sum()),
        "largest_mean_kl_of_a_dimension": Measurement.mean(kl[:, mean_kl.argmax()]),
        "smallest_mean_kl_of_a_dimension": Measurement.mean(kl[:, mean_kl.argmin()]),
        "scale_share": Measurement.of(share.sqrt().median()),
        "smallest_scale": Measurement.of(scale.min()),
        "largest_scale": Measurement.of(scale.max()),
        "median_scale": Measurement.of(scale.median()),
        "mean_square_scale": Measurement.mean(scale.square().mean(-1), ""),
        "largest_code": Measurement.of(loc.abs().max()),
        "aggregate_mean_off": Measurement.of(loc.mean(0).abs().max()),
        "aggregate_deviation_smallest": Measurement.of(spread.sqrt().min()),
        "aggregate_deviation_largest": Measurement.of(spread.sqrt().max()),
    }
    return found | {f"kl_of_z_{d}": Measurement.mean(kl[:, d]) for d in range(kl.shape[1])}


def _standardized(bound: FactorizedBatch) -> tuple[Tensor, Tensor]:
    """Means and deviations in units of the prior."""
    prior = normal_parts(bound.prior)
    assert prior is not None, "the pair is factorized"
    loc, scale = variational_normal(bound)
    return ((loc - prior[0]) / prior[1]).double(), (scale / prior[1]).double()


def measure_hole(subject: Subject) -> dict[str, Measurement]:
    """A lower bound on KL(q(z) to p(z)), the marginal KL, by a classifier of codes against draws of the prior.

    Where the prior is another for each observation, as with covariates, codes are in units of their own prior.
    """
    with isolated_rng(derived_seed(subject.seed, "hole"), subject.device):
        ours, theirs = _codes_beside_prior(subject)
        return {"marginal_kl_bound": density_ratio_bound(ours[0], theirs[0], ours[1], theirs[1])}


def _codes_beside_prior(subject: Subject) -> tuple[list[Tensor], list[Tensor]]:
    """Codes of training and of test rows, and as many draws of the prior, in units of the prior's moments."""
    try:
        pair = subject.exposed
    except NotDefinedError:
        parts = [_standardized(subject.factorized.bind(*rows)) for rows in (subject.train, subject.test)]
        ours = [diagonal_normal(*each).sample((REPEATS,)).flatten(0, 1) for each in parts]
        return ours, [torch.randn_like(each) for each in ours]
    codes = []
    for x, index in (subject.train, subject.test):
        codes.append(pair.bind(x, index).variational_posterior.sample((REPEATS,)).flatten(0, 1))
    prior = pair.model.prior()
    middle = prior.sample((4096,))
    loc, width = middle.mean(0), middle.std(0)
    return [(part - loc) / width for part in codes], [(prior.sample((len(part),)) - loc) / width for part in codes]


def density_ratio_bound(codes: Tensor, draws: Tensor, test_codes: Tensor, test_draws: Tensor) -> Measurement:
    r"""A lower bound on the KL between two distributions, from draws of both.

    .. math:: \mathrm{KL}(q \,\|\, p) \ge E_q T(z) - \log E_p e^{T(z)}

    T is a small network on z and its squares, trained as a classifier, and scored on draws that it has not seen.

    Args:
        codes, draws: of q and of p, to train on, each (M, D).
        test_codes, test_draws: to score on.

    Returns:
        nats; at least 0 up to its error.

    Reference: Donsker, Varadhan (1983); Nguyen, Wainwright, Jordan (2010), "Estimating divergence functionals".
    """
    rows = [_features(part.float().clamp(-30, 30)) for part in (codes, draws, test_codes, test_draws)]
    size = rows[0].shape[1]
    network = nn.Sequential(nn.Linear(size, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)).to(codes.device)
    linear = nn.Linear(size, 1).to(codes.device)
    optimizer = torch.optim.Adam([*network.parameters(), *linear.parameters()], lr=RATE, weight_decay=1e-4)
    with torch.enable_grad():
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            ours, theirs = (part[torch.randint(len(part), (ROWS,), device=part.device)] for part in rows[:2])
            scores = [(network(part) + linear(part)).squeeze(-1) for part in (ours, theirs)]
            loss = nn.functional.softplus(-scores[0]).mean() + nn.functional.softplus(scores[1]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    high, low = ((network(part) + linear(part)).squeeze(-1).detach().double() for part in rows[2:])
    return bound_of_scores(high, low)


def bound_of_scores(of_codes: Tensor, of_draws: Tensor) -> Measurement:
    r"""The bound for given scores T, whatever is added to all of them, and its error.

    .. math:: E_q T - \log E_p e^T

    Args:
        of_codes: T at draws of q, ``REPEATS`` of each observation, shape (M,).
        of_draws: T at draws of p, shape (M,).
    """
    weights = (of_draws - of_draws.max()).exp()
    log_mean = weights.mean().log() + of_draws.max()
    error = (of_codes.var() * REPEATS / len(of_codes) + weights.var() / weights.mean() ** 2 / len(weights)).sqrt()
    return Measurement.of(of_codes.mean() - log_mean, error, "nats")


def _features(z: Tensor) -> Tensor:
    return torch.cat([z, z.square() / 4], dim=-1)
