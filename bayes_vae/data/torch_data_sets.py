"""Data sets and loaders of torch: items that are tensors, tuples or dicts; transforms that draw at random run anew."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, default_collate

from bayes_vae.data.raw_data import RawData
from bayes_vae.errors import DataError
from bayes_vae.terms.randomness import isolated_rng

__all__ = ["COMPARED", "parts_of", "plain_item", "read_data_set", "read_loader", "stacked"]

X_KEYS = ("x", "image", "images", "pixel_values", "data", "features", "input", "inputs")
LABEL_KEYS = ("y", "label", "labels", "target", "targets")

COMPARED = 32
"""Rows that are read twice, to see whether transforms draw at random."""


def read_data_set(data_set: Any) -> RawData:
    """Read every row of a data set with ``__len__`` and ``__getitem__``, by its number.

    Raises:
        DataError: no length, no rows, or items that cannot be stacked.
    """
    try:
        count = len(data_set)
    except (TypeError, NotImplementedError) as error:
        raise DataError(
            f"the data: {type(data_set).__name__} has no length. Give its class __len__, or pass a DataLoader around "
            "it that ends."
        ) from error
    if count == 0:
        raise DataError("the data are empty: the data set has no rows.")
    x, labels, beside = stacked(data_set, range(count))
    again, *_ = stacked(data_set, range(min(count, COMPARED)), seed=1)
    drawn = not np.array_equal(again, x[:COMPARED])

    def redraw(rows: Tensor, seed: int) -> np.ndarray:
        return stacked(data_set, rows.tolist(), seed=seed)[0]

    names = getattr(data_set, "classes", None)
    label_names = tuple(map(str, names)) if labels is not None and isinstance(names, list | tuple) else ()
    return RawData(type(data_set).__name__, x, labels, label_names, beside=beside, redraw=redraw if drawn else None)


def read_loader(loader: DataLoader[Any]) -> RawData:
    """Read the rows of a loader: those of its data set, or, where it chooses or stacks rows in its own way, one pass.

    Raises:
        DataError: as :func:`read_data_set`.
    """
    plain_order = isinstance(loader.sampler, SequentialSampler | RandomSampler)
    if plain_order and loader.collate_fn is default_collate and hasattr(loader.dataset, "__getitem__"):
        return read_data_set(loader.dataset)
    with _seeded(0):
        batches = [parts_of(batch) for batch in loader]
    if not batches:
        raise DataError("the data are empty: the loader gives no batch.")
    x, labels, beside = _joined(batches)
    return RawData(type(loader.dataset).__name__, x, labels, beside=beside)


Parts = tuple[np.ndarray, "np.ndarray | None", tuple[Tensor, ...]]


def stacked(data_set: Any, rows: Iterable[int], seed: int = 0) -> Parts:
    """x, labels and what else there is, of rows by number."""
    with _seeded(seed):
        items = [plain_item(data_set[row]) for row in rows]
    try:
        batch = default_collate(items)
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"the items of the data set cannot be stacked ({' '.join(str(error).split())[:200]}). Expected tensors, "
            "arrays, images or numbers of one shape, alone, in tuples (x, y, …) or in dicts; pad or resize them in the "
            "data set's transform."
        ) from error
    return parts_of(batch)


def plain_item(item: Any) -> Any:
    """An item with its images as arrays of bytes, colours first."""
    if isinstance(item, Mapping):
        return {key: plain_item(value) for key, value in item.items()}
    if isinstance(item, tuple | list):
        return tuple(plain_item(value) for value in item)
    if type(item).__module__.startswith("PIL."):
        pixels = np.array(item)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy() if pixels.ndim == 3 else pixels)
    return item


def parts_of(batch: Any) -> Parts:
    """What is x, what are labels, and what else there is, of a batch."""
    if isinstance(batch, Mapping):
        return _of_names(batch)
    parts = [_tensor(part) for part in (batch if isinstance(batch, tuple | list) else (batch,))]
    if not parts:
        raise DataError("the items of the data set are empty tuples: expected x, (x, y), or more beside x.")
    x, *beside = parts
    if len(beside) == 1 and beside[0].dim() == 1 and not beside[0].is_floating_point():
        return _array(x), _array(beside[0]), ()
    return _array(x), None, tuple(beside)


def _of_names(batch: Mapping[str, Any]) -> Parts:
    x = [key for key in batch if key in X_KEYS]
    labels = [key for key in batch if key in LABEL_KEYS]
    if len(x) != 1 or len(labels) > 1:
        raise DataError(
            f"the items of the data set are dicts with {', '.join(map(repr, batch))}: which is x is known by one of "
            f"the names {', '.join(X_KEYS)}, and labels by one of {', '.join(LABEL_KEYS)}. Rename them, or give a data "
            "set of tuples (x, y)."
        )
    beside = tuple(_tensor(batch[key]) for key in batch if key not in (*x, *labels))
    return _array(_tensor(batch[x[0]])), _array(_tensor(batch[labels[0]])) if labels else None, beside


def _tensor(part: Any) -> Tensor:
    try:
        return torch.as_tensor(part)
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"the items of the data set hold something else than numbers ({error}). Give numbers "
            "for words, such as the number of the class, in the data set's transform."
        ) from error


def _array(tensor: Tensor) -> np.ndarray:
    held = tensor.detach().cpu()
    array: np.ndarray = (held.float() if held.dtype == torch.bfloat16 else held).numpy()
    return array


def _joined(batches: Sequence[Parts]) -> Parts:
    x, labels, beside = zip(*batches, strict=True)
    there = None if labels[0] is None else np.concatenate([part for part in labels if part is not None])
    return np.concatenate(x), there, tuple(map(torch.cat, zip(*beside, strict=True)))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed whatever transforms draw from, and restore it: torch, numpy and Python."""
    states = np.random.get_state(), random.getstate()  # noqa: NPY002
    with isolated_rng(seed):
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])
