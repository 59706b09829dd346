"""Seeds, counts, numbers and switches of any type, made Python's own at the door, and what is none refused."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, SupportsFloat, SupportsIndex

from bayes_vae.errors import SettingsError
from bayes_vae.settings.setting_types import LARGEST, SEEDS

__all__ = ["real_number", "seed_number", "several", "shape_numbers", "switch", "whole_number", "whole_number_or_none"]


def whole_number_or_none(name: str, value: SupportsIndex | None, least: int | None = 1) -> int | None:
    """:func:`whole_number` of what may be left out; None stays None."""
    return None if value is None else whole_number(name, value, least)


def whole_number(name: str, value: SupportsIndex, least: int | None = 1) -> int:
    """A whole number as Python's ``int``, whatever integer type it came in.

    Args:
        name: of the argument, for the message.
        value: an int, or a numpy or torch integer.
        least: the smallest that is allowed; the largest is then 10⁹. None allows any.

    Raises:
        SettingsError: not a whole number, too small, or larger than any computer could mean.

    >>> whole_number("num_particles", 5)
    5
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (RuntimeError, TypeError, ValueError):  # not one, or a tensor that holds no single number
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" of at least {least}"
        raise SettingsError(f"{name} must be a whole number{bound}, got {value!r}.")
    if least is not None and number > LARGEST:
        raise SettingsError(f"{name} must be at most {LARGEST:,}, got {reprlib.repr(number)}.")
    return number


def seed_number(name: str, value: SupportsIndex) -> int:
    """A seed as Python's ``int``: the same number in any integer type is the same seed.

    Raises:
        SettingsError: not a whole number from −2⁶³ to 2⁶³ − 1.

    >>> seed_number("seed", 7)
    7
    """
    try:
        seed = whole_number(name, value, least=None)
    except SettingsError:
        seed = None
    if seed is None or not SEEDS[0] <= seed <= SEEDS[1]:
        raise SettingsError(f"{name} must be a whole number from -2**63 to 2**63 - 1, got {reprlib.repr(value)}.")
    return seed


def real_number(name: str, value: SupportsFloat, wanted: str, *, below: float = math.inf) -> float:
    """A number above 0 as Python's ``float``, whatever type it came in.

    Args:
        name: of the argument, for the message.
        value: a number.
        wanted: what it must be, for the message.
        below: what it must be below; infinity is allowed where nothing is said.

    Raises:
        SettingsError: no number, NaN, or one outside these bounds.

    >>> real_number("tolerance", 0.5, "positive, in nats")
    0.5
    """
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except OverflowError:  # a whole number that is larger than any float
        number = math.inf
    except (RuntimeError, TypeError, ValueError):
        number = math.nan
    if not (0 < number < below or number == below == math.inf):
        raise SettingsError(f"{name} must be {wanted}, got {reprlib.repr(value)}.")
    return number


def several(name: str, values: Iterable[Any], wanted: str) -> tuple[Any, ...]:
    """Values as a tuple.

    Args:
        name: of the argument, for the message.
        values: a list, a tuple, an array.
        wanted: what they must be, for the message.

    Raises:
        SettingsError: a text, a mapping, or a single value.
    """
    try:
        found = None if isinstance(values, str | bytes | Mapping) else tuple(values)
    except TypeError:
        found = None
    if found is None:
        raise SettingsError(f"{name} must be {wanted}, got {reprlib.repr(values)}.")
    return found


def shape_numbers(name: str, values: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """A shape as Python's numbers.

    Raises:
        SettingsError: not a list of whole numbers of at least 1.

    >>> shape_numbers("data_shape", [28, 28])
    (28, 28)
    """
    found = several(name, values, "whole numbers, such as (28, 28)")
    return tuple(whole_number(f"each of {name}", one) for one in found)


def switch(name: str, value: Any) -> bool:
    """True or False as Python's ``bool``: "no" would count as yes.

    Raises:
        SettingsError: anything else.
    """
    if type(value).__name__ not in ("bool", "bool_"):  # Python's and numpy's
        raise SettingsError(f"{name} must be True or False, got {reprlib.repr(value)}.")
    return bool(value)
