"""Weights as bytes, in the safetensors format: nothing in them can run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bayes_vae.errors import RunError

__all__ = ["alias_of", "pack_weights", "unpack_weights"]

_OTHER_HALF = {"model": "guide", "guide": "model"}


def alias_of(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Key → the key under which the same tensor came first.

    Two keys name the same tensor if it is the same memory, or if model and guide have equal ones of the same
    name, as when both are methods of one module.
    """
    first: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for key, tensor in state.items():
        memory = (tensor.data_ptr() or key, tensor.dtype, tensor.shape, tensor.stride(), tensor.device)
        half, _, rest = key.partition(".")
        twin = f"{_OTHER_HALF.get(half)}.{rest}"
        if memory in first:
            aliases[key] = first[memory]
        elif twin in state and twin in first.values() and _equal(state[twin], tensor):
            aliases[key] = twin
        else:
            first[memory] = key
    return aliases


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def pack_weights(state: Mapping[str, Tensor]) -> bytes:
    """A state as the bytes of a safetensors file; a tensor under several keys is stored once.

    Raises:
        RunError: something that is not a tensor, or of a dtype that the format lacks.
    """
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise RunError(
                f"the weights hold {key!r} of type {type(value).__name__}, but a run directory stores "
                "tensors only. Keep such state in a buffer, or out of the state_dict."
            )
    aliases = alias_of(state)
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in state.items()
        if key not in aliases
    }
    try:
        return safetensors.torch.save(tensors, {"aliases": json.dumps(aliases)})
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"the weights cannot be stored in the safetensors format ({error}). Give them a real "
            "floating-point or an integer dtype."
        ) from error


def unpack_weights(content: bytes, name: str) -> dict[str, Tensor]:
    """The state that :func:`pack_weights` stored, on the CPU.

    Args:
        content: the bytes of a safetensors file.
        name: of the file, for messages.

    Raises:
        RunError: not such a file.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        aliases = json.loads(header["__metadata__"]["aliases"])
        state: dict[str, Tensor] = safetensors.torch.load(content)
        return state | {key: state[first] for key, first in aliases.items()}
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{name} does not hold weights of this library ({error}). Restore it from a copy of the run "
            "directory, or train again."
        ) from error
