"""The one door to data: by name, by file or folder, or as an array."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from bayes_vae.data.array_files import ARRAY_SUFFIXES, read_array_file
from bayes_vae.data.arrays import from_array
from bayes_vae.data.data_set import Data
from bayes_vae.data.digits import load_digits
from bayes_vae.data.image_files import read_image_folder
from bayes_vae.data.kinds import check_kind, policy_for
from bayes_vae.data.mnist import MNIST_LIKE, load_mnist
from bayes_vae.data.omniglot import load_omniglot
from bayes_vae.data.policies import check_policy
from bayes_vae.errors import DataError
from bayes_vae.settings import Colour, DataKind, DataSettings, Kind, Policy

__all__ = ["DATA_NAMES", "load_data"]

COLOURS: tuple[Colour, ...] = get_args(Colour)

DATA_NAMES = ("digits", *MNIST_LIKE, "omniglot")


def load_data(
    source: Any,
    *,
    root: str | Path | None = None,
    policy: Policy | None = None,
    labels: Any = None,
    kind: Kind | None = None,
    image_size: int | None = None,
    colour: Colour | None = None,
) -> Data:
    """Load a data set, split it, and fix the policy that makes observations of its pixels.

    - By name: ``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, six splits of EMNIST such as ``emnist-letters``,
      ``omniglot``; read from ``root`` in torchvision's layout, downloaded only into the user's cache folder.
    - An array of any event shape, or an .npy or .npz file of one: pixels, zeros and ones, counts or real values.
    - A folder of images, whose sub-folders are the labels.

    Args:
        source: a name, the path of a file or folder, a numpy array or torch tensor of shape (N, *event), or
            :class:`~bayes_vae.settings.DataSettings`, which the other arguments override.
        root: folder of the named data sets; else BAYES_VAE_DATA, else the user's cache folder.
        policy: ``stochastic``, ``static``, ``threshold`` or ``none``; when None ``stochastic``, and for counts and
            real values ``none``, the only one that they have.
        labels: one number for each row of an array or file; they colour pictures and are never trained on.
        kind: what the numbers of an array are: ``binary``, ``gray`` (pixels), ``counts``, ``real``, or ``auto``, as
            :func:`bayes_vae.data.kinds.values_of_kind` says; ``counts`` also of the digits, whose pixels are numbers
            of dots.
        image_size: pixels of each side to which a folder's images are brought: the square in the middle of each.
        colour: of a folder's images: ``gray`` or ``rgb``.

    Returns:
        the data set in three splits, always the same ones.

    Raises:
        DataError: an unknown name, policy or kind, a missing or damaged file, an array that is no data set, NaN.
        SupportError: values that are not of the kind, or outside the policy's range.

    >>> data = load_data("digits")
    >>> len(data.train), len(data.validation), len(data.test), tuple(data.data_shape)
    (1297, 200, 300, (8, 8))
    """
    given: dict[str, Any] = {
        "data_root": root,
        "policy": policy,
        "kind": kind,
        "image_size": image_size,
        "colour": colour,
    }
    settings = source if isinstance(source, DataSettings) else DataSettings()
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    check_kind(settings.kind)
    if settings.policy is not None:
        check_policy(settings.policy)
    if settings.colour not in COLOURS:
        raise DataError(f"unknown colour {settings.colour!r}: choose one of {', '.join(COLOURS)}.")
    if isinstance(source, DataSettings):
        source = source.data
    named = isinstance(source, str | Path)
    data = (
        _load_named(str(source), settings, labels)
        if named
        else from_array("array", source, labels, settings.policy, settings.kind)
    )
    return data if settings.num_labelled is None else data.with_visible_labels(settings.num_labelled)


def _load_named(name: str, settings: DataSettings, labels: Any) -> Data:
    if name not in DATA_NAMES:
        return _load_path(Path(name).expanduser(), settings, labels)
    if labels is not None:
        raise DataError(f"the data set {name!r} has its own labels: give labels only with an array or a file.")
    kind: DataKind = "counts" if (name, settings.kind) == ("digits", "counts") else "gray"
    if settings.kind not in ("auto", kind):
        also = ", or as 'counts' the numbers of dots" if name == "digits" else ""
        raise DataError(f"the data set {name!r} has gray pixels{also}: give another kind only with an array or a file.")
    root, policy = settings.data_root, policy_for(kind, settings.policy)
    if name in MNIST_LIKE:
        return load_mnist(name, root, policy)
    return load_digits(policy, kind) if name == "digits" else load_omniglot(root, policy)


def _load_path(path: Path, settings: DataSettings, labels: Any) -> Data:
    policy, kind = settings.policy, settings.kind
    if path.is_dir():
        pixels, own_labels, names = read_image_folder(path, settings.image_size, settings.colour)
        chosen, names = (own_labels, names) if labels is None else (labels, ())
        return from_array(path.resolve().name, pixels, chosen, policy, "gray" if kind == "auto" else kind, names)
    if path.suffix.lower() not in ARRAY_SUFFIXES and not path.exists():
        close = difflib.get_close_matches(str(path), DATA_NAMES, 1)
        raise DataError(
            f"unknown data set {str(path)!r}: {f'did you mean {close[0]}? If not, ' if close else ''}choose one of "
            f"{', '.join(DATA_NAMES)}, or the path of an .npy or .npz file or of a folder of images."
        )
    values, own_labels = read_array_file(path)
    return from_array(path.name, values, own_labels if labels is None else labels, policy, kind)
