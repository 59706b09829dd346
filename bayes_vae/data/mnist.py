"""MNIST and Fashion-MNIST, in torchvision's own file layout."""

from __future__ import annotations

import os
import platform
import tempfile
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.data.split import Split
from bayes_vae.errors import DataError
from bayes_vae.settings import Policy

__all__ = ["FOLDERS", "cache_folder", "load_mnist"]

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
"""Name of a data set → torchvision's class for it, which is also the name of its folder."""

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load_mnist(name: str, root: str | Path | None, policy: Policy) -> Data:
    """Load 55,000 training, 5,000 validation and 10,000 test images of 28×28 pixels.

    The validation images are a fixed random twelfth of the original training images; the test images keep
    their order, and are numbered after the training images.

    Args:
        name: ``mnist`` or ``fashion-mnist``.
        root: folder that holds ``MNIST/raw`` or ``FashionMNIST/raw``; else BAYES_VAE_DATA, else the user's
            cache folder, which is the only one that is ever downloaded into.
        policy: how pixels become observations.

    Raises:
        DataError: files are missing and could not be downloaded, or are damaged.
    """
    given = root or os.environ.get("BAYES_VAE_DATA")
    folder = Path(given).expanduser() if given else cache_folder()
    raw = folder / FOLDERS[name] / "raw"
    if not all((raw / file).is_file() for file in _FILES):
        if given:
            raise DataError(_missing(name, raw))
        _download(name, folder)
    values, labels = _read(raw, "train")
    test_values, test_labels = _read(raw, "t10k")
    count, held_out = len(values), len(values) // 12
    split = split_data(name, values, labels, policy, (count - held_out, held_out, 0))
    index = torch.arange(count, count + len(test_values))
    return Data(name, split.train, split.validation, Split(test_values, test_labels, index, policy))


def cache_folder() -> Path:
    """The user's cache folder for this library, as the platform has it."""
    system = platform.system()
    if system == "Windows":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif system == "Darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "bayes_vae"


def _missing(name: str, raw: Path) -> str:
    return (
        f"{name} was not found: expected the unzipped files {', '.join(_FILES)} in {raw}. Put them there, or "
        "name another folder with --data-root (root= in Python) or the environment variable BAYES_VAE_DATA, "
        "or take the bundled data, which need no files: --data digits."
    )


def _download(name: str, folder: Path) -> None:
    """Download into a temporary folder first, so that an interrupted download leaves no half file behind."""
    from torchvision import datasets

    raw = folder / FOLDERS[name] / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            getattr(datasets, FOLDERS[name])(temporary, train=False, download=True)
            for file in _FILES:
                os.replace(Path(temporary) / FOLDERS[name] / "raw" / file, raw / file)
    except (RuntimeError, OSError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{_missing(name, raw)} Downloading it failed: {reason}") from error


def _read(raw: Path, part: str) -> tuple[Tensor, Tensor]:
    """Images and labels of one part.

    The files are read directly: torchvision's data set classes would prefer an old ``processed``
    folder, and unpickle it.
    """
    from torchvision.datasets import mnist

    try:
        images = mnist.read_image_file(str(raw / f"{part}-images-idx3-ubyte"))
        labels = mnist.read_label_file(str(raw / f"{part}-labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
    except (AssertionError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or "not in MNIST's file format"
        raise DataError(
            f"the files {part}-* in {raw} are damaged ({reason}). Delete them and put fresh copies there."
        ) from error
    return images, labels
