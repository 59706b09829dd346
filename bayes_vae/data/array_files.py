"""Reading .npy and .npz files, never a pickle."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bayes_vae.errors import DataError

__all__ = ["ARRAY_SUFFIXES", "read_array_file"]

ARRAY_SUFFIXES = (".npy", ".npz")

_LABELS = ("labels", "y")


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
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError(
            f"{path} is not an array file: expected .npy or .npz, got the suffix {path.suffix!r}. "
            "Save the array with numpy.save(path, x)."
        )
    try:
        return _read(path)
    except DataError:
        raise
    except (
        ValueError,
        OSError,
        EOFError,
        ArithmeticError,
        AttributeError,
        LookupError,
        SyntaxError,
        TypeError,
        tokenize.TokenError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{path} cannot be read as an array of numbers ({error}). Pickled objects are never loaded: "
            "save a plain numeric array again with numpy.save(path, x) or "
            "numpy.savez(path, x=x, labels=labels)."
        ) from error


def _read(path: Path) -> tuple[Any, Any]:
    if not zipfile.is_zipfile(path):
        # mapped, so that a header which promises more than the file holds is refused before memory is taken
        return np.lib.format.open_memmap(path, mode="r"), None
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        labels = next((archive[key] for key in _LABELS if key in archive.files), None)
        arrays = [key for key in archive.files if key not in _LABELS]
        if "x" not in arrays and len(arrays) != 1:
            raise DataError(
                f"{path} must hold the array 'x', or a single array, beside optional labels; it holds "
                f"{', '.join(archive.files) or 'nothing'}. Save it with "
                "numpy.savez(path, x=x, labels=labels)."
            )
        return archive["x" if "x" in arrays else arrays[0]], labels
