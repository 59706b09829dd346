"""Probabilities of a network read as logits: what its last sigmoid was given, and how far a clamp had to reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["FinalSigmoid", "at_the_ends", "clamped_logits"]

SIGMOIDS = (torch.sigmoid, Tensor.sigmoid, torch.special.expit)
"""What ``nn.Sigmoid`` and ``functional.sigmoid`` come down to."""


class FinalSigmoid(TorchFunctionMode):
    """Watches a network while it runs, and remembers what its last sigmoid was given.

    The network is left as it is. Rounded to float32, the sigmoid of every logit above 17 is 1; what it was given says
    more.

    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Sigmoid(), torch.nn.Unflatten(1, (2, 1)))
    >>> with FinalSigmoid() as watch:
    ...     output = network(torch.full((1, 1), 1e4))
    >>> watch.logits(output).shape
    torch.Size([1, 2, 1])
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[Tensor, Tensor] | None = None

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a torch function, and take note of a sigmoid."""
        result = func(*args, **(kwargs or {}))
        if func in SIGMOIDS and args and isinstance(result, Tensor):
            self._seen = args[0], result
        return result

    def logits(self, output: Tensor) -> Tensor | None:
        """The logits of an output that is the last sigmoid's, or a view of it in the same order; else None.

        Args:
            output: what the network returned, probabilities.
        """
        if self._seen is None:
            return None
        given, returned = self._seen
        same = output.untyped_storage().data_ptr() == returned.untyped_storage().data_ptr()
        ordered = output.is_contiguous() and returned.is_contiguous() and output.numel() == returned.numel()
        if not (same and ordered):
            return None
        logits = given.reshape(output.shape)
        unchanged = torch.equal(torch.sigmoid(logits.detach()), output.detach())  # neither was written to since
        return logits if unchanged else None


def ends(dtype: torch.dtype) -> tuple[float, float]:
    """The least probability above 0 and the largest below 1 of a dtype.

    >>> ends(torch.float64)
    (2.2250738585072014e-308, 0.9999999999999999)
    """
    numbers = torch.finfo(dtype)
    return numbers.tiny, 1 - numbers.eps / 2


def clamped_logits(probabilities: Tensor) -> Tensor:
    """Logits of probabilities, those of 0 and 1 off by no more than their dtype makes necessary."""
    return probabilities.clamp(*ends(probabilities.dtype)).logit()


def at_the_ends(probabilities: Tensor) -> float:
    """Share of probabilities that the clamp moves: what the network meant by them is not known."""
    low, high = ends(probabilities.dtype)
    return float(((probabilities < low) | (probabilities > high)).double().mean())
