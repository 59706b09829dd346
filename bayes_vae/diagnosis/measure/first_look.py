"""What is looked at before anything is measured: data without a density, parameters and terms that are not finite."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.distributions import check_support, missing_in, observed_part
from bayes_vae.errors import (
    LikelihoodSeesDataError,
    NumericalError,
    SupportError,
    UncheckedLikelihoodWarning,
    UnrepeatableError,
)
from bayes_vae.estimators.elbo import ElboAtDraws
from bayes_vae.terms.exposed import exposes_distributions
from bayes_vae.terms.opened import collect

__all__ = ["look_first"]

PROBED = 100


def look_first(subject: Subject) -> dict[str, Measurement]:
    """Numbers of the first problem that makes every other number meaningless; nothing for a usable pair.

    The support of an exposed likelihood comes first, whatever the weights have become: data outside it may have driven
    them to NaN. What the numbers do not say stands in the subject's notes.
    """
    x = subject.train.x[0]
    try:
        _check_exposed_support(subject, x)
        broken = [name for name, weight in subject.weights.items() if not bool(torch.isfinite(weight).all())]
        if broken:
            return _noted(subject, "parameters_that_are_not_finite", len(broken), ", ".join(broken))
        rows = subject.train.first(PROBED)
        x = rows.x[0]
        with _noting_unchecked(subject), subject.opened(rows) as opened:
            collect(opened, 2, ElboAtDraws("auto"))
        subject.refuse_what_changes_by_itself(rows)
    except SupportError as error:
        x = x[~x.isnan()]
        found = {"smallest_value": Measurement.of(x.min())}
        if error.of_bernoulli:
            found["share_of_gray_values"] = Measurement.of(((x > 0) & (x < 1)).double().mean())
        return found | _noted(subject, "largest_value", float(x.max()), error.found)
    except LikelihoodSeesDataError as error:
        looked_at = Measurement.of(error.looked_at)
        return {"numbers_that_see_themselves": Measurement.of(error.circular), "numbers_looked_at": looked_at}
    except UnrepeatableError as error:
        return _noted(subject, "terms_that_change", len(error.terms), f"{', '.join(error.terms)} change")
    except NumericalError as error:
        return _noted(subject, "terms_that_are_not_finite", 1.0, str(error))
    return {}


@contextmanager
def _noting_unchecked(subject: Subject) -> Iterator[None]:
    """Keep the warning that the likelihood could not be looked at, for the list of what was not checked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        if issubclass(each.category, UncheckedLikelihoodWarning):
            subject.notes["numbers_that_see_themselves"] = str(each.message)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _check_exposed_support(subject: Subject, x: Tensor) -> None:
    """Look at the support of the likelihood at one z, where the pair exposes its distributions."""
    if exposes_distributions(subject.model, subject.guide):
        model: Any = subject.model
        check_support("x", *observed_part(model.likelihood(model.prior().sample((1,))), x, missing_in(x)))


def _noted(subject: Subject, name: str, value: float, words: str) -> dict[str, Measurement]:
    subject.notes[name] = words
    return {name: Measurement.of(value)}
