"""Where q puts the observations: moments of the codes, KL by dimension, and how far all of them are from the prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayes_vae.diagnosis.numbers import Number, as_number, mean_number
from bayes_vae.diagnosis.subject import Subject
from bayes_vae.diagnosis.thresholds import COLLAPSED_KL
from bayes_vae.distributions import normal_parts
from bayes_vae.terms.factorized import variational_normal
from bayes_vae.terms.randomness import derived_seed, isolated_rng

__all__ = ["bound_of_scores", "density_ratio_bound", "measure_codes", "measure_hole"]

STEPS, ROWS, RATE, WIDTH, REPEATS = 120, 256, 2e-2, 32, 4


def measure_codes(subject: Subject) -> dict[str, Number]:
    """Moments of q's means and deviations in units of the prior's, and the KL of each dimension."""
    x, index = subject.train
    bound = subject.factorized.bind(x, index)
    loc, scale = _standardized(subject, *variational_normal(bound))
    kl = bound.kl_per_dimension().double()
    spread = loc.var(0, correction=0) + scale.square().mean(0)
    share = scale.square().mean(0) / spread
    mean_kl = kl.mean(0)
    found = {
        "latent_dimensions": as_number(loc.shape[1]),
        "collapsed_dimensions": as_number((mean_kl < COLLAPSED_KL).sum()),
        "largest_mean_kl_of_a_dimension": Number(
            float(mean_kl.max()), float(kl[:, mean_kl.argmax()].std() / len(kl) ** 0.5)
        ),
        "smallest_mean_kl_of_a_dimension": Number(
            float(mean_kl.min()), float(kl[:, mean_kl.argmin()].std() / len(kl) ** 0.5)
        ),
        "scale_share": as_number(share.sqrt().median()),
        "smallest_scale": as_number(scale.min()),
        "largest_scale": as_number(scale.max()),
        "median_scale": as_number(scale.median()),
        "mean_square_scale": mean_number(scale.square().mean(-1), ""),
        "largest_code": as_number(loc.abs().max()),
        "aggregate_mean_off": as_number(loc.mean(0).abs().max()),
        "aggregate_deviation_smallest": as_number(spread.sqrt().min()),
        "aggregate_deviation_largest": as_number(spread.sqrt().max()),
    }
    return found | {f"kl_of_z_{d}": mean_number(kl[:, d]) for d in range(kl.shape[1])}


def _standardized(subject: Subject, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations in units of the prior."""
    prior = normal_parts(subject.factorized.model.prior())
    assert prior is not None, "the pair is factorized"
    return ((loc - prior[0]) / prior[1]).double(), (scale / prior[1]).double()


def measure_hole(subject: Subject) -> dict[str, Number]:
    """A lower bound on KL(q(z) to p(z)), the marginal KL, by a classifier of codes against draws of the prior."""
    with isolated_rng(derived_seed(subject.seed, "hole"), subject.device):
        codes = []
        for x, index in (subject.train, subject.test):
            q = subject.exposed.bind(x, index).variational_posterior
            codes.append(q.sample((REPEATS,)).flatten(0, 1))
        prior = subject.exposed.model.prior()
        middle = prior.sample((4096,))
        loc, width = middle.mean(0), middle.std(0)
        ours = [(part - loc) / width for part in codes]
        theirs = [(prior.sample((len(part),)) - loc) / width for part in codes]
        return {"marginal_kl_bound": density_ratio_bound(ours[0], theirs[0], ours[1], theirs[1])}


def density_ratio_bound(codes: Tensor, draws: Tensor, test_codes: Tensor, test_draws: Tensor) -> Number:
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


def bound_of_scores(of_codes: Tensor, of_draws: Tensor) -> Number:
    r"""The bound for given scores T, whatever is added to all of them, and its error.

    .. math:: E_q T - \log E_p e^T

    Args:
        of_codes: T at draws of q, ``REPEATS`` of each observation, shape (M,).
        of_draws: T at draws of p, shape (M,).
    """
    weights = (of_draws - of_draws.max()).exp()
    log_mean = weights.mean().log() + of_draws.max()
    error = (of_codes.var() * REPEATS / len(of_codes) + weights.var() / weights.mean() ** 2 / len(weights)).sqrt()
    return as_number(of_codes.mean() - log_mean, error, "nats")


def _features(z: Tensor) -> Tensor:
    return torch.cat([z, z.square() / 4], dim=-1)
