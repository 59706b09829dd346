"""log p(x) by quadrature, where z has one or two dimensions and the model does not know log p(x) itself."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

from bayes_vae.errors import NotDefinedError, NumericalError
from bayes_vae.estimators.quadrature import QuadratureEstimate, integrate
from bayes_vae.estimators.rungs.climb import Climb
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.terms.opened import OpenPair

__all__ = ["quadrature_of", "quadrature_rung"]

GRID: dict[str, Any] = {"method": "grid", "tolerance": 1e-3, "max_nodes": 2**14}
"""A grid does not need to trust the guide; this one ends at a thousandth of a nat."""

MOST_DIMENSIONS = 2
"""Latent dimensions up to which there is this rung; more cost too many nodes for each observation."""


def quadrature_of(opened: OpenPair, num_dimensions: int) -> QuadratureEstimate | None:
    """log p(x) on that grid; None where z has more dimensions, or a discrete one.

    Raises:
        NotDefinedError, NumericalError: the joint density cannot be integrated.
    """
    if num_dimensions > MOST_DIMENSIONS or opened.pair.discrete:
        return None
    return integrate(opened, **GRID)


def quadrature_rung(climb: Climb) -> list[Rung]:
    """A grid over what the prior and the guide cover, refined until two levels agree.

    The ladder says why there is none where the joint density cannot be integrated on a grid: a support that has no
    coordinates, or a likelihood that overflows somewhere on it.
    """
    if climb.opened.traits.log_evidence is not None:
        return []
    start, found, why_not = time.perf_counter(), None, ""
    try:
        found = quadrature_of(climb.opened, climb.num_dimensions)
    except (NotDefinedError, NumericalError) as error:
        why_not = f"no quadrature: {error}"
    why_not = next(filter(None, climb.opened.said(why_not)), "")  # the first of several processes
    if why_not:
        climb.left_out["quadrature"] = why_not
    if found is None or why_not:
        return []
    most = max(map(int, climb.opened.said(str(found.num_dimensions))))
    found = climb.opened.whole(replace(found, num_dimensions=most))
    return [
        Rung(
            "quadrature",
            0,
            found.log_evidence,
            torch.zeros_like(found.log_evidence),
            found.reading,
            time.perf_counter() - start,
            float(found.refinement_error.mean()),
            f"quadrature on a grid, D = {found.num_dimensions}",
            leads=True,
            function="quadrature_log_evidence(…).log_evidence",
            result=found,
        )
    ]
