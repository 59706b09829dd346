"""What a setting can be chosen from, as types; the names of parts come from ``bayes_vae.parts``."""

from __future__ import annotations

from typing import Any, Literal, get_args

from bayes_vae.parts.part import PartKind
from bayes_vae.parts.registry import names

Policy = Literal["stochastic", "static", "threshold", "none"]
Kind = Literal["auto", "binary", "gray", "counts", "real"]
Colour = Literal["gray", "rgb"]

Schedule = Literal["cosine", "constant", "steps", "burda"]

Precision = Literal["32", "bf16-mixed", "64"]

Structure = Literal["vae", "two-layer", "conditional", "semi-supervised"]
LikelihoodName = Literal[
    "bernoulli",
    "continuous-bernoulli",
    "normal",
    "discretized-logistic",
    "categorical",
    "negative-binomial",
    "laplace",
    "poisson",
    "zero-inflated-negative-binomial",
    "columns",
]
NoiseScale = Literal["fixed", "shared", "per-pixel"]
PriorName = Literal["standard-normal", "learned-normal", "mixture", "vamp", "flow"]
GuideName = Literal[
    "normal", "full-covariance", "low-rank", "autoregressive-flow", "spline-flow", "local", "semi-amortized", "prior"
]
Network = Literal["mlp", "conv"]
Objective = Literal["elbo", "importance-weighted", "doubly-reparameterized", "sticking-the-landing"]
KlChoice = Literal["auto", "analytic", "sampled"]
SampleKind = Literal["prior", "reconstructions", "interpolations"]
RowsChoice = Literal["test", "train", "validation", "all"]

PARTS: dict[Any, PartKind] = {
    Structure: "structure",
    Network: "network",
    LikelihoodName: "likelihood",
    PriorName: "prior",
    GuideName: "guide",
    Objective: "objective",
}
"""Type of a setting → the kind of part that it chooses; a test compares the names of both."""


def choices_of(hint: Any) -> tuple[str, ...]:
    """What a setting of this type can be: the names in the table of parts, else those of its ``Literal``.

    >>> choices_of(Network), choices_of(Colour)
    (('mlp', 'conv'), ('gray', 'rgb'))
    """
    return names(PARTS[hint]) if hint in PARTS else get_args(hint)
