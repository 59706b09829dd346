"""The one door to data: by name, by file or folder, or as an object that holds rows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bayes_vae.data.array_files import ARRAY_SUFFIXES, read_file
from bayes_vae.data.arrays import check_enough, data_of
from bayes_vae.data.computed_rows import computed_data
from bayes_vae.data.data_set import Data, SplitBy
from bayes_vae.data.digits import load_digits
from bayes_vae.data.forms import FORMS_TEXT, raw_data
from bayes_vae.data.image_files import read_image_folder
from bayes_vae.data.kinds import check_kind, policy_for
from bayes_vae.data.missing import separated
from bayes_vae.data.mnist import MNIST_LIKE, load_mnist
from bayes_vae.data.omniglot import load_omniglot
from bayes_vae.data.own_split import as_shares, is_share, split_rows
from bayes_vae.data.policies import check_policy
from bayes_vae.data.raw_data import RawData, joined
from bayes_vae.data.safe_reading import home_expanded, reading
from bayes_vae.data.standardization import Standardization
from bayes_vae.data.stored_rows import NOT_STREAMED, stays_on_disk, stored_file, stored_folder
from bayes_vae.errors import DataError
from bayes_vae.settings import Colour, DataKind, DataSettings, Kind, Policy
from bayes_vae.terms.whole_numbers import switch

__all__ = ["DATA_NAMES", "load_data"]

COLOURS: tuple[Colour, ...] = get_args(Colour)

DATA_NAMES = ("digits", *MNIST_LIKE, "omniglot")


def load_data(
    source: Any = None,
    *,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    root: str | Path | None = None,
    policy: Policy | None = None,
    labels: Any = None,
    missing: Any = None,
    kind: Kind | None = None,
    image_size: int | None = None,
    colour: Colour | None = None,
    standardize: bool | Sequence[str] | Standardization | None = None,
    stream: bool | None = None,
) -> Data:
    """Load a data set, split it, and fix the policy that makes observations of its pixels.

    - By name: ``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, six splits of EMNIST such as ``emnist-letters``,
      ``omniglot``; read from ``root`` in torchvision's layout, downloaded only into the user's cache folder.
    - Rows of any event shape, pixels, zeros and ones, counts or real values: a numpy array, a torch tensor, a list of
      numbers, a pandas DataFrame, a scipy sparse matrix, an AnnData, a torch Dataset or DataLoader; a .csv, .npy, .npz
      or .h5ad file; or a tuple (x, covariates, …) for programs of several tensors.
    - A folder of images, whose sub-folders are the labels.
    - A folder of .npy files, whose rows stay on disk and are read when a batch asks for them; so are those of one .npy
      file with ``stream``. Everything else is as with an array of the same rows.
    - With ``stream``, a torch Dataset, or a DataLoader around it: its items are computed for each batch, by the workers
      of the loader, ahead of training.

    A pair that was trained elsewhere is looked at with the split that it was trained with: rows that training saw,
    taken for test rows, hide overfitting. Give ``load_data(train=mine, test=held_out)``, or places of rows.

    Args:
        source: a name, the path of a file or folder, rows, or :class:`~bayes_vae.settings.DataSettings`, which the
            other arguments override. None where ``train`` and ``test`` are rows.
        train, validation, test: without ``source``, rows in any of its forms, of which validation rows may be left out
            or be a fraction: they are then taken from the training rows, a tenth if nothing is said. With ``source``, a
            fraction, a number of rows, places of rows or a mask each, see :func:`bayes_vae.data.own_split.split_rows`.
        root: folder of the named data sets; else BAYES_VAE_DATA, else the user's cache folder.
        policy: ``stochastic``, ``static``, ``threshold`` or ``none``; when None ``stochastic``, and for counts and
            real values ``none``, the only one that they have.
        labels: one number or word for each row, or the name of a table's column; they colour pictures, and are trained
            on only by models of labels. Not with rows in several parts, which bring theirs.
        missing: which values are missing beside those that are NaN or empty cells: True or 1 there, shape (N, *event)
            or that of one observation. Not with a name, nor with rows in several parts, where they are NaN.
        kind: what the numbers are: ``binary``, ``gray`` (pixels), ``counts``, ``real``, or ``auto``, as
            :func:`bayes_vae.data.kinds.values_of_kind` says; ``counts`` also of the digits, whose pixels are numbers
            of dots.
        image_size: pixels of each side to which a folder's images are brought: the square in the middle of each.
        colour: of a folder's images: ``gray`` or ``rgb``; when None as they are.
        standardize: whether each column of real values is brought to mean 0 and deviation 1 over the training rows, or
            the names of the columns that are;
            :meth:`Data.in_original_units` undoes it.
        stream: whether the rows of an .npy file stay on disk, and the items of a torch Dataset are computed when a
            batch asks for them.

    Returns:
        the data set in three splits; those that nobody chose are always the same.

    Raises:
        DataError: an unknown name, policy or kind, a missing or damaged file, rows that are no data set, NaN, a split
            that cannot be.
        SupportError: values that are not of the kind, that leave it open, or outside the policy's range.

    >>> data = load_data("digits")
    >>> len(data.train), len(data.validation), len(data.test), tuple(data.data_shape)
    (1297, 200, 300, (8, 8))
    >>> own = load_data(train=torch.ones(80, 4), test=torch.ones(30, 4))
    >>> len(own.train), len(own.validation), len(own.test)
    (72, 8, 30)
    """
    if not isinstance(standardize, Standardization | Sequence | None) or isinstance(standardize, str | bytes):
        standardize = switch("standardize", standardize)
    given: dict[str, Any] = {
        "data_root": root,
        "policy": policy,
        "kind": kind,
        "image_size": image_size,
        "colour": colour,
        "standardize": standardize if isinstance(standardize, bool) else None,
        "standardize_columns": tuple(standardize) if isinstance(standardize, list | tuple) else None,
        "stream": switch("stream", stream) if stream is not None else None,
    }
    settings = source if isinstance(source, DataSettings) else DataSettings()
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    check_kind(settings.kind)
    if settings.policy is not None:
        check_policy(settings.policy)
    if settings.colour is not None and settings.colour not in COLOURS:
        raise DataError(f"unknown colour {settings.colour!r}: choose one of {', '.join(COLOURS)}.")
    parts = {"train": train, "validation": validation, "test": test}
    if isinstance(source, DataSettings):
        source, parts = _of_settings(settings, parts)
    if isinstance(source, str | Path) and str(source) in DATA_NAMES:
        data = _load_named(str(source), settings, labels, parts, missing)
    else:
        raw, places, split_by = _split(source, parts, settings, labels)
        if missing is not None and source is None:
            raise DataError("missing= goes with one source: in rows of several parts, missing values are NaN.")
        chosen_columns = settings.standardize_columns or settings.standardize
        scaling = standardize if isinstance(standardize, Standardization) else chosen_columns
        data = data_of(separated(raw, missing), settings.policy, settings.kind, places, split_by, scaling)
    return data if settings.num_labelled is None else data.with_visible_labels(settings.num_labelled)


def _of_settings(settings: DataSettings, parts: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Source and parts, as settings have them: a file and shares of it, or files."""
    own = dict(zip(("train", "validation", "test"), as_shares(settings.split) or (None,) * 3, strict=True))
    parts = {name: own[name] if part is None else part for name, part in parts.items()}
    if settings.test_data is None and settings.validation_data is None:
        return settings.data, parts
    files = {"train": settings.data, "validation": settings.validation_data, "test": settings.test_data}
    return None, {name: parts[name] if file is None else file for name, file in files.items()}


