"""A data set for a pair: as it is, or of rows that are given to the pair as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bayes_vae.data.arrays import check_enough, data_of
from bayes_vae.data.data_set import Data
from bayes_vae.data.forms import FORMS_TEXT, raw_data
from bayes_vae.data.missing import separated
from bayes_vae.data.own_split import split_rows
from bayes_vae.data.split import Split
from bayes_vae.errors import DataError, SupportError
from bayes_vae.parts.part import DataKind, Part
from bayes_vae.terms.traits import Program, traits_of

__all__ = ["as_data"]


def as_data(data: Any, model: Program, user: str) -> Data:
    """A data set, or rows as a pair takes them: nothing is drawn of them, scaled or binarized.

    Args:
        data: from :func:`bayes_vae.load_data`; or rows in one of its forms other than a path, such as a tensor, a
            tuple (x, covariates, …), a DataFrame or a DataLoader, which are split at random.
        model: what takes them; its likelihood says what their numbers are.
        user: what asks for them, for the messages.

    Raises:
        DataError: no rows, or a name.
        SupportError: bytes that may be pixels or counts.
    """
    if isinstance(data, Data):
        return data
    if isinstance(data, str | Path):
        raise DataError(f"{user} takes data, not their name: pass load_data({str(data)!r}).")
    if isinstance(data, Split):
        raise DataError(
            f"{user} takes a whole data set, of which it uses training and test rows, got the rows of one split. Pass "
            "the data set itself, or load_data(train=..., test=...) of tensors."
        )
    try:
        raw = separated(raw_data(data))
    except DataError as error:
        raise DataError(f"{user} takes a data set of load_data(...), or its rows: {FORMS_TEXT}. {error}") from error
    if raw.values.ndim and raw.values.size:
        check_enough(len(raw.values))
    part = getattr(traits_of(model).likelihood_family, "part", None)
    count = len(raw.values) if raw.values.ndim else 0
    assert isinstance(raw.values, np.ndarray)  # rows stay on disk in files alone
    return data_of(raw, "none", _kind_as_given(raw.values, part), split_rows(count), "load_data")


def _kind_as_given(numbers: np.ndarray, likelihood: Part | None) -> DataKind:
    """What numbers are that a likelihood takes as they are: the first of its kinds that they can be."""
    if numbers.dtype == np.uint8 and numbers.size and numbers.max() > 1:
        raise SupportError(
            f"bytes in 0…{numbers.max()} may be pixels, which are n/255, or counts. Pass load_data(x, policy=...) "
            "of pixels, load_data(x, kind='counts') for counts, or floats as the pair takes them."
        )
    fits: dict[DataKind, bool] = {
        "binary": bool(((numbers == 0) | (numbers == 1)).all()),
        "counts": bool(((numbers >= 0) & (numbers == np.round(numbers))).all()),
        "gray": numbers.dtype.kind == "f" and bool(((numbers >= 0) & (numbers <= 1)).all()),
        "real": True,
    }
    for kind, holds in fits.items():
        wanted = likelihood is None and (kind != "gray") and (kind != "counts" or numbers.dtype.kind != "f")
        if holds and (wanted or (likelihood is not None and kind in likelihood.data_kinds)):
            return kind
    return next(kind for kind, holds in fits.items() if holds)
