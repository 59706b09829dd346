"""What rules out every other check: weights that are not finite, data that the likelihood has no density for."""

from __future__ import annotations

from typing import Any

import torch

from bayes_vae.diagnosis.findings import Evidence, Finding
from bayes_vae.diagnosis.judging import Condition, conclude
from bayes_vae.diagnosis.subject import Subject
from bayes_vae.distributions import check_support
from bayes_vae.errors import NumericalError, SupportError
from bayes_vae.estimators.elbo import elbo_terms
from bayes_vae.terms.exposed import exposes_distributions

__all__ = ["look_at_data", "look_at_support", "look_at_weights"]

PROBED = 100


def look_at_support(subject: Subject) -> Finding | None:
    """Observations outside the support of a likelihood that is exposed, whatever the weights have become."""
    if not exposes_distributions(subject.model, subject.guide):
        return None
    model: Any = subject.model
    x = subject.train.x[0]
    likelihood = model.likelihood(model.prior().sample((1,)))
    try:
        check_support("x", likelihood, x.unsqueeze(0))
    except SupportError as error:
        return _outside(x, str(error))
    return None


def look_at_weights(subject: Subject) -> Finding | None:
    """Parameters that are NaN or infinite."""
    bad = [name for name, weight in subject.weights.items() if not bool(torch.isfinite(weight).all())]
    if not bad:
        return None
    count = Evidence("parameters_that_are_not_finite", len(bad), threshold=0.0)
    return conclude("not-finite", f"Parameters hold NaN or infinity: {', '.join(bad)}.", [Condition(count, 1.0)])


def look_at_data(subject: Subject) -> Finding | None:
    """Observations that the likelihood has no density for, or terms that are not finite."""
    x, index = subject.train.first(PROBED)
    try:
        elbo_terms(subject.model, subject.guide, x, 2, seed=subject.seed, index=index)
    except SupportError as error:
        return _outside(x[0], str(error))
    except NumericalError as error:
        nothing = Evidence("terms_that_are_not_finite", 1.0, threshold=0.0)
        return conclude("not-finite", str(error), [Condition(nothing, 1.0)])
    return None


def _outside(x: torch.Tensor, message: str) -> Finding | None:
    low, high = float(x.min()), float(x.max())
    between = float(((x > 0) & (x < 1)).double().mean())
    shown = [Evidence("smallest_value", low), Evidence("largest_value", high)]
    if low >= 0 and high <= 1:
        share = Condition(Evidence("share_of_gray_values", between, threshold=0.0), 1.0)
        words = f"{between:.0%} of the values lie between 0 and 1, and the likelihood is one of zeros and ones."
        return conclude("gray-data", words, [share], shown)
    beyond = Condition(Evidence("largest_value", high), 1.0)
    return conclude("data-range", f"{message.split('. ')[0]}.", [beyond], shown)
