"""Rows that a torch data set computes one by one, in worker processes, each time that a batch asks for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from bayes_vae.data.outside_rows import OutsideRows, telling
from bayes_vae.data.raw_data import RawData
from bayes_vae.data.torch_data_sets import COMPARED, parts_of, plain_item, stacked
from bayes_vae.errors import DataError

__all__ = ["ComputedRows", "computed_data"]


class ComputedRows(OutsideRows):
    """Items of a data set by number.

    Args:
        data_set: whose items are the same at each reading.
        workers: processes that compute them; 0 for this one.
        first: the first few items, stacked.
    """

    def __init__(self, data_set: Any, workers: int, first: np.ndarray) -> None:
        self.name, self.dtype = type(data_set).__name__, first.dtype
        self.shape = (len(data_set), *first.shape[1:])
        self.data_set, self.workers = data_set, workers
        self._few: np.ndarray | None = None
        self._expected: Iterator[tuple[np.ndarray, Any]] = iter(())
        self._next: tuple[np.ndarray, Any] | None = None

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Items by number: those that were expected have been computed meanwhile."""
        expected = self._next or next(self._expected, None)
        if expected is not None and np.array_equal(expected[0], rows):
            self._next = None
            return self._checked(expected[1][0], rows)
        self._next = expected
        return self._checked(stacked(self.data_set, rows.tolist())[0], rows)

    def expect(self, batches: Iterable[np.ndarray]) -> None:
        """Let the workers compute these batches ahead, in this order."""
        self._next = None
        if self.workers:
            rows, ahead = itertools.tee(batches)
            self._expected = zip(rows, self._loaded(each.tolist() for each in ahead), strict=True)

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """All items in order."""
        return ((first, x) for first, (x, _, _) in self._parts())

    def telling(self) -> np.ndarray:
        """A few items by which the kind of the numbers is told, as the first pass over all of them found."""
        return super().telling() if self._few is None else self._few

    def first_pass(self) -> tuple[np.ndarray | None, tuple[Tensor, ...]]:
        """Labels and what stands beside x, of every item."""
        few, labels, beside = [], [], []
        for first, (x, label, more) in self._parts():
            few.append(telling(first, self._checked(x, np.arange(first, first + len(x))), self.name))
            labels.append(label)
            beside.append(more)
        self._few = np.concatenate(few)
        found = [label for label in labels if label is not None]
        return np.concatenate(found) if found else None, tuple(map(torch.cat, zip(*beside, strict=True)))

    def _parts(self) -> Iterator[tuple[int, Any]]:
        size = self.rows_at_once
        batches = [list(range(start, min(start + size, len(self)))) for start in range(0, len(self), size)]
        return ((rows[0], parts) for rows, parts in zip(batches, self._loaded(batches), strict=True))

    def _loaded(self, batches: Iterable[list[int]]) -> Iterator[Any]:
        """x, labels and what stands beside them, of batches of items in order; from the workers, if there are any."""
        if not self.workers:
            return (stacked(self.data_set, rows) for rows in batches)
        loader: DataLoader[Any] = DataLoader(
            _Plain(self.data_set),
            batch_sampler=cast(Any, batches),
            num_workers=self.workers,
            collate_fn=default_collate,
            generator=torch.Generator(),  # else it would draw from the caller's
        )
        return map(parts_of, loader)

    def _checked(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if (x.shape[1:], x.dtype) != (self.shape[1:], self.dtype):
            raise DataError(
                f"the items {int(rows[0])}… of {self.name} are of shape {x.shape[1:]} and {x.dtype}, and the first of "
                f"{self.shape[1:]} and {self.dtype}. Bring them into one form in the data set's transform."
            )
        return x


class _Plain(Dataset[Any]):
    """A data set whose images are arrays."""

    def __init__(self, data_set: Any) -> None:
        self.data_set = data_set

    def __len__(self) -> int:
        return len(self.data_set)

    def __getitem__(self, row: int) -> Any:
        return plain_item(self.data_set[row])


def computed_data(source: Any) -> RawData:
    """The rows of a data set, or of the one behind a loader, whose workers then compute them.

    Labels and what stands beside x are held in memory.

    Raises:
        DataError: no length, items that draw at random, or that differ in shape or type.
    """
    data_set, workers = (source.dataset, source.num_workers) if isinstance(source, DataLoader) else (source, 0)
    if isinstance(data_set, IterableDataset) or not hasattr(data_set, "__len__"):
        raise DataError(
            f"the data: {type(data_set).__name__} has no rows by number and no length, so none can be read when a "
            "batch asks for it. Give its class __len__ and __getitem__, or leave stream out, which reads all rows once."
        )
    first = range(min(COMPARED, len(data_set)))
    if not first:
        raise DataError("the data are empty: the data set has no rows.")
    once, again = (stacked(data_set, first, seed=seed)[0] for seed in (0, 1))
    if not np.array_equal(once, again):
        raise DataError(
            f"the items of {type(data_set).__name__} draw at random each time they are read, and rows that are "
            "computed for each batch must be the same each time. Leave the random transforms out, or leave stream "
            "out: training rows are then read anew in each epoch."
        )
    rows = ComputedRows(data_set, workers, once)
    labels, beside = rows.first_pass()
    names = getattr(data_set, "classes", None)
    label_names = tuple(map(str, names)) if labels is not None and isinstance(names, list | tuple) else ()
    return RawData(rows.name, rows, labels, label_names, beside=beside)
