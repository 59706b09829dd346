"""Observations whose likelihood counts β times."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bayes_vae.terms.containers import JointTerms
from bayes_vae.terms.stream import BoundBatch

__all__ = ["Tempered"]


class Tempered:
    """A batch with p(z) p(x given z)^β in the place of p(x, z); all else is that of the batch.

    Args:
        bound: the batch.
        beta: β.
    """

    def __init__(self, bound: BoundBatch, beta: float) -> None:
        self._bound, self._beta = bound, beta

    def log_joint(self, latents: dict[str, Tensor]) -> JointTerms:
        """The prior's log density, and β times the likelihood's."""
        terms = self._bound.log_joint(latents)
        return JointTerms(terms.log_prior, self._beta * terms.log_likelihood)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bound, name)
