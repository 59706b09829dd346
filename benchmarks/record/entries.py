"""What is recorded of a result: numbers under names, exact to the last bit; of a refusal the class alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import BayesVaeError

WHOLE = 16
"""Tensors of at most this many numbers are recorded whole; of larger ones a digest, a few numbers and two sums."""

SHOWN = 6

AVERAGE = ("value", "monte_carlo_error", "data_error", "total_error", "num_particles", "num_observations")

Entry = dict[str, Any]
Record = dict[str, Entry]


def entry(values: Any) -> Entry:
    """A tensor, array or number as JSON types: dtype, shape and the numbers, which JSON keeps exactly."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    head: Entry = {"dtype": str(array.dtype), "shape": list(array.shape)}
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size <= WHOLE:
        return {**head, "values": flat.tolist()}
    shown = flat[np.linspace(0, flat.size - 1, SHOWN).astype(int)].tolist()
    wide = flat.astype(np.float64)
    sums = {"sum": float(wide.sum()), "norm": float(np.sqrt(np.square(wide).sum()))}
    return {**head, "values": shown, **sums, "sha256": hashlib.sha256(flat.tobytes()).hexdigest()}


def refusal(error: Exception) -> Entry:
    """The class of an exception."""
    return {"refused": type(error).__name__}


def entries(name: str, value: Any) -> Iterator[tuple[str, Entry]]:
    """All numbers in a value, under ``name`` and what lies below it; text and None hold none."""
    if isinstance(value, Tensor | np.ndarray | bool | int | float):
        yield name, entry(value)
    elif hasattr(value, "monte_carlo_error"):
        for field in AVERAGE:
            yield f"{name}.{field}", entry(getattr(value, field))
    elif isinstance(value, Mapping):
        for key in value:
            yield from entries(f"{name}.{key}", value[key])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(part, bool | int | float) for part in value):
            yield name, entry(np.asarray(value))
        else:
            for place, part in enumerate(value):
                yield from entries(f"{name}.{place}", part)


def read(name: str, result: Any, fields: Sequence[str]) -> Iterator[tuple[str, Entry]]:
    """The named attributes of a result, called where they are methods; a dotted name goes through a part."""
    for field in fields:
        try:
            value = result
            for part in field.split("."):
                value = getattr(value, part, None)
            yield from entries(f"{name}/{field}", value() if callable(value) else value)
        except BayesVaeError as error:
            yield f"{name}/{field}", refusal(error)


def state(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name, apart from the modules that hold them."""
    return {key: value.detach().clone() for key, value in values.items() if isinstance(value, torch.Tensor)}
