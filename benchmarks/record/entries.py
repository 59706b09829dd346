"""What is recorded of a result: numbers under names, exact to the last bit; of a refusal the class alone."""

from __future__ import annotations

import hashlib
import math
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


def difference(old: Entry, new: Entry, rounding: float | None = None) -> str:
    """How two entries differ, in words; empty where they are equal bit for bit, or within ``rounding``.

    Args:
        old, new: entries of the same key.
        rounding: what may lie between two numbers, relative to the larger of them or what is usual in their tensor;
            None for nothing.
    """
    if _text(old) == _text(new):
        return ""
    if any(old.get(part) != new.get(part) for part in ("dtype", "shape", "refused")):
        return f"{_kind(old)} became {_kind(new)}"
    size = max(1, math.prod(old.get("shape", [])))
    typical = old["norm"] / math.sqrt(size) if "norm" in old else max(map(_size, old["values"]), default=0.0)
    rows = [(a, b, typical) for a, b in zip(old["values"], new["values"], strict=True)]
    if "sum" in old:
        rows += [(old["sum"], new["sum"], typical * size), (old["norm"], new["norm"], old["norm"])]
    absolute = max(_apart(a, b) for a, b, _ in rows)
    relative = max(_apart(a, b) / (max(_size(a), _size(b), scale) or 1.0) for a, b, scale in rows)
    if rounding is not None and relative <= rounding:
        return ""
    return f"differs by {absolute:.3g}, relatively {relative:.3g}" if absolute else "differs in numbers not shown"


def _apart(one: float, other: float) -> float:
    """How far apart two numbers are; NaN lies on NaN, and infinitely far from the rest."""
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    apart = abs(float(one) - float(other))
    return math.inf if math.isnan(apart) else apart


def _size(number: float) -> float:
    """Its absolute value where it is finite, else 0."""
    return abs(float(number)) if math.isfinite(number) else 0.0


def _text(item: Entry) -> str:
    """Equal for equal entries, NaN and signed zeros included."""
    return repr(sorted(item.items()))


def _kind(item: Entry) -> str:
    return item["refused"] if "refused" in item else f"{item['dtype']} {item['shape']}"


def state(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name, apart from the modules that hold them."""
    return {key: value.detach().clone() for key, value in values.items() if isinstance(value, torch.Tensor)}
