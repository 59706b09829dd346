"""The one door to data: by name, by file, or as an array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bayes_vae.data.array_files import ARRAY_SUFFIXES, read_array_file
from bayes_vae.data.arrays import from_array
from bayes_vae.data.data_set import Data
from bayes_vae.data.digits import load_digits
from bayes_vae.data.mnist import FOLDERS, load_mnist
from bayes_vae.data.policies import check_policy
from bayes_vae.errors import DataError
from bayes_vae.settings import DataSettings, Policy

__all__ = ["DATA_NAMES", "load_data"]

DATA_NAMES = ("digits", *FOLDERS)


def load_data(
    source: Any,
    *,
    root: str | Path | None = None,
    policy: Policy | None = None,
    labels: Any = None,
) -> Data:
    """Load a data set, split it, and fix the policy that makes observations of its pixels.

    Args:
        source: ``digits``, ``mnist``, ``fashion-mnist``, the path of an .npy or .npz file, a numpy array or
            torch tensor of shape (N, *event), or :class:`~bayes_vae.settings.DataSettings`. See
            :func:`bayes_vae.data.arrays.as_values` for how numbers are taken.
        root: folder of MNIST and Fashion-MNIST; else BAYES_VAE_DATA, else the user's cache folder.
        policy: ``stochastic``, ``static``, ``threshold`` or ``none``; the settings' own, or ``stochastic``,
            when None.
        labels: one number for each row of an array or file; they colour pictures and are never trained on.

    Returns:
        the data set in three splits, always the same ones.

    Raises:
        DataError: an unknown name or policy, a missing or damaged file, an array that is no data set.
        SupportError: values outside the policy's range.

    >>> data = load_data("digits")
    >>> len(data.train), len(data.validation), len(data.test), tuple(data.data_shape)
    (1297, 200, 300, (8, 8))
    """
    settings = source if isinstance(source, DataSettings) else DataSettings()
    policy = settings.policy if policy is None else policy
    check_policy(policy)
    if isinstance(source, DataSettings):
        source, root = source.data, root or source.data_root
    if isinstance(source, str | Path):
        return _load_named(str(source), root, policy, labels)
    return from_array("array", source, labels, policy)


def _load_named(name: str, root: str | Path | None, policy: Policy, labels: Any) -> Data:
    if name in DATA_NAMES and labels is not None:
        raise DataError(f"the data set {name!r} has its own labels: give labels only with an array or a file.")
    if name == "digits":
        return load_digits(policy)
    if name in FOLDERS:
        return load_mnist(name, root, policy)
    path = Path(name).expanduser()
    if path.suffix.lower() not in ARRAY_SUFFIXES and not path.exists():
        raise DataError(
            f"unknown data set {name!r}: choose one of {', '.join(DATA_NAMES)}, or the path of an .npy or .npz file."
        )
    values, own_labels = read_array_file(path)
    return from_array(path.name, values, own_labels if labels is None else labels, policy)
