"""Where the parameters of a number lie in what a decoder returns: said, or seen from the sizes, never guessed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from torch import Tensor

from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.networks.foreign import shape_text

__all__ = ["check_parameter_axis", "parameters_first"]


def check_parameter_axis(axis: int | None, count: int, shape: Sequence[int], likelihood: str) -> int | None:
    """Where the parameters lie among the axes of an observation, 0 for before all of them; None where nobody said.

    Args:
        axis: of what the decoder returns, whose axis 0 are the rows; negative from the end.
        count: parameters of each number.
        shape: of one observation.
        likelihood: its name, for the message.

    Raises:
        SettingsError: no such axis, or a likelihood of one parameter.
    """
    if axis is None:
        return None
    most = len(shape) + 1
    if count == 1:
        raise SettingsError(
            f"parameter_axis={axis} was said, but the likelihood {likelihood!r} has one parameter for each number: "
            "leave parameter_axis out."
        )
    if not isinstance(axis, int) or axis == 0 or not -most <= axis <= most:
        raise SettingsError(
            f"parameter_axis must be one of the axes 1…{most} of the decoder's output, whose axis 0 are the rows, or "
            f"negative from the end, got {axis!r}."
        )
    return axis - 1 if axis > 0 else most + axis


def parameters_first(output: Tensor, num_rows: int, count: int, shape: Sequence[int], place: int | None) -> Tensor:
    """What a decoder returned, shape (num_rows, count, *shape).

    Args:
        output: shape (num_rows, *sizes), where neighbouring axes may be one, and axes of size 1 be there or not.
        num_rows: how many rows the decoder was given.
        count: parameters of each number, more than one.
        shape: of one observation.
        place: of the parameters among the axes of an observation, as :func:`check_parameter_axis` gives it.

    Raises:
        ShapeError: other sizes, or sizes that can be read in two ways where nobody said which.
    """
    fitting = [at for at in _orders(shape) if _fits(output.shape[1:], _with(count, shape, at))]
    if place is not None:
        alike = next((at for at in reversed(_orders(shape)) if at <= place), 0)
        fitting = [alike] if alike in fitting else []
    if len(output) != num_rows or not fitting:
        asked = [shape_text(_with(count, shape, at)) for at in (_orders(shape) if place is None else [place])]
        raise ShapeError(
            f"{count} parameters for each number of an observation of shape {tuple(shape)} ask for a decoder's output "
            f"of shape {' or '.join(asked)}, or flattened, but it returned a tensor of shape {tuple(output.shape)} for "
            f"{num_rows} rows. Pass a small module that returns that alone."
        )
    if len(fitting) > 1:
        readings = [f"{shape_text(_with(count, shape, at))} (parameter_axis={at + 1})" for at in fitting]
        raise ShapeError(
            f"the decoder's output of shape {shape_text(output.shape[1:])} holds {count} parameters for each number, "
            f"and may be {' or '.join(readings)}: say which by parameter_axis, the axis of the parameters."
        )
    return output.reshape(num_rows, *_with(count, shape, fitting[0])).movedim(fitting[0] + 1, 1)


def _orders(shape: Sequence[int]) -> list[int]:
    """The places of the parameters that give different orders of the numbers: an axis of size 1 makes no difference."""
    return [0, *(at + 1 for at, size in enumerate(shape) if size != 1)]


def _with(count: int, shape: Sequence[int], place: int) -> tuple[int, ...]:
    """The shape of an observation with an axis of parameters in it."""
    return (*shape[:place], count, *shape[place:])


def _fits(sizes: Sequence[int], full: Sequence[int]) -> bool:
    """Whether sizes are those of ``full`` with some neighbouring axes made one, axes of size 1 aside.

    >>> _fits((6, 32, 32), (2, 3, 32, 32)), _fits((5, 20), (20, 5)), _fits((100,), (20, 5))
    (True, False, True)
    """
    products, all_products = (set(accumulate(filter(lambda size: size != 1, of), mul)) for of in (sizes, full))
    return math.prod(sizes) == math.prod(full) and products <= all_products
