"""Results as pandas and xarray tables, and as a small table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, ShapeError
from bayes_vae.terms.averages import Average, average
from bayes_vae.vocabulary.conditions import conditions
from bayes_vae.vocabulary.number_text import short_error
from bayes_vae.vocabulary.symbols import DIMS, unit_of

__all__ = ["Column", "Tabular"]

HEAD = ("", "value", "Monte-Carlo error", "data error", "K", "N", "")

Column = tuple[str, Tensor]
"""Kind and values."""


class Tabular:
    """A result that tells its columns: a base class that adds tables, printed, in a notebook, in pandas and in xarray.

    The names of the columns stand in the class statement, by kind::

        class ElboTerms(Tabular, observation=("elbo", "kl_to_prior"), dimension=("kl_per_dimension",)): ...

    Args:
        observation: attributes of shape (N,).
        particle: attributes of shape (K, N), K particles.
        chain: attributes of shape (K, N), K chains.
        dimension: attributes of shape (N, D); left out where they are not defined.
    """

    column_names: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **kinds: Sequence[str]) -> None:
        super().__init_subclass__()
        if "__repr__" not in cls.__dict__:  # else a dataclass writes one that spells out every tensor
            cls.__repr__ = Tabular.__repr__  # type: ignore[method-assign]
        cls.column_names = {name: kind for kind in DIMS for name in kinds.get(kind, ())}

    def columns(self) -> dict[str, Column]:
        """Name → kind and values."""
        found = {}
        for name, kind in self.column_names.items():
            try:
                found[name] = (kind, getattr(self, name))
            except NotDefinedError:  # for this pair; the attribute itself says why
                continue
        return found

    def to_xarray(self, index: Tensor | Sequence[Any] | None = None) -> Any:
        """An ``xarray.Dataset`` of every column, with dims observation, particle, chain or dimension, and units.

        Args:
            index: labels of the observations, shape (N,); 0…N−1 when None.
        """
        import xarray

        arrays = {
            name: (DIMS[kind], _array(values), {"units": unit_of(name.removeprefix("bound_"))})
            for name, (kind, values) in self.columns().items()
        }
        sizes = {dim: size for dims, values, _ in arrays.values() for dim, size in zip(dims, values.shape, strict=True)}
        coordinates = {dim: np.arange(size) for dim, size in sizes.items()}
        coordinates["observation"] = _labels(index, sizes["observation"])
        return xarray.Dataset(arrays, coords=coordinates, attrs=_about(self))

    def to_pandas(self, index: Tensor | Sequence[Any] | None = None) -> Any:
        """A ``pandas.DataFrame`` with a row for each observation; nats but for unitless columns.

        What is known of each latent dimension has a column for each, ``name_0``, ``name_1``, …. A result that holds
        nothing but terms of each particle has a row for each particle and observation.

        Args:
            index: labels of the observations, shape (N,); 0…N−1 when None.
        """
        columns = self.columns()
        if {kind for kind, _ in columns.values()} == {"particle"}:
            return self.to_xarray(index).to_dataframe()
        import pandas

        found: dict[str, Any] = {}
        for name, (kind, values) in columns.items():
            if kind == "observation":
                found[name] = _array(values)
            elif kind == "dimension":
                found |= {f"{name}_{d}": column for d, column in enumerate(_array(values).T)}
        count = len(next(iter(found.values())))
        return pandas.DataFrame(found, index=pandas.Index(_labels(index, count), name="observation"))

    def table_rows(self) -> Mapping[str, Average]:
        """The averages that a notebook shows."""
        averages = getattr(self, "averages", None)
        return averages() if averages is not None else _over_particles(self.columns())

    def _caption(self) -> str:
        origin, averages = getattr(self, "provenance", None), f"{type(self).__name__}, averages over observations"
        if origin is None:
            return f"{averages} · nats"
        seeds = {"seed": origin.seed, "pixel_seed": origin.pixel_seed}
        beside = conditions(None, None, origin.data_policy, unit="nats", kl_weight=origin.kl_weight, **seeds)
        return f"{averages} · {beside}"

    def _lines(self) -> list[tuple[str, ...]]:
        """Head and rows."""
        return [HEAD, *(_cells(name, row) for name, row in self.table_rows().items())]

    def __repr__(self) -> str:
        """The averages as text."""
        lines = self._lines()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = ["  ".join(_aligned(cells, widths)).rstrip() for cells in lines]
        return "\n".join([self._caption(), *texts])

    def _repr_html_(self) -> str:
        """The averages, for a notebook."""
        head, *rows = self._lines()
        lines = [_line("th", head), *(_line("td", row) for row in rows)]
        return f"<table><caption>{escape(self._caption())}</caption>{''.join(lines)}</table>"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Name and reading to the left, numbers to the right."""
    last = len(cells) - 1
    return [
        cell.ljust(width) if place in (0, last) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _line(cell: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"


def _cells(name: str, row: Average) -> tuple[str, ...]:
    errors = map(short_error, (row.monte_carlo_error, row.data_error))
    return (name, f"{row.value:.3f}", *errors, str(row.num_particles), str(row.num_observations), str(row.reading))


def _over_particles(columns: Mapping[str, Column]) -> dict[str, Average]:
    """The mean of each term over particles and observations."""
    found = {}
    for name, (kind, values) in columns.items():
        if kind == "particle":
            count, terms = len(values), values.detach().double()
            error = terms.std(0) / count**0.5 if count > 1 else torch.full_like(terms[0], torch.nan)
            found[name] = average(name, terms.mean(0), error, count)
    return found


def _about(result: Any) -> dict[str, Any]:
    """What stands beside every figure."""
    origin = getattr(result, "provenance", None)
    if origin is None:
        return {"units": "nats"}
    pixels = {} if origin.pixel_seed is None else {"pixel_seed": str(origin.pixel_seed)}
    seeds = {**({} if origin.seed is None else {"seed": str(origin.seed)}), **pixels}
    return {"units": "nats", **seeds, "data_policy": origin.data_policy, "kl_weight": origin.kl_weight}


def _labels(index: Tensor | Sequence[Any] | None, count: int) -> np.ndarray:
    if index is None:
        return np.arange(count)
    labels = _array(index) if isinstance(index, Tensor) else np.asarray(index)
    if labels.shape != (count,):
        raise ShapeError(f"index must hold one label for each of the {count} observations, got {labels.shape}.")
    return labels


def _array(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().cpu().numpy()
    return found
