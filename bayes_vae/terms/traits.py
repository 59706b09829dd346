"""What a program is able to do, read in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

__all__ = ["HANDED_ON", "Program", "Traits", "modules_of", "needs_index", "traits_of"]

Program: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Traits:
    """What a model or guide declares, as attributes of the program or of what it wraps.

    Attributes:
        needs_labels: it is called with (x, y), y the labels.
        infers_labels: the label is a latent, known for some rows in training.
        needs_index: it has parameters for each observation, and takes ``index=``.
        exposes_distributions: its terms may be read off ``prior()`` and ``likelihood(z)``, or off
            ``variational_posterior(x)``.
        admit: ``admit(index)``, says that these rows are trained on; None without ``needs_index``.
        prepare: ``prepare(model, x, index, again=)``, fits the parameters of these rows; None without ``needs_index``.
        log_evidence: ``log_evidence(*x)``, the exact log p(x), shape (N,); None where it is not known.
        exact_posterior: ``exact_posterior(*x)``, the distribution p(z given x); None where it is not known.
        reconstruct: ``reconstruct(x, guide)``, means of x at draws from q; None where there is none.
        sample: ``sample(n)``, draws of x; None where there is none.
        label_term: ``label_term(x, index)``, log q(y given x) of a guide that infers labels; None where there is none.
        likelihood_family: what the likelihood takes and whether it is discrete; None where it is not known.
        attach_guide: ``attach_guide(guide)``, for a prior that is made of q; None where there is none.
        attached_guide: the guide that the prior is made of; None where there is none.
    """

    needs_labels: bool
    infers_labels: bool
    needs_index: bool
    exposes_distributions: bool
    admit: Callable[..., Any] | None
    prepare: Callable[..., Any] | None
    log_evidence: Callable[..., Tensor] | None
    exact_posterior: Callable[..., Any] | None
    reconstruct: Callable[..., Tensor] | None
    sample: Callable[..., Any] | None
    label_term: Callable[..., Any] | None
    likelihood_family: Any
    attach_guide: Callable[[Any], None] | None
    attached_guide: Any

    def admit_rows(self, index: Tensor) -> None:
        """Tell a guide that has parameters for each observation that these are trained on; others do nothing."""
        if self.admit is not None:
            self.admit(index)


def traits_of(program: Program) -> Traits:
    """Read the traits of a program.

    What it is called with (labels, index) is seen through every wrapper: bound methods, ``functools.partial``, Pyro's
    handlers, parameters from a run. What it knows of itself is seen through parameters from a run, which hand it on,
    and through bound methods, whose owner may say it; a handler or bound arguments may change the density.
    """
    calls = {name: bool(_declared(program, name)) for name in CALLS}
    owner = getattr(program, "__self__", None)
    known = {name: getattr(program, name, getattr(owner, name, None)) for name in OF_THE_DENSITY}
    if not calls["needs_index"]:
        known.update(dict.fromkeys(OF_THE_ROWS))
    own = {name: getattr(program, name, None) for name in OF_THE_PROGRAM}
    exposes = bool(getattr(program, "exposes_distributions", False))
    found: dict[str, Any] = {**calls, **known, **own, "exposes_distributions": exposes}
    return Traits(**found)


CALLS = ("needs_labels", "infers_labels", "needs_index")
"""Traits that say what a program is called with."""

OF_THE_DENSITY = ("admit", "prepare", "log_evidence", "exact_posterior", "label_term", "likelihood_family")
"""Traits that say what a program knows of its density: those that the owner of a bound method may have."""

OF_THE_ROWS = ("admit", "prepare")
"""Traits of guides with parameters for each observation: those of others, which take no index, are never asked for."""

OF_THE_PROGRAM = ("reconstruct", "sample", "attach_guide", "attached_guide")
"""Traits that only a program itself has."""


HANDED_ON = (*CALLS, *OF_THE_DENSITY, "reconstruct", "sample")
"""Traits that a wrapper which leaves the density as it is hands on."""


def needs_index(program: Program) -> bool:
    """Whether a program takes ``index=``: the one trait that is asked at every call."""
    return bool(_declared(program, "needs_index"))


def _declared(program: Any, name: str) -> Any:
    """The attribute of a program, else of what it wraps; None where neither has it."""
    while program is not None:
        found = getattr(program, name, None)
        if found is not None:
            return found
        program = _wrapped_by(program)
    return None


def _wrapped_by(program: Any) -> Any:
    """What a program covers: the owner of a bound method, or the program inside a wrapper; None if neither."""
    if isinstance(program, nn.Module):
        return None
    if hasattr(program, "__wrapped__"):
        return program.__wrapped__
    if isinstance(program, functools.partial):
        handled = len(program.args) == 2 and isinstance(program.args[0], Messenger)
        return program.args[1] if handled else program.func
    return getattr(program, "__self__", None)


def modules_of(program: Program) -> list[nn.Module]:
    """The module behind a program: itself, or what its bound method belongs to; empty for a function.

    ``functools.partial``, wrappers with ``__wrapped__`` and Pyro's handlers, such as ``poutine.mask(program, ...)``,
    are looked through.
    """
    found: Any = program
    while found is not None and not isinstance(found, nn.Module):
        found = _wrapped_by(found)
    return [] if found is None else [found]
