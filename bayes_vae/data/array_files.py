"""Reading .csv, .npy, .npz and .h5ad files, never a pickle."""

from __future__ import annotations

import importlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bayes_vae.data.data_frames import read_csv
from bayes_vae.data.forms import raw_data
from bayes_vae.data.raw_data import RawData
from bayes_vae.data.safe_reading import check_fits, check_is_plain
from bayes_vae.errors import DataError
from bayes_vae.plain_files import one_error

__all__ = ["ARRAY_SUFFIXES", "read_array_file", "read_file"]

ARRAY_SUFFIXES = (".csv", ".tsv", ".npy", ".npz", ".h5ad")

_SPARSE = {"data", "indices", "indptr", "format", "shape"}
"""Arrays in a file that scipy.sparse.save_npz wrote."""

_LABELS = ("labels", "y")


def read_file(path: Path, labels: Any = None) -> RawData:
    """Read rows and labels of a file.

    Args:
        path: a .csv or .tsv table, an AnnData in .h5ad, or as :func:`read_array_file`.
        labels: of the rows, or the name of a column of a table that holds them.

    Raises:
        DataError: as :func:`read_array_file`, and a table that cannot be read.
    """
    suffix, column = path.suffix.lower(), labels if isinstance(labels, str) else None
    if suffix in (".csv", ".tsv", ".h5ad") and not path.is_file():
        raise DataError(f"no such file: {path}.")
    if suffix in (".csv", ".tsv"):
        table = read_csv(path, column)
        return table if labels is None or column else replace(table, labels=labels)
    if suffix == ".h5ad":
        check_fits(check_is_plain(path), path)
        return replace(raw_data(_annotated(path), labels), name=path.name)
    values, own = read_array_file(path)
    found = raw_data(values, own if labels is None else labels)
    return replace(found, name=path.name)


def _annotated(path: Path) -> Any:
    try:
        anndata: Any = importlib.import_module("anndata")
    except ImportError as error:
        raise DataError(
            f"{path}: reading .h5ad files needs the package anndata. Install it: pip install anndata."
        ) from error
    with one_error(DataError, f"{path} cannot be read as AnnData", "Write it again with adata.write_h5ad(path)."):
        return anndata.read_h5ad(path)


def read_array_file(path: Path) -> tuple[Any, Any]:
    """Read observations and labels.

    Args:
        path: an .npy file with an array (N, *event); or an .npz file with the array ``x``, or with one
            array only, and perhaps labels in ``labels`` or ``y``.

    Returns:
        the array, and the labels or None.

    Raises:
        DataError: no such file, another kind of file, a damaged one, pickled objects, or several arrays and
            no ``x``.
    """
    if not path.is_file():
        raise DataError(f"no such file: {path}. Expected an .npy or .npz file of shape (N, *event).")
    if path.suffix.lower() not in (".npy", ".npz"):
        raise DataError(
            f"{path} is not an array file: expected .npy, .npz, .csv, .tsv or .h5ad, got the suffix {path.suffix!r}. "
            "Save the array with numpy.save(path, x)."
        )
    remedy = (
        "Pickled objects are never loaded: save a plain numeric array again with numpy.save(path, x) or "
        "numpy.savez(path, x=x, labels=labels)."
    )
    with one_error(DataError, f"{path} cannot be read as an array of numbers", remedy):
        return _read(path)


def _read(path: Path) -> tuple[Any, Any]:
    check_is_plain(path)
    if not zipfile.is_zipfile(path):
        # mapped, so that a header which promises more than the file holds is refused before memory is taken
        mapped = np.lib.format.open_memmap(path, mode="r")
        check_fits(mapped.nbytes, path, "load fewer rows, or leave them on disk with stream=True (--stream)")
        return mapped, None
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        check_fits(sum(part.file_size for part in archive.zip.infolist()), path)
        if set(archive.files) >= _SPARSE:
            return _sparse(archive), None
        labels = next((archive[key] for key in _LABELS if key in archive.files), None)
        arrays = [key for key in archive.files if key not in _LABELS]
        if "x" not in arrays and len(arrays) != 1:
            raise DataError(
                f"{path} must hold the array 'x', or a single array, beside optional labels; it holds "
                f"{', '.join(archive.files) or 'nothing'}. Save it with "
                "numpy.savez(path, x=x, labels=labels)."
            )
        return archive["x" if "x" in arrays else arrays[0]], labels


def _sparse(archive: Any) -> Any:
    """The matrix of a file that scipy.sparse.save_npz wrote, by rows or columns."""
    sparse: Any = importlib.import_module("scipy.sparse")
    form = str(archive["format"].item(), "ascii") if archive["format"].dtype.kind == "S" else str(archive["format"])
    kinds = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}
    if form not in kinds:
        raise ValueError(f"a sparse matrix in the form {form}; save matrix.tocsr()")
    return kinds[form]((archive["data"], archive["indices"], archive["indptr"]), shape=tuple(archive["shape"]))
