"""What the best q of the family gains over the encoder's, on training and on test rows."""

from __future__ import annotations

import torch

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.estimators.best_normal import Plan, best_normal, log_weights
from bayes_vae.terms.factorized import variational_normal
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["measure_amortization"]

ROWS, DRAWS, MAX_STEPS, TOLERANCE = 32, 64, 150, 0.05


def measure_amortization(subject: Subject) -> dict[str, Measurement]:
    """The amortization gap, and how much larger it is on test rows: the encoder's part of the generalization gap."""
    train, test = subject.train.first(ROWS), subject.test.first(ROWS)
    index = torch.cat([train.index, test.index])
    bound = subject.factorized.bind(tuple(map(torch.cat, zip(train.x, test.x, strict=True))), index)
    noise = KeyedNoise(derived_seed(subject.seed, "inference"))
    best = best_normal(bound, noise, Plan(TOLERANCE, MAX_STEPS))
    loc, scale = variational_normal(bound)
    fresh = noise.normal("scored", index, range(DRAWS), loc.shape[1:], loc)
    gain = (log_weights(bound, best.loc, best.scale, fresh) - log_weights(bound, loc, scale, fresh)).mean(0)
    first, second = (Measurement.mean(part) for part in gain.split([len(train.index), len(test.index)]))
    return {
        "train_amortization_gap": first,
        "test_amortization_gap": second,
        "encoder_generalization_gap": second - first,
    }
