"""Seeds, counts and indices of any integer type, made Python's own at the door."""

from __future__ import annotations

import operator
import reprlib
from typing import SupportsIndex, overload

from bayes_vae.errors import SettingsError
from bayes_vae.setting_types import LARGEST, SEEDS

__all__ = ["seed_number", "whole_number"]


@overload
def whole_number(name: str, value: SupportsIndex, least: int | None = 1) -> int: ...
@overload
def whole_number(name: str, value: None, least: int | None = 1) -> None: ...
def whole_number(name: str, value: SupportsIndex | None, least: int | None = 1) -> int | None:
    """A whole number as Python's ``int``, whatever integer type it came in; None stays None.

    Args:
        name: of the argument, for the message.
        value: an int, or a numpy or torch integer.
        least: the smallest that is allowed; the largest is then 10⁹. None allows any.

    Raises:
        SettingsError: not a whole number, too small, or larger than any computer could mean.

    >>> whole_number("num_particles", 5)
    5
    """
    if value is None:
        return None
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
