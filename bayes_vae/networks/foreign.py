"""A network written elsewhere, as a part of a model or a guide: it is called, and what it returns is described."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from bayes_vae.errors import SettingsError, ShapeError

__all__ = ["ForeignNetwork", "describe_output", "keeps_order", "method_named", "reshape_rows", "shape_text"]


class ForeignNetwork(nn.Module):
    """A torch module of the user's, or one of its methods: ``vae.encode`` keeps ``vae`` and the name ``encode``.

    Args:
        role: "encoder" or "decoder", for messages.
        network: a module, or a bound method of one.
        fields: which parts of what it returns are its output, in order: keys of a dict, attributes ("latent_dist.mean")
            or places in a tuple; the whole when empty.

    Raises:
        SettingsError: a function that belongs to no module, or a module without parameters.
    """

    def __init__(
        self, role: str, network: nn.Module | Callable[..., Any], fields: Sequence[str | int] | str = ()
    ) -> None:
        super().__init__()
        self._role, self._fields = role, (fields,) if isinstance(fields, str) else tuple(fields)
        owner = network if isinstance(network, nn.Module) else getattr(network, "__self__", None)
        if not isinstance(owner, nn.Module):
            raise SettingsError(
                f"the {role} must be a torch.nn.Module or a method of one, such as vae.encode, got "
                f"{type(network).__name__}: its parameters could be neither trained nor stored. Put it into the "
                "forward of a small module that holds the networks it uses."
            )
        if next(owner.parameters(), None) is None:
            raise SettingsError(
                f"the {role} {_name(owner)} has no parameters, so nothing says in which dtype and where it computes. "
                "Give it one; requires_grad=False will do."
            )
        self.network = owner
        self._method = "" if owner is network else str(getattr(network, "__name__", ""))

    @property
    def description(self) -> str:
        """Module and name of the class, and of the method."""
        return _name(self.network) + (f".{self._method}" if self._method else "")

    @property
    def like(self) -> Tensor:
        """A parameter, of the dtype and on the device that the network computes with."""
        return next(self.network.parameters())

    def forward(self, *batch: Tensor) -> Any:
        """Call the network on a batch of its dtype, laid out in one piece so that ``view`` works inside.

        Whole numbers beside the first, such as labels, stay whole numbers.
        """
        call = getattr(self.network, self._method) if self._method else self.network
        first, *others = batch
        numbers = (part if _is_whole(part) else part.to(self.like.dtype) for part in others)
        returned = call(first.to(self.like.dtype).contiguous(), *(part.contiguous() for part in numbers))
        if not self._fields:
            return returned
        parts = tuple(_field(self._role, returned, field) for field in self._fields)
        return parts if len(parts) > 1 else parts[0]


def method_named(role: str, owner: Any, name: str) -> Callable[..., Any]:
    """A method, or a part, of an object by name; dots lead to parts of parts.

    Raises:
        SettingsError: there is none; the message lists what there is.
    """
    found = owner
    for step in name.split("."):
        if not hasattr(found, step):
            known = sorted(
                each for each in dir(type(found)) if not each.startswith("_") and not hasattr(nn.Module, each)
            )
            parts = [each for each, _ in found.named_children()] if isinstance(found, nn.Module) else []
            raise SettingsError(
                f"{role}={name!r}: {type(found).__name__} has no {step!r}. Its own methods and parts are "
                f"{', '.join([*known, *parts]) or 'none'}."
            )
        found = getattr(found, step)
    return cast(Callable[..., Any], found)


def _is_whole(part: Tensor) -> bool:
    return not part.is_floating_point() and part.dtype != torch.bool


def _field(role: str, returned: Any, field: str | int) -> Any:
    """A part of what a network returned."""
    found = returned
    for step in str(field).split("."):
        try:
            if isinstance(found, Mapping):
                found = found[step]
            elif step.isdigit():
                found = found[int(step)]
            else:
                found = getattr(found, step)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            has = f" with {', '.join(map(str, found))}" if isinstance(found, Mapping) else ""
            raise ShapeError(
                f"{role}_fields names {field!r}, and the {role} returned a {type(found).__name__}{has}, which has no "
                f"{step!r}. Name keys, attributes or places of what it returns."
            ) from error
    return found


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def describe_output(output: Any) -> str:
    """What a network returned, for a message.

    >>> import torch
    >>> describe_output((torch.zeros(4, 2), torch.zeros(4, 3)))
    'a tuple of 2: a tensor of shape (4, 2), a tensor of shape (4, 3)'
    """
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}: {', '.join(map(describe_output, output))}"
    return f"{type(output).__name__}, which is no tensor"


def shape_text(shape: Sequence[int]) -> str:
    """The shape of N observations of one shape each.

    >>> shape_text((28, 28))
    '(N, 28, 28)'
    """
    return f"({', '.join(map(str, ('N', *shape)))}{'' if shape else ','})"


def keeps_order(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether numbers of one shape are those of the other in the same order, whichever dimensions of size 1 there are.

    One of the two may be flat; two shapes that differ, as (28, 28, 3) and (3, 28, 28), have as many numbers in another
    order.

    >>> keeps_order((1, 28, 28), (28, 28)), keeps_order((784,), (28, 28)), keeps_order((28, 28, 3), (3, 28, 28))
    (True, True, False)
    """
    one, two = (tuple(size for size in sizes if size != 1) for sizes in (shape, other))
    return one == two or (math.prod(one) == math.prod(two) and min(len(one), len(two)) <= 1)


def reshape_rows(what: str, tensor: Tensor, num_rows: int, shape: Sequence[int]) -> Tensor:
    """Give each row the shape asked for, if its numbers are in that order.

    Args:
        what: which tensor this is, for the message.
        tensor: shape (num_rows, *another).
        num_rows: how many rows the network was given.
        shape: of one row.

    Raises:
        ShapeError: says what arrived.
    """
    if tensor.dim() < 1 or len(tensor) != num_rows or not keeps_order(tensor.shape[1:], shape):
        expected = (num_rows, *shape)
        other_order = tensor.numel() == math.prod(expected) and len(tensor) == num_rows
        why = "The numbers are as many, but in another order: permute the dimensions. " if other_order else ""
        raise ShapeError(
            f"{what} must have shape {expected}, or another that holds the same numbers in the same order, for a batch "
            f"of {num_rows}, got {tuple(tensor.shape)}. {why}A row for each row of the batch is expected, also for one."
        )
    return tensor.reshape(num_rows, *shape)
