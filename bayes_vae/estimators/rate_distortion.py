"""The rate–distortion curve of one fixed model, by annealing from its prior."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.annealing.annealed import CHECK_CHAINS, FEWEST_CHECKED, PLACES, start_of
from bayes_vae.estimators.annealing.chains import Plan, Tick, make_plan, ticker, tune
from bayes_vae.estimators.annealing.path import State
from bayes_vae.estimators.annealing.temperatures import inverse_temperatures
from bayes_vae.estimators.annealing.tempered import Tempered
from bayes_vae.estimators.latent_space import pilot_draws
from bayes_vae.estimators.rate_distortion_curve import RateDistortion
from bayes_vae.settings.setting_types import LARGEST_REAL
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Observations, Program
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import X
from bayes_vae.terms.whole_numbers import real_number, several

__all__ = ["BETAS", "rate_distortion", "rate_distortion_of"]

BETAS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Where the curve is read unless others are asked for."""

CHECK_SHARE = 8
"""The check of each β runs along one temperature in so many."""


@lists_options
def rate_distortion(
    model: Program,
    guide: Program | None,
    x: X,
    betas: Sequence[float] = BETAS,
    *,
    num_temperatures: int = 200,
    num_chains: int = 8,
    num_leapfrog: int = 5,
    **options: Unpack[Options],
) -> RateDistortion:
    r"""The rate–distortion curve of one fixed model: what its decoder can do at each rate, without retraining.

    .. math:: D_\beta = -E_{p_\beta}[\log p(x \mid z)], \qquad
        R_\beta = \mathrm{KL}(p_\beta(z \mid x) \,\|\, p(z)) = \beta \, E_{p_\beta}[\log p(x \mid z)] - \log Z_\beta(x)

    with p_β(z given x) in proportion to p(z) p(x given z)^β. Chains start at draws from the prior and pass through the
    same inverse temperatures for every observation, tuned steps apart; at each β the chains' states are weighted by
    their weights there. At β = 0 the rate is 0; at β = 1 the distribution is the exact posterior, and
    R + D = −log p(x). No q with this decoder and this prior lies below the curve.

    A few more chains go to each β from a normal that is fitted to p(z) p(x given z)^β, from the guide's place on: they
    are no part of the curve, but where they find more of Z_β than the curve's own, those missed a part of z and their
    errors are left blank.

    Args:
        guide: where the check begins; None takes the prior. The curve does not depend on it.
        betas: where the curve is read, above 0; beyond 1 the distortion is less than that of the posterior. β = 0 is
            always there.
        num_temperatures: T, steps from 0 to the largest β, spaced as (t/T)³; those of ``betas`` come in between.
        num_chains: K, independent chains for each observation; at least 2 for errors.
        num_leapfrog: leapfrog steps of a move.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`RateDistortion`, shape (B, N), nats.

    Raises:
        NotDefinedError: a discrete latent.
        SettingsError: betas that are not finite, positive and different, or numbers below one.

    Reference: Huang, Makhzani, Cao, Grosse (2020), "Evaluating lossy compression rates of deep generative models",
    algorithm 1; Alemi et al. (2018), "Fixing a broken ELBO", on rate and distortion.
    """
    own = start_of(model, None, "prior", options.get("source", "auto")) if guide is None else guide
    with open_pair(model, own, x, **options) as opened:
        numbers = {"num_temperatures": num_temperatures, "num_chains": num_chains, "num_leapfrog": num_leapfrog}
        return rate_distortion_of(opened, betas, **numbers)