Placed = tuple[RawData, tuple[Tensor, Tensor, Tensor], SplitBy]


def _split(source: Any, parts: Mapping[str, Any], settings: DataSettings, labels: Any) -> Placed:
    """The rows, the places of each part, and who chose them."""
    if source is None:
        return _of_parts(parts, settings, labels)
    raw = _raw(source, settings, labels)
    chosen = any(part is not None for part in parts.values())
    if not chosen and raw.values.ndim and raw.values.size:
        check_enough(len(raw.values))
    count = len(raw.values) if raw.values.ndim else 0
    return raw, split_rows(count, **parts), "caller" if chosen else "load_data"


def _of_parts(parts: Mapping[str, Any], settings: DataSettings, labels: Any) -> Placed:
    """Rows that were brought as training, validation and test rows."""
    train, test = parts["train"], parts["test"]
    if train is None or is_share(train):
        raise DataError(f"load_data needs data: a name, {FORMS_TEXT}; or train= and test= of one of these forms.")
    if test is None:
        raise DataError(
            "train= was given without test=: figures would be of rows that training saw. Give the rows that training "
            "does not see as test=..., or a fraction of these rows, test=0.1, if nobody has trained on them yet."
        )
    if labels is not None and not isinstance(labels, str):
        raise DataError(
            "labels= goes with one source: rows in several parts bring their own, as a column that is named or in "
            "TensorDataset(x, y)."
        )
    brought = [name for name, part in parts.items() if part is not None and not is_share(part)]
    raws = [_raw(parts[name], settings, labels) for name in brought]
    shares = {name: 0 if name in brought else parts[name] for name in ("validation", "test")}
    inside = dict(zip(parts, split_rows(len(raws[0].values), **shares), strict=True))
    inside["train"], start = inside["train"].sort().values, len(raws[0].values)
    for name, raw in list(zip(brought, raws, strict=True))[1:]:
        inside[name] = torch.arange(start, start + len(raw.values))
        start += len(raw.values)
    return joined(raws), (inside["train"], inside["validation"], inside["test"]), "caller"


