"""This library's own context: one thread at a time, and nothing of the caller's that would change a figure.

Pyro keeps its handlers, its plates and its parameter store in the process, torch its random generators; module modes
are the modules' own. So whatever touches them holds one lock, re-entrant, and puts them back before it lets go.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from pyro.poutine import runtime

__all__ = ["PROCESS_STATE", "isolated_context"]

PROCESS_STATE = threading.RLock()
"""Held by whatever uses Pyro's and torch's process-wide state."""


@contextmanager
def isolated_context(*, gradients: bool = False) -> Iterator[None]:
    """Leave the caller's context outside the block, and restore it at the end.

    Left outside: Pyro's handlers and plates (a mask, a trace, an outer plate), autocast, inference mode, whether
    gradients are recorded, and the transforms of ``torch.func``. The default dtype and the default device stay: a
    user's program counts on them.

    Args:
        gradients: whether they are recorded inside.
    """
    with ExitStack() as stack:
        stack.enter_context(PROCESS_STATE)
        for held in (runtime._PYRO_STACK, runtime._DIM_ALLOCATOR._stack):
            stack.enter_context(_emptied(held))
        stack.enter_context(_without_transforms())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        yield


@contextmanager
def _emptied(held: list[Any]) -> Iterator[None]:
    before = held[:]
    held.clear()
    try:
        yield
    finally:
        held[:] = before


def _without_transforms() -> AbstractContextManager[object]:
    """Outside ``vmap`` and the like, whose randomness rules would forbid every draw."""
    functorch: Any = torch._C._functorch
    if functorch.peek_interpreter_stack() is None:
        return nullcontext()
    transforms: Any = importlib.import_module("torch._functorch.pyfunctorch")
    cleared: AbstractContextManager[object] = transforms.temporarily_clear_interpreter_stack()
    return cleared
