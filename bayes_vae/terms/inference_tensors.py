"""Parameters and buffers that were made in inference mode, which autograd refuses: plain copies take their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bayes_vae.terms.reached import reached_modules
from bayes_vae.terms.traits import Program, traits_of

__all__ = ["replace_inference_tensors", "without_inference_tensors"]

Held = tuple[dict[str, Any], str, Tensor]
"""What holds a tensor, under which name, and the tensor."""


def replace_inference_tensors(*programs: Program) -> list[Held]:
    """Put a plain copy in the place of each such tensor of the programs' modules; call it outside inference mode.

    Returns:
        what was there, to be put back.
    """
    replaced: list[Held] = []
    copies: dict[int, Tensor] = {}  # a tensor that is held twice stays one tensor
    for module in reached_modules(*programs):
        both: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for held in both:
            for name, tensor in held.items():
                if tensor is not None and tensor.is_inference():
                    replaced.append((held, name, tensor))
                    held[name] = copies.setdefault(id(tensor), _plain(tensor))
    return replaced


def _plain(tensor: Tensor) -> Tensor:
    copy = tensor.clone()
    return nn.Parameter(copy, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy


@contextmanager
def without_inference_tensors(*programs: Program) -> Iterator[None]:
    """Let plain copies stand in for them inside the block, but for guides that ``prepare`` themselves there."""
    replaced = replace_inference_tensors(*(one for one in programs if traits_of(one).prepare is None))
    try:
        yield
    finally:
        for held, name, tensor in replaced:
            held[name] = tensor
