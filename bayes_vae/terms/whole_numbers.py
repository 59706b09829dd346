"""Seeds, counts and indices of any integer type, made Python's own at the door."""

from __future__ import annotations

import operator
from typing import SupportsIndex, overload

from bayes_vae.errors import SettingsError

__all__ = ["whole_number"]


@overload
def whole_number(name: str, value: SupportsIndex, least: int | None = 1) -> int: ...
@overload
def whole_number(name: str, value: None, least: int | None = 1) -> None: ...
def whole_number(name: str, value: SupportsIndex | None, least: int | None = 1) -> int | None:
    """A whole number as Python's ``int``, whatever integer type it came in; None stays None.

    Args:
        name: of the argument, for the message.
        value: an int, or a numpy or torch integer.
        least: the smallest that is allowed; None allows any.

    Raises:
        SettingsError: not a whole number, or too small.

    >>> whole_number("num_particles", 5)
    5
    """
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" of at least {least}"
        raise SettingsError(f"{name} must be a whole number{bound}, got {value!r}.")
    return number