def _load_named(name: str, settings: DataSettings, labels: Any, parts: Mapping[str, Any], missing: Any) -> Data:
    own_of = {"labels": "labels", "missing": "values, none of which is missing"} | dict.fromkeys(parts, "split")
    given = {
        "labels": labels,
        **parts,
        "missing": missing,
        "standardize": settings.standardize_columns or settings.standardize or None,
    }
    for what, value in given.items():
        if value is not None:
            own = own_of.get(what, "gray pixels, which are in [0, 1]")
            raise DataError(f"the data set {name!r} has its own {own}: give {what} only with an array or a file.")
    kind: DataKind = "counts" if (name, settings.kind) == ("digits", "counts") else "gray"
    if settings.kind not in ("auto", kind):
        also = ", or as 'counts' the numbers of dots" if name == "digits" else ""
        raise DataError(f"the data set {name!r} has gray pixels{also}: give another kind only with an array or a file.")
    root, policy = settings.data_root, policy_for(kind, settings.policy) or "stochastic"
    if name == "digits":
        return load_digits(policy, kind)
    with reading(name):
        return load_mnist(name, root, policy) if name in MNIST_LIKE else load_omniglot(root, policy)


def _raw(source: Any, settings: DataSettings, labels: Any) -> RawData:
    """Rows of an object, a file or a folder."""
    labels = settings.label_column if labels is None else labels
    if isinstance(source, Data):
        raise DataError(
            f"this is a data set already ({source.name!r}): use it as it is, or load_data its source again."
        )
    if not isinstance(source, str | Path):
        if not settings.stream:
            return raw_data(source, labels)
        if not isinstance(source, DataLoader | Dataset):
            raise DataError(NOT_STREAMED.format(type(source).__name__))
        found = computed_data(source)
        return found if labels is None else replace(found, labels=labels, label_names=())
    with reading(source):
        return _from_path(home_expanded(source), settings, labels)


def _from_path(path: Path, settings: DataSettings, labels: Any) -> RawData:
    stays = stays_on_disk(path, settings.stream)
    if stays and isinstance(labels, str):
        raise DataError(f"{path.name} has no column {labels!r} of labels: an .npy file holds numbers alone.")
    if stays:
        stored = stored_folder(path) if path.is_dir() else stored_file(path)
        return RawData(path.name, stored, labels)
    if path.is_dir():
        raw = read_image_folder(path, settings.image_size, settings.colour)
        return raw if labels is None else replace(raw, labels=labels, label_names=())
    if path.suffix.lower() not in ARRAY_SUFFIXES and not path.exists():
        close = difflib.get_close_matches(str(path), DATA_NAMES, 1)
        raise DataError(
            f"unknown data set {str(path)!r}: {f'did you mean {close[0]}? If not, ' if close else ''}choose one of "
            f"{', '.join(DATA_NAMES)}, or the path of a {', '.join(ARRAY_SUFFIXES)} file or of a folder of images."
        )
    return read_file(path, labels)
