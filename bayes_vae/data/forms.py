"""Objects that hold data: arrays, tensors, data frames, sparse matrices, AnnData, torch's data sets and loaders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from bayes_vae.data.data_frames import columns_as_array
from bayes_vae.data.raw_data import RawData
from bayes_vae.data.torch_data_sets import read_data_set, read_loader
from bayes_vae.errors import DataError
from bayes_vae.terms.rows import as_observations

__all__ = ["FORMS_TEXT", "as_array", "dense", "raw_data"]

FORMS_TEXT = (
    "a numpy array, a torch tensor, a list of numbers, a pandas DataFrame, a scipy sparse matrix, an AnnData, a torch "
    "Dataset or DataLoader, a tuple (x, covariates, …), or the path of a .csv, .npy, .npz or .h5ad file or of a folder "
    "of images"
)


def raw_data(source: Any, labels: Any = None) -> RawData:
    """Rows of numbers, of whatever holds them.

    Args:
        source: one of the forms of :data:`FORMS_TEXT`, paths excepted.
        labels: of its rows, or the name of a column of labels; None for its own.

    Raises:
        DataError: another form, or no numbers.
    """
    if isinstance(source, np.ndarray) and source.shape == () and source.dtype == object:
        return raw_data(source.item(), labels)  # what numpy makes of a sparse matrix, or of a loader
    if isinstance(source, DataLoader | Dataset):
        found = _of_torch(source)
        return found if labels is None else _with_labels(found, labels)
    if isinstance(source, tuple):
        return _of_tuple(source, labels)
    for prefix, name, read in _BY_CLASS:
        classes = [base for base in type(source).__mro__ if base.__module__.partition(".")[0] == prefix]
        if any(base.__name__ == name for base in classes):
            return read(source, labels)
    return RawData("array", as_array(source, "the data"), _named_nowhere(labels))


def _of_torch(source: Any) -> RawData:
    if isinstance(source, DataLoader):
        return read_loader(source)
    if isinstance(source, IterableDataset):
        raise DataError(
            "the data: a torch IterableDataset has no rows that can be split or read again. Pass a DataLoader around "
            "it that ends, whose rows are then held in memory, or a Dataset with rows by number."
        )
    return read_data_set(source)


def _of_tuple(source: tuple[Any, ...], labels: Any) -> RawData:
    """x first, then what stands beside it."""
    if not source:
        raise DataError(f"the data are an empty tuple: expected (x, covariates, …), or {FORMS_TEXT}.")
    first = raw_data(source[0], labels)
    beside = tuple(torch.as_tensor(as_array(part, "what stands beside x")) for part in source[1:])
    as_observations((torch.empty(len(first.values), 0), *beside))
    return RawData(**{**vars(first), "beside": (*first.beside, *beside)})


def _of_frame(frame: Any, labels: Any) -> RawData:
    """A table by name, unless its columns are only numbered."""
    if isinstance(labels, str):
        if labels not in frame.columns:
            raise DataError(
                f"the data have no column {labels!r} of labels: their columns are {', '.join(map(str, frame.columns))}."
            )
        frame, labels = frame.drop(columns=labels), frame[labels].to_numpy()
    values = columns_as_array({name: frame[name].to_numpy() for name in frame.columns})
    numbered = all(isinstance(name, int) for name in frame.columns)
    names = () if numbered else tuple(map(str, frame.columns))
    return RawData("table", values, labels, columns=names, held_as=None if numbered else "table")


def _of_sparse(matrix: Any, labels: Any) -> RawData:
    values = dense(matrix)
    return RawData("array", values, _named_nowhere(labels), kind=_kind_of_sparse(values))


def _kind_of_sparse(values: np.ndarray) -> Any:
    """Whole numbers in a sparse matrix are counts, where there are others than 0 and 1."""
    whole = values.size > 0 and values.min() >= 0 and bool((values == np.round(values)).all())
    return "counts" if whole and values.max() > 1 else "auto"


def dense(matrix: Any) -> np.ndarray:
    """A sparse matrix of scipy as an array; an array as it is."""
    values: np.ndarray = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    return values


def _of_annotated(annotated: Any, labels: Any) -> RawData:
    """The matrix X of an AnnData, its variables as columns, labels from a column of ``obs``."""
    if isinstance(labels, str):
        if labels not in annotated.obs.columns:
            known = ", ".join(map(str, annotated.obs.columns)) or "none"
            raise DataError(f"the AnnData has no column {labels!r} in obs: it has {known}.")
        labels = annotated.obs[labels].to_numpy()
    values = dense(annotated.X)
    names = tuple(map(str, annotated.var_names))
    return RawData("AnnData", values, labels, columns=names, held_as="table", kind=_kind_of_sparse(values))


_BY_CLASS: tuple[tuple[str, str, Callable[[Any, Any], RawData]], ...] = (
    ("pandas", "DataFrame", _of_frame),
    ("scipy", "spmatrix", _of_sparse),
    ("scipy", "sparray", _of_sparse),
    ("scipy", "_spbase", _of_sparse),
    ("anndata", "AnnData", _of_annotated),
)
"""Package and class of a form → how it is read; no package is imported for it."""


def _with_labels(data: RawData, labels: Any) -> RawData:
    return RawData(**{**vars(data), "labels": _named_nowhere(labels), "label_names": ()})


def _named_nowhere(labels: Any) -> Any:
    if isinstance(labels, str):
        raise DataError(
            f"the labels: {labels!r} would be the name of a column, but these data have no named columns. Give one "
            "label for each row."
        )
    return labels


def as_array(source: Any, what: str) -> np.ndarray:
    """A numpy array of booleans, integers or floats; what a masked array masks is NaN.

    Raises:
        DataError: what arrived, and which forms there are.
    """
    if isinstance(source, Tensor):
        source = _of_tensor(source, what)
    elif isinstance(source, np.ma.MaskedArray):
        masked: np.ndarray = np.ma.getmaskarray(source)
        source = source.data if not masked.any() else np.where(masked, np.nan, source.data)
    elif hasattr(type(source), "__array__") or isinstance(source, list | int | float):
        try:
            source = np.asarray(source)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{what}: rows of several shapes, or no numbers ({error}). Bring them to one shape."
            ) from error
    if not isinstance(source, np.ndarray):
        raise DataError(f"{what}: got {type(source).__name__}. Expected {FORMS_TEXT}.")
    if source.dtype.kind not in "biuf":
        raise DataError(
            f"{what}: expected booleans, integers or floats, got an array of dtype {source.dtype}. "
            "Convert it to numbers first; a complex array can be given as real and imaginary parts."
        )
    return source


def _of_tensor(tensor: Tensor, what: str) -> np.ndarray:
    held = tensor.detach()
    try:
        held = held.to_dense() if held.layout != torch.strided else held
        array: np.ndarray = (held.float() if held.dtype == torch.bfloat16 else held).cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{what}: expected a dense tensor, got another kind ({error}).") from error
    return array
