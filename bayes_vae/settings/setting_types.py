"""What a setting of each type can be: numbers of any type become Python's own, and what is none is refused by name."""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Callable, Iterable
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from bayes_vae.errors import SettingsError

__all__ = ["LARGEST", "LARGEST_REAL", "SEEDS", "at_least", "check_types", "one_of"]

SEEDS = (-(2**63), 2**63 - 1)
"""The least and the largest seed: what fits 64 bits, as torch, JSON and netCDF have it."""

LARGEST = 10**9
"""The largest whole number that another setting takes; what fits the memory is found out where it is known."""

LARGEST_REAL = 3e38
"""The largest number with a fraction, which float32 can hold."""

SEVERAL = {
    int: "several whole numbers, such as (200, 200)",
    float: "several numbers, such as (0.8, 0.1, 0.1)",
    str: "several names, such as ('kl_weight', 'gap')",
}
"""What a tuple of each type must be."""

_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def check_types(settings: Any) -> None:
    """Make each number Python's own, whatever type it came in, and refuse what is none or cannot be meant.

    Raises:
        SettingsError: names the setting.
    """
    for name, hint in _hints(type(settings)).items():
        value = getattr(settings, name)
        kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType] if _is_union(hint) else [hint]
        if value is None and _is_union(hint):
            continue
        object.__setattr__(settings, name, _typed(name, value, kinds[0]))


def _is_union(hint: Any) -> bool:
    return NoneType in get_args(hint)


def _typed(name: str, value: Any, hint: Any) -> Any:
    """One setting as its type has it."""
    if get_origin(hint) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise SettingsError(f"{name} must be {SEVERAL[get_args(hint)[0]]}, got {reprlib.repr(value)}.")
        return tuple(_typed(f"each of {name}", one, get_args(hint)[0]) for one in value)
    if hint in _READERS:
        return _READERS[hint](name, value)
    return _text(name, value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{name} must be true or false, got {reprlib.repr(value)}.")
    return value


def _whole(name: str, value: Any) -> int:
    try:
        whole = None if isinstance(value, bool) else operator.index(value)
    except (RuntimeError, TypeError, ValueError):
        whole = None
    if whole is None:
        raise SettingsError(f"{name} must be a whole number, got {reprlib.repr(value)}.")
    return _within(name, whole)


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        number = math.nan
    if not abs(number) <= LARGEST_REAL:
        raise SettingsError(f"{name} must be a finite number, got {reprlib.repr(value)}.")
    return number


def _text(name: str, value: Any) -> str:
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be text, got {reprlib.repr(value)}.")
    if not value.strip() or "\0" in value:
        raise SettingsError(f"{name} must not be empty or contain a NUL, got {reprlib.repr(value)}.")
    return value


_READERS: dict[Any, Callable[[str, Any], Any]] = {bool: _truth, int: _whole, float: _number}


def _within(name: str, value: int) -> int:
    """Refuse a whole number that no computer could mean, before any work is done for it."""
    if name == "seed" and not SEEDS[0] <= value <= SEEDS[1]:
        raise SettingsError(f"{name} must be a whole number from -2**63 to 2**63 - 1, got {reprlib.repr(value)}.")
    if name != "seed" and value > LARGEST:
        raise SettingsError(f"{name} must be at most {LARGEST:,}, got {reprlib.repr(value)}.")
    return value


def at_least(name: str, value: float, bound: float) -> None:
    """Refuse a number below the bound."""
    if not value >= bound:
        raise SettingsError(f"{name} must be at least {bound}, got {value}.")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a name that is not among the choices."""
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
