"""Whether an activation confines what the encoder returns: values at an end of their range, and units that are dead."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.terms.factorized import variational_normal

__all__ = ["measure_heads"]

SAME = 1e-6
"""Values this close, relative to their size, are one value."""

NEAR_ONE = 0.9
"""Size of a mean that is close to the ends of a tanh."""


def measure_heads(subject: Subject) -> dict[str, Measurement]:
    """Ends of q's means and log variances as the guide gives them, and how many values lie exactly there.

    A linear head has no end: its smallest value is taken once. A ReLU, a clamp or a floor puts many values on one
    number; a tanh or a sigmoid keeps all of them within 1.
    """
    loc, scale = (part.double() for part in variational_normal(subject.factorized.bind(*subject.train)))
    log_variance = 2 * scale.log()
    found = {}
    for name, values in (("mean", loc), ("log_variance", log_variance)):
        for end, value in (("smallest", values.min()), ("largest", values.max())):
            found[f"{end}_{name}"] = Measurement.of(value)
            found[f"share_at_{end}_{name}"] = Measurement.of(_at(values, value))
    constant = loc.std(0) < SAME * loc.abs().max().clamp(min=SAME)
    return found | {
        "constant_means": Measurement.of(constant.sum()),
        "largest_size_of_mean": Measurement.of(loc.abs().max()),
        "share_of_unit_deviations": Measurement.of(((scale == 1) & ~constant).double().mean()),
        "share_of_means_near_one": Measurement.of((loc.abs() > NEAR_ONE).double().mean()),
    }


def _at(values: Tensor, value: Tensor) -> Tensor:
    """Share of the values of those dimensions that vary which are one value."""
    varying = values[:, values.std(0) > SAME * value.abs().clamp(min=SAME)]
    if varying.numel() == 0:
        return torch.zeros(())
    return ((varying - value).abs() <= SAME * value.abs().clamp(min=1.0)).double().mean()
