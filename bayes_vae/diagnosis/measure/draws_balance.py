"""The weight on the KL for which a discrete q is at rest: the balance of two covariances over its draws."""

from __future__ import annotations

import torch

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.stationarity import ratio_of_sums
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import DoesNotApplyError, NotDefinedError

__all__ = ["DRAWS", "measure_draws_balance"]

DRAWS = 64
"""Draws of q for each observation."""


def measure_draws_balance(subject: Subject) -> dict[str, Measurement]:
    r"""β for which q(z given x) of discrete latents is at rest on the training rows.

    .. math:: \beta = \sum_n \operatorname{Cov}_q\big[\log p(x_n \mid z), r_n(z)\big]
        \Big/ \sum_n \operatorname{Var}_q\big[r_n(z)\big], \qquad r(z) = \log q(z \mid x) - \log p(z)

    Where :math:`E_q \log p(x \mid z) - \beta \, \mathrm{KL}` is stationary in the natural parameters of an exponential
    family that holds the prior too, the covariance of log p(x|z) − β r with the sufficient statistics is 0, and r is
    linear in these. A q that nothing holds sharpens without end, and never comes to rest: β is then an upper bound.

    Raises:
        NotDefinedError: a q that is a point for every observation.
    """
    if not subject.pair.discrete:
        raise DoesNotApplyError("no latent is discrete.")
    top, bottom = [], []
    with subject.opened(subject.train, "balance of draws") as opened:
        for batch in opened.batches(DRAWS):
            draws = list(batch.draws())
            if set(draws[0].latents) != set(subject.pair.discrete):
                raise DoesNotApplyError("some latents are continuous, and their KL has a weight of its own.")
            likelihood = torch.cat([draw.log_likelihood for draw in draws]).double()
            ratio = torch.cat([draw.log_guide - draw.log_prior for draw in draws]).double()
            ratio = ratio - ratio.mean(0)
            top.append((likelihood * ratio).mean(0))
            bottom.append(ratio.square().mean(0))
    if not bool((torch.cat(bottom) > 0).any()):
        raise NotDefinedError("q(z|x) puts all of its mass on one value of z for every observation.")
    return {"kl_weight_of_draws": ratio_of_sums(torch.cat(top), torch.cat(bottom))}
