"""Records as files, and what differs between two: bit for bit, or beyond the rounding of another machine."""

from __future__ import annotations

import json
import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
Record = dict[str, Entry]

ROUNDING = {"float64": 1e-6, "float32": 1e-4}
"""How far numbers of two machines may lie apart, relatively, by the precision that they are computed in."""

IN_FLOAT32 = ("float32/*", "*/fit *", "*/diagnose*", "commands/*")
"""Keys of what is computed in float32."""


PLAIN = {float: "float64", int: "int64", bool: "bool"}
"""Numbers and flat lists of these types stand in a file as they are; all else as dtype, shape and values."""


def write(path: Path, head: dict[str, Any], figures: Record) -> None:
    """Write a record, one figure a line."""
    first = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines = [
        f"{json.dumps(key)}: {json.dumps(_packed(entry), separators=(',', ':'))}" for key, entry in figures.items()
    ]
    body = ",\n".join(sorted(lines))
    path.write_text("{\n" + ",\n".join([*first, f'"figures": {{\n{body}\n}}']) + "\n}\n", encoding="utf-8")


def load(path: Path) -> dict[str, Any]:
    """Read a record."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    figures = {key: _unpacked(entry) for key, entry in content["figures"].items()}
    return {**content, "figures": figures}


def _packed(entry: Entry) -> Any:
    flat = entry.get("values", []) if len(entry.get("shape", ())) < 2 and "sum" not in entry else []
    kinds = {PLAIN.get(type(value)) for value in flat}
    if kinds != {entry.get("dtype")}:
        return entry
    return flat if entry["shape"] else flat[0]


def _unpacked(entry: Any) -> Entry:
    if isinstance(entry, dict):
        return entry
    flat = entry if isinstance(entry, list) else [entry]
    shape = [len(entry)] if isinstance(entry, list) else []
    return {"dtype": PLAIN[type(flat[0])], "shape": shape, "values": flat}


def changes(before: dict[str, Any], after: Record, rounding: bool) -> list[str]:
    """A line for each figure that changed, is lost or is new."""
    old: Record = before["figures"]
    lines = [f"lost     {key}" for key in old if key not in after]
    lines += [f"new      {key}" for key in after if key not in old]
    for key in sorted(old.keys() & after.keys()):
        narrow = any(fnmatchcase(key, pattern) for pattern in IN_FLOAT32)
        found = difference(old[key], after[key], ROUNDING["float32" if narrow else "float64"] if rounding else None)
        if found:
            lines.append(f"changed  {key}: {found}")
    return lines


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
    typical = _size(old["norm"]) / math.sqrt(size) if "norm" in old else max(map(_size, old["values"]), default=0.0)
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
