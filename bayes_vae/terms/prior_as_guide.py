"""The prior in the guide's place: what is believed of z before x is seen."""

from __future__ import annotations

from typing import Any, cast

import pyro.poutine as poutine
from torch import Tensor

from bayes_vae.terms.traits import Program, traits_of

__all__ = ["prior_as_guide"]


def prior_as_guide(model: Any, source: str) -> Program:
    """A guide that samples the model's latents from the prior and does not look at x."""
    if source != "traces" and traits_of(model).exposes_distributions:
        return cast(Program, _PriorGuide(model))
    hidden: Program = poutine.block(model, hide_fn=lambda site: site["type"] == "sample" and site["is_observed"])
    return hidden


class _PriorGuide:
    """The prior as the guide of a model that exposes its distributions."""

    exposes_distributions = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def variational_posterior(self, x: Tensor) -> Any:
        return self.model.prior().expand((len(x),))
