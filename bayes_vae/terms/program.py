"""Calling Pyro programs without leaving a trace of it in the user's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from bayes_vae.terms.inference_tensors import without_inference_tensors
from bayes_vae.terms.isolation import PROCESS_STATE, isolated_context
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.reached import evaluation_mode
from bayes_vae.terms.traits import Program, modules_of, needs_index, traits_of

__all__ = [
    "Observations",
    "Program",
    "admit_rows",
    "index_arguments",
    "modules_of",
    "own_parameters",
    "prepare_guide",
    "pyro_module_parameters",
    "relink_store",
    "take_rows",
    "undisturbed",
]

Observations: TypeAlias = tuple[Tensor, ...]


def take_rows(x: Observations, rows: Tensor | slice) -> Observations:
    """Some rows of each tensor of x."""
    return tuple(part[rows] for part in x)


def index_arguments(program: Program, index: Tensor) -> dict[str, Tensor]:
    """``{"index": index}`` for a program that declares ``needs_index``, else nothing."""
    return {"index": index} if needs_index(program) else {}


def admit_rows(guide: Program, index: Tensor) -> None:
    """Tell a guide that has parameters for each observation that these are trained on; others have nothing to do.

    Args:
        guide: of the pair.
        index: indices of the observations, shape (N,).
    """
    traits_of(guide).admit_rows(index)


def prepare_guide(model: Program, guide: Program, x: Tensor, index: Tensor, *, again: bool = False) -> None:
    """Let a guide that has parameters for each observation get ready for these; others have nothing to do.

    Args:
        model, guide: the pair.
        x: observations, shape (N, *event).
        index: their indices, shape (N,).
        again: whether this was done for the same x before, and only the model has changed a little.
    """
    prepare = traits_of(guide).prepare
    if prepare is not None:
        with undisturbed(model, guide, device=x.device):
            prepare(model, x, index, again=again)


@contextmanager
def own_parameters(*programs: Program) -> Iterator[None]:
    """Run programs on their modules' own weights, and drop what they add to Pyro's parameter store.

    Entries of the store that other modules left under the same names are neither used nor changed.
    """
    with PROCESS_STATE:
        store = pyro.get_param_store()
        state = store.get_state()
        for name, _ in pyro_module_parameters(programs):
            state["params"].pop(name, None)
            state["constraints"].pop(name, None)
        try:
            with store.scope(state):
                yield
        finally:
            relink_store()


def relink_store() -> None:
    """Give each value in Pyro's store its link to the unconstrained one, which ``get_state`` takes and SVI follows."""
    list(pyro.get_param_store().values())


def pyro_module_parameters(programs: tuple[Program, ...]) -> Iterator[tuple[str, nn.Parameter]]:
    """Each parameter of a ``PyroModule`` with its name in the store; the module takes over whatever is there."""
    for owner in (owner for program in programs for owner in modules_of(program)):
        for part in owner.modules():
            if isinstance(part, PyroModule):
                for name, parameter in part.named_parameters(recurse=False):
                    yield f"{part._pyro_name}.{name.removesuffix('_unconstrained')}".removeprefix("."), parameter


@contextmanager
def undisturbed(*programs: Program, device: torch.device | str = "cpu", seed: int = 0) -> Iterator[None]:
    """Run programs in evaluation mode, without gradients, and leave no global of the process changed.

    Nothing of the caller's context gets in (see :func:`~bayes_vae.terms.isolation.isolated_context`), and other threads
    wait. Pyro's parameter store keeps what it holds; what a program adds to it is dropped at the end.
    """
    with ExitStack() as stack:
        stack.enter_context(isolated_context())
        stack.enter_context(without_inference_tensors(*programs))
        stack.enter_context(own_parameters(*programs))
        stack.enter_context(evaluation_mode(*programs))
        stack.enter_context(isolated_rng(seed, device))
        yield
