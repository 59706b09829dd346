"""Finding out, once for each pair, how to run it for many particles and whether its rows may be split."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import torch
from pyro.contrib.easyguide import EasyGuide
from torch import Tensor

from bayes_vae.errors import ProgramError, ScaledSiteWarning
from bayes_vae.terms.containers import Draw
from bayes_vae.terms.layout import read_layout
from bayes_vae.terms.program import Observations, Program, modules_of, own_parameters, take_rows
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.traced import TracedBatch, TracedPair
from bayes_vae.terms.tracing import run_pair

__all__ = ["read_traced_pair", "warning_of_scales_once"]

PROBE_ROWS = (3, 5)
"""How many rows to probe with; the second where a plate within an observation happens to have the first's size."""


def read_traced_pair(model: Program, guide: Program, rows: Rows) -> TracedPair:
    """Probe a pair on a few rows, or on all of them where it cannot be split.

    The outer plate is tried first, then repeated observations; either must agree with two single runs. A loop over
    particles always works.

    Raises:
        ProgramError: the terms of this pair cannot be read; see :func:`read_layout`.
    """
    _refuse_unready(guide)
    for count in PROBE_ROWS:
        probe = rows.take(slice(0, count))
        x, index = probe.read(), probe.index
        pair = _splittable_pair(model, guide, x, index)
        if pair is not None:
            break
    else:
        x, index = rows.read(), rows.index
        pair = _single_run_pair(model, guide, x, index, splittable=False)
    _warn_of_scales(pair)
    for strategy in ("plate", "repeat"):
        candidate = replace(pair, particles=strategy)
        if _agrees_with_single_runs(candidate, pair, x, index):
            return candidate
    return pair


def _refuse_unready(guide: Program) -> None:
    for owner in modules_of(guide):
        if getattr(owner, "prototype_trace", owner) is None:
            raise ProgramError(
                f"the guide {type(owner).__name__} takes its shapes from the first data that it sees, and would take "
                "them from a probe of a few rows. Call guide(x) once with all of x, and train it, before."
            )


def _single_run_pair(model: Program, guide: Program, x: Observations, index: Tensor, splittable: bool) -> TracedPair:
    layout = read_layout(*run_pair(model, guide, x, index), len(index))
    return TracedPair(model, guide, layout, "loop", splittable)


def _splittable_pair(model: Program, guide: Program, x: Observations, index: Tensor) -> TracedPair | None:
    """The pair read off a few rows, or None where rows depend on their number or place."""
    with own_parameters():  # a parameter that is created here has as many rows as this probe, not as the data
        try:
            pair = _single_run_pair(model, guide, x, index, splittable=True)
        except Exception:  # whatever a program raises on other rows than its own; the whole then says why
            _forget_plates(guide)
            return None
        return pair if _rows_stand_alone(pair, x, index) else None


def _forget_plates(guide: Program) -> None:
    """An ``EasyGuide`` that raised keeps the plates of that run, whose size would be that of the probe ever after."""
    for owner in modules_of(guide):
        if isinstance(owner, EasyGuide):
            owner.plates.clear()


def _rows_stand_alone(pair: TracedPair, x: Observations, index: Tensor) -> bool:
    """Whether rows in another order and number have the same terms."""
    if len(index) == 1:
        return True
    order = torch.arange(len(index) - 1, 0, -1, device=index.device)
    draw = _draw(pair.bind(x, index), range(1))
    moved = draw.select(rows=order)
    try:
        again = _draw_again(pair.bind(take_rows(x, order), index[order]), range(1), moved)
    except Exception:  # a plate or a parameter of fixed size
        _forget_plates(pair.guide)
        return False
    return _agree(again, moved)


def _agrees_with_single_runs(candidate: TracedPair, single: TracedPair, x: Observations, index: Tensor) -> bool:
    try:
        draw = _draw(candidate.bind(x, index), range(2))
    except Exception:  # the program cannot run this way; the next way is tried
        _forget_plates(single.guide)
        return False
    batch = single.bind(x, index)
    singles = [draw.select(slice(k, k + 1)) for k in range(2)]
    return all(_agree(_draw_again(batch, range(k, k + 1), one), one) for k, one in enumerate(singles))


def _draw(batch: TracedBatch, particles: range) -> Draw:
    return batch.draw(particles, KeyedNoise(0) if batch.pair.keyed else None)


def _draw_again(batch: TracedBatch, particles: range, earlier: Draw) -> Draw:
    """The same latents by another way: from the same noise where it is keyed, which a flow without inverse needs."""
    return batch.draw(particles, KeyedNoise(0)) if batch.pair.keyed else batch.evaluate(earlier.latents)


def _agree(left: Draw, right: Draw) -> bool:
    """Whether all three terms and the latents are the same up to rounding; NaN agrees with NaN."""
    pairs = [
        *zip(left[:3], right[:3], strict=True),
        *((left.latents[name], right.latents[name]) for name in left.latents),
    ]
    for a, b in pairs:
        tolerance = 1e-9 if b.dtype == torch.float64 else 1e-4
        if a.shape != b.shape or not torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            return False
    return True


_warned: ContextVar[set[tuple[str, str]] | None] = ContextVar("scaled sites that a call has warned of", default=None)


@contextmanager
def warning_of_scales_once() -> Iterator[None]:
    """One warning of each scaled site for all pairs that a call reads; also a decorator of such calls."""
    token = _warned.set(set()) if _warned.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _warned.reset(token)


def _warn_of_scales(pair: TracedPair) -> None:
    told = _warned.get()
    told = set() if told is None else told
    new = [each for each in pair.layout.scaled if each not in told]
    told.update(new)
    if new:
        sites = ", ".join(f"site {site!r} is scaled by {factor}" for site, factor in new)
        warnings.warn(
            f"{sites} (KL annealing, say): {'its density is' if len(new) == 1 else 'their densities are'} evaluated at "
            "weight 1. An ELBO with a weight below 1 on the KL is no bound on log p(x).",
            ScaledSiteWarning,
            stacklevel=2,
        )
