"""What a user's program raises, as one error that names the program, the site and the observation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import BayesVaeError, NumericalError, ProgramError
from bayes_vae.networks.foreign import shape_text
from bayes_vae.terms.program import Observations, Program, index_arguments

__all__ = ["density_error", "traced_or_explained"]

Site: TypeAlias = Any

LONGEST = 200
"""Characters of the original message: torch's print whole tensors."""

_CAUSES = "Look there for weights that diverged, a scale that reached zero or infinity, or NaN in the data"


def traced_or_explained(
    role: str, program: Program, call: Callable[[], Any], x: Observations, index: Tensor
) -> poutine.Trace:
    """Trace one call of a program; what it raises comes back as one error.

    Args:
        role: "model" or "guide".
        program: what is called, for its signature.
        call: the call, with its handlers around it.
        x, index: what it is called with.

    Raises:
        NumericalError: a parameter of a site is NaN or outside its range; names the site and the observation.
        ProgramError: anything else; names the program, the last site that was reached and what was raised.
    """
    tracer = poutine.trace()
    try:
        with tracer:
            call()
    except BayesVaeError:
        raise
    except Exception as error:
        raise _explained(role, program, call, tracer.trace, x, index, error) from error
    return tracer.trace


def _explained(
    role: str,
    program: Program,
    call: Callable[[], Any],
    reached: poutine.Trace,
    x: Observations,
    index: Tensor,
    raised: Exception,
) -> BayesVaeError:
    """The error for what a program raised: of another library, which says what it is in words only."""
    if isinstance(raised, TypeError):
        other = _other_arguments(role, program, x, index)
        if other:
            return ProgramError(other)
    invalid = _invalid_parameter(role, _without_validation(call), index)
    if invalid:
        return NumericalError(invalid)
    names = [name for name, _ in _sites(reached)]
    where = f"after its site {names[-1]!r}" if names else "before its first site"
    shapes = ", ".join(f"{shape_text(part.shape[1:])} {str(part.dtype).removeprefix('torch.')}" for part in x)
    hint = ""
    if "Shape mismatch inside plate" in str(raised):
        hint = (
            " Either the dimensions of one observation are not declared with .to_event(n), so that they are taken for "
            "plates, or the program holds as many rows as other data had (a plate of fixed size, parameters per "
            "observation)."
        )
    return ProgramError(
        f"the {role} raised {type(raised).__name__} {where}, called with {shapes}: {_short(raised)}{hint}"
    )


def density_error(name: str, site: Site, error: Exception) -> BayesVaeError:
    """What the density of a site raised, named by the site."""
    expected, found = tuple(site["fn"].shape()), tuple(site["value"].shape)
    try:
        torch.broadcast_shapes(expected, found)
    except RuntimeError:
        return ProgramError(
            f"site {name!r}: its distribution has shape {shape_text(expected[1:])}, of which "
            f"{tuple(site['fn'].event_shape)} are one event, and its value, obs= or the guide's draw, "
            f"{shape_text(found[1:])}: expected the same. Give each number of an observation its parameter, and "
            "reshape x as the network returns it."
        )
    return ProgramError(f"site {name!r}: its density raised {type(error).__name__}: {_short(error)}")


def _other_arguments(role: str, program: Program, x: Observations, index: Tensor) -> str | None:
    """A sentence where the program takes other arguments than it was called with; None where it takes them."""
    try:
        signature = inspect.signature(program)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*x, **index_arguments(program, index))
    except TypeError:
        taken = [
            one.name
            for one in signature.parameters.values()
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
        ]
        return (
            f"the {role} takes ({', '.join(taken)}) and was called with {len(x)} of them: pass x as a tuple of "
            f"{len(taken)} tensors, each with one row for each observation. Where the second are the labels of a data "
            "set, set needs_labels = True on both programs or their class: then fit, diagnose and rows of a data set "
            "hand them over. A program with parameters for each observation sets needs_index = True and takes index."
        )
    return None


def _without_validation(call: Callable[[], Any]) -> poutine.Trace:
    """The sites that the call reaches where no parameter is checked."""
    tracer = poutine.trace()
    try:
        with pyro.validation_enabled(False), tracer:
            call()
    except Exception:  # it was not the validation: the sites so far are looked at
        return tracer.trace
    return tracer.trace


def _sites(trace: poutine.Trace) -> Iterator[tuple[str, Site]]:
    nodes: dict[str, Site] = trace.nodes
    for name, site in nodes.items():
        if site["type"] == "sample" and not site_is_subsample(site):
            yield name, site


def _invalid_parameter(role: str, trace: poutine.Trace, index: Tensor) -> str | None:
    """A sentence on the first site with a parameter that its distribution does not take; None where there is none."""
    for name, site in _sites(trace):
        base: Any = unwrap(site["fn"])
        while hasattr(base, "base_dist") and not getattr(base, "arg_constraints", None):
            base = unwrap(base.base_dist)
        for parameter, constraint in getattr(base, "arg_constraints", {}).items():
            value = vars(base).get(parameter)  # as given: the others follow from it
            if not isinstance(value, Tensor) or (constraint.is_discrete and not value.is_floating_point()):
                continue
            bad = ~constraint.check(value)
            if not bool(bad.any()):
                continue
            worst = value.detach()[bad].flatten()[0]
            return (
                f"the {role}'s site {name!r}: the {parameter} of its {type(base).__name__} is {float(worst):g}"
                f"{_where(bad, site, index)}, and must be {constraint}. {_CAUSES}."
            )
    return None


def _where(bad: Tensor, site: Site, index: Tensor) -> str:
    """For which observations, where the plate over them is seen."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized and frame.size % len(index) == 0]
    batch = len(site["fn"].batch_shape)
    for frame in frames:
        place = batch + frame.dim
        full = bad.expand(torch.broadcast_shapes(bad.shape, unwrap(site["fn"]).batch_shape))
        if 0 <= place < full.dim() and full.shape[place] == frame.size:
            rows = full.movedim(place, 0).reshape(frame.size, -1).any(1)
            found = sorted({int(index[i % len(index)]) for i in rows.nonzero().flatten().tolist()})
            return f" for {len(found)} observation(s), the first with index {found[0]}"
    return ""


def _short(raised: Exception) -> str:
    """The first line of a message, without the tensors that torch prints."""
    line = next(iter(str(raised).splitlines()), "").split(", but found invalid values")[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