def rate_distortion_of(
    opened: OpenPair,
    betas: Sequence[float] = BETAS,
    *,
    num_temperatures: int = 200,
    num_chains: int = 8,
    num_leapfrog: int = 5,
) -> RateDistortion:
    """:func:`rate_distortion` of a pair that is open."""
    wanted = torch.tensor([0.0, *_checked(betas)], dtype=torch.float64, device="cpu")
    plan = make_plan(num_temperatures, num_chains, num_leapfrog, None, from_prior=True)
    grid = inverse_temperatures(plan.num_temperatures, "cubic") * wanted[-1]
    ladder = torch.cat([grid, wanted]).unique()
    plan = Plan(len(ladder) - 1, plan.num_chains, plan.num_leapfrog, "adaptive", True, ladder=ladder)
    elsewhere = opened.with_prior_as_guide()
    elsewhere.check_memory(2 * len(wanted) * plan.num_chains, f"{len(betas)} betas and num_chains={plan.num_chains}")
    batches = elsewhere.batches(plan.num_chains, "rate distortion")
    found = [_of_batch(opened, batch, plan, wanted) for batch in batches]
    joined = _AtBetas(*(torch.cat(rows, dim=-1).cpu() for rows in zip(*found, strict=True)))
    return RateDistortion(wanted, *joined, plan.num_temperatures, elsewhere.provenance)


class _AtBetas(NamedTuple):
    """What the chains of a batch have at each β, see :class:`RateDistortion`."""

    log_weights: Tensor
    log_likelihood: Tensor
    check_log_weights: Tensor
    more_modes: Tensor
    resolution: Tensor


def _of_batch(opened: OpenPair, batch: Batch, plan: Plan, betas: Tensor) -> _AtBetas:
    """The chains of the curve, and those of the check, which count as much in the progress as they cost."""
    fewer = max(FEWEST_CHECKED, plan.num_temperatures // CHECK_SHARE)
    check = make_plan(fewer, CHECK_CHAINS, plan.num_leapfrog, "linear", from_prior=False)
    ticks = plan.pilot_ticks + plan.run_ticks + (len(betas) - 1) * (check.pilot_ticks + check.run_ticks)
    tick = ticker(opened.progress, batch.rows, opened.num_observations, ticks)
    assert plan.ladder is not None, "made with one"
    places = set(torch.searchsorted(plan.ladder, betas).tolist())
    weights, likelihoods = list[Tensor](), list[Tensor]()

    def watch(place: int, log_weights: Tensor, state: State) -> None:
        if place in places:
            weights.append(log_weights)
            likelihoods.append(state.delta.double())

    resolution = tune(batch, plan, tick).forward(tick, watch).resolution
    missed = [_check(opened, batch, check, float(beta), tick) for beta in betas[1:]]
    none = torch.zeros_like(missed[0][0]), torch.zeros_like(missed[0][1])  # log Z is 0 at β = 0
    above, more = (torch.stack(each) for each in zip(none, *missed, strict=True))
    shares = (betas / betas[-1]).to(resolution.device).unsqueeze(-1)
    return _AtBetas(torch.stack(weights), torch.stack(likelihoods), above, more, shares * resolution)


def _check(opened: OpenPair, batch: Batch, plan: Plan, beta: float, tick: Tick | None) -> tuple[Tensor, Tensor]:
    """Log weights (C, N) of chains to one β from a normal fitted there, and whether more modes were found, (N,)."""
    places = pilot_draws(batch, PLACES, "places") if batch.keyed else {}

    def bind(x: Observations, index: Tensor) -> Tempered:
        return Tempered(opened.pair.bind(x, index), beta)

    seed = derived_seed(batch.seed, "check", f"{beta}")
    here = replace(batch, bound=bind(batch.x, batch.index), seed=seed, keyed=opened.pair.keyed)
    tuned = tune(replace(here, bind=bind if opened.pair.splittable else None), plan, tick, places)
    return tuned.forward(tick).log_weights, tuned.more_modes


def _checked(betas: Sequence[float]) -> list[float]:
    """The betas in ascending order.

    Raises:
        SettingsError: none, or one that is not a finite number above 0, or twice the same.
    """
    wanted = f"different finite numbers above 0, such as {BETAS}"
    found = sorted(real_number("betas", beta, wanted, below=LARGEST_REAL) for beta in several("betas", betas, wanted))
    if not found or len(set(found)) < len(found):
        raise SettingsError(f"betas must be {wanted}, got {reprlib.repr(betas)}; β = 0 is always there.")
    return found
