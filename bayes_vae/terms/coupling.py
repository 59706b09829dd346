"""Whether the terms of one observation change with the others of its batch: then they are no terms of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from bayes_vae.errors import ProgramError, UnrepeatableError
from bayes_vae.terms.program import Observations
from bayes_vae.terms.randomness import KeyedNoise, isolated_rng

__all__ = ["ROWS", "refuse_coupled_rows", "refuse_what_changes_by_itself"]

ROWS = 3
"""Observations to look at where a pair may be run on some of them."""

RELATIVE = {torch.float64: 1e-9}
"""Rounding; 1e-4 for the other dtypes."""


class _Pair(Protocol):
    @property
    def keyed(self) -> bool: ...

    def bind(self, x: Observations, index: Tensor) -> Any: ...


def refuse_coupled_rows(pair: _Pair, x: Observations, index: Tensor) -> None:
    """Refuse a pair in which the first observation's terms change when the others are replaced by copies of it.

    Once the other observations are replaced and the noise kept, once only their latents. What a program raises on these
    is left to the real run, which says more.

    Raises:
        ProgramError: names the terms.
        UnrepeatableError: they change from call to call, whatever the others are.
    """
    if len(index) < 2:
        return
    for replaced, compare in (("observations", _other_observations), ("latents", _other_latents)):
        try:
            values = compare(pair, x, index)
        except Exception:  # the real run says what is wrong, in its own shape
            continue
        changed = [name for name, (before, after) in values.items() if not _same(before, after)]
        if changed:
            refuse_what_changes_by_itself(pair, x, index)
            raise ProgramError(
                f"rows look at each other: {', '.join(changed)} of one observation change when the other {replaced} of "
                "its batch do, in evaluation mode, so no observation has terms of its own. Normalize over features "
                "(layer norm, group norm) or by statistics that are kept (batch norm with track_running_stats=True), "
                "not over the batch."
            )


_Compared = Mapping[str, tuple[Tensor, Tensor]]


def _other_observations(pair: _Pair, x: Observations, index: Tensor) -> _Compared:
    """What the first row gives, beside its own and beside copies of it, from the same noise or at the same latents."""
    copies = tuple(_first_everywhere(part, 0) for part in x)
    before, after = (_quiet(pair.bind(rows, index)) for rows in (x, copies))
    with isolated_rng(0, index.device):
        one = before.draw(range(1), KeyedNoise(0) if pair.keyed else None)
    with isolated_rng(0, index.device):
        two = after.draw(range(1), KeyedNoise(0)) if pair.keyed else after.evaluate(one.latents)
    named = zip(("log_prior", "log_likelihood", "log_guide"), one[:3], two[:3], strict=True)
    terms = {name: (left[0, 0], right[0, 0]) for name, left, right in named}
    return terms | {f"latent {name!r}": (one.latents[name][0, 0], two.latents[name][0, 0]) for name in one.latents}


def _other_latents(pair: _Pair, x: Observations, index: Tensor) -> _Compared:
    """What the model gives for the first row, beside its own latents and beside copies of that row's."""
    bound = _quiet(pair.bind(x, index))
    with isolated_rng(0, index.device):
        latents = bound.draw(range(1), KeyedNoise(0) if pair.keyed else None).latents
    copies = {name: _first_everywhere(value, 1) for name, value in latents.items()}
    runs = []
    for given in (latents, copies):
        with isolated_rng(0, index.device):
            runs.append(bound.log_joint(given))
    names = ("log_prior", "log_likelihood")
    return {name: (left[0, 0], right[0, 0]) for name, left, right in zip(names, *runs, strict=True)}


def refuse_what_changes_by_itself(pair: _Pair, x: Observations, index: Tensor) -> None:
    """Refuse a pair whose terms are others when the same rows are looked at again, at the same latents.

    Raises:
        UnrepeatableError: names the terms.
    """
    with isolated_rng(0, index.device):
        latents = _quiet(pair.bind(x, index)).draw(range(1), KeyedNoise(0) if pair.keyed else None).latents
    runs = []
    for seed in range(2):
        with isolated_rng(seed, index.device):
            bound = _quiet(pair.bind(x, index))
            runs.append(bound.draw(range(1), KeyedNoise(0)) if pair.keyed else bound.evaluate(latents))
    named = zip(("log_prior", "log_likelihood", "log_guide"), *(run[:3] for run in runs), strict=True)
    changed = tuple(name for name, one, two in named if not _same(one, two))
    if changed:
        raise UnrepeatableError(changed)


def _first_everywhere(value: Tensor, dim: int) -> Tensor:
    """The first row in place of every row."""
    return value.narrow(dim, 0, 1).expand_as(value).contiguous()


def _quiet(bound: Any) -> Any:
    """A batch whose support is left to the real run to check."""
    bound.support_checked = True
    return bound


def _same(one: Tensor, two: Tensor) -> bool:
    tolerance = RELATIVE.get(one.dtype, 1e-4)
    return torch.allclose(one, two, rtol=tolerance, atol=tolerance, equal_nan=True)
