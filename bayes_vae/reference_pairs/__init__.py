"""Small frozen pairs on which log p(x) is known to 1e-8 nats, for judging estimators of it.

Each is a model, a guide and a few observations, and hard in one way that :attr:`ReferencePair.about` names. How
log p(x) was found stands with it: a closed form, a sum over every value, or quadrature. Observations and values are
stored as JSON; ``python benchmarks/reference/values.py`` finds them again.

>>> pair = reference_pair("bimodal")
>>> pair.about, tuple(pair.log_evidence.shape)
('two modes, guide over both', (10,))
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import torch

from bayes_vae.errors import SettingsError
from bayes_vae.reference_pairs import linear, shapes, supports
from bayes_vae.reference_pairs.pair import Parts, ReferencePair
from bayes_vae.reference_pairs.programs import FunctionGuide, FunctionModel, NormalGuide

__all__ = ["NAMES", "FunctionGuide", "FunctionModel", "NormalGuide", "ReferencePair", "parts_of", "reference_pair"]

BUILDERS = {**shapes.PAIRS, **supports.PAIRS, **linear.PAIRS}

NAMES = tuple(BUILDERS)
"""The names of all pairs."""

VALUES = "values.json"


def reference_pair(name: str) -> ReferencePair:
    """One of the pairs.

    Args:
        name: one of ``NAMES``.

    Returns:
        :class:`ReferencePair`; its modules are new at each call.

    Raises:
        SettingsError: an unknown name.
    """
    parts, frozen = parts_of(name), stored()[name]
    x = tuple(_as_tensor(values, parts.dtype) for values in frozen["x"])
    return ReferencePair(
        name,
        parts.about,
        parts.model,
        parts.guide,
        x[0] if len(x) == 1 else x,
        torch.tensor(frozen["log_evidence"], dtype=torch.float64),
        parts.truth,
        parts.exact,
        parts.dimensions,
    )


def parts_of(name: str) -> Parts:
    """A pair without its observations.

    Raises:
        SettingsError: an unknown name.
    """
    if name not in BUILDERS:
        raise SettingsError(f"no reference pair is called {name!r}: choose from {', '.join(NAMES)}.")
    return BUILDERS[name]()


def _as_tensor(values: list[Any], dtype: torch.dtype) -> torch.Tensor:
    """Numbers in the pair's dtype; true and false stay what they are."""
    found = torch.tensor(values)
    return found if found.dtype == torch.bool else torch.tensor(values, dtype=dtype)


@cache
def stored() -> dict[str, Any]:
    """The frozen numbers: name → "x", one list for each argument of the programs, and "log_evidence"."""
    found: dict[str, Any] = json.loads(resources.files(__name__).joinpath(VALUES).read_text(encoding="utf-8"))
    return found
