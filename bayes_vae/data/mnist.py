"""MNIST and the data sets that come in its file format, in torchvision's own layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.data.folders import find_or_download
from bayes_vae.data.safe_reading import check_fits, check_is_plain
from bayes_vae.data.split import Split
from bayes_vae.errors import DataError
from bayes_vae.settings import Policy

__all__ = ["MNIST_LIKE", "load_mnist"]


@dataclass(frozen=True)
class Source:
    """A data set in MNIST's file format.

    Attributes:
        folder: torchvision's class for it, which is also the name of its folder.
        split: of EMNIST, else empty.
    """

    folder: str
    split: str = ""

    @property
    def parts(self) -> tuple[str, str]:
        """How the names of the training files and of the test files start."""
        return (f"emnist-{self.split}-train", f"emnist-{self.split}-test") if self.split else ("train", "t10k")

    @property
    def files(self) -> list[str]:
        """The four files."""
        return [f"{part}-{kind}-ubyte" for part in self.parts for kind in ("images-idx3", "labels-idx1")]

    def download(self, root: str) -> object:
        """Download into a folder, as torchvision does."""
        from torchvision import datasets

        options: dict[str, Any] = {"split": self.split} if self.split else {}
        return getattr(datasets, self.folder)(root, train=False, download=True, **options)

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the labels stand for, where it is not the number itself."""
        if not self.split:
            return ()
        from torchvision.datasets import EMNIST

        return tuple(EMNIST.classes_split_dict[self.split])


MNIST_LIKE = {
    "mnist": Source("MNIST"),
    "fashion-mnist": Source("FashionMNIST"),
    "kmnist": Source("KMNIST"),
    **{
        f"emnist-{split}": Source("EMNIST", split)
        for split in ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
    },
}
"""Name of a data set → where its files come from. EMNIST has six splits, each a data set of its own."""


def load_mnist(name: str, root: str | Path | None, policy: Policy) -> Data:
    """Load training, validation and test images of 28×28 pixels; of MNIST 55,000, 5,000 and 10,000.

    The validation images are a fixed random twelfth of the original training images; the test images keep
    their order, and are numbered after the training images. EMNIST's images, which are stored on their side, are
    turned upright.

    Args:
        name: a key of ``MNIST_LIKE``.
        root: folder that holds ``MNIST/raw`` and so on; else BAYES_VAE_DATA, else the user's
            cache folder, which is the only one that is ever downloaded into.
        policy: how pixels become observations.

    Raises:
        DataError: files are missing and could not be downloaded, or are damaged.
    """
    source = MNIST_LIKE[name]
    raw = find_or_download(
        root, f"{source.folder}/raw", source.files, lambda folder: _missing(name, source, folder), source.download
    )
    (values, labels), (test_values, test_labels) = (_read(raw, part, source) for part in source.parts)
    count, held_out = len(values), len(values) // 12
    split = split_data(name, values, labels, policy, (count - held_out, held_out, 0), "gray", source.label_names)
    index = torch.arange(count, count + len(test_values))
    test = Split(test_values, test_labels, index, policy)
    return Data(name, split.train, split.validation, test, "gray", source.label_names, split_by="data set")


def _missing(name: str, source: Source, raw: Path) -> str:
    return (
        f"{name} was not found: expected the unzipped files {', '.join(source.files)} in {raw}. Put them there, or "
        "name another folder with --data-root (root= in Python) or the environment variable BAYES_VAE_DATA, "
        "or take the bundled data, which need no files: --data digits."
    )


def _read(raw: Path, part: str, source: Source) -> tuple[Tensor, Tensor]:
    """Images and labels of one part.

    The files are read directly: torchvision's data set classes would prefer an old ``processed``
    folder, and unpickle it.
    """
    from torchvision.datasets import mnist

    try:
        for kind in ("images-idx3", "labels-idx1"):
            check_fits(check_is_plain(raw / f"{part}-{kind}-ubyte"), raw / part)
        images = mnist.read_image_file(str(raw / f"{part}-images-idx3-ubyte"))
        labels = mnist.read_label_file(str(raw / f"{part}-labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
    except Exception as error:  # whatever a parser raises
        reason = " ".join(str(error).split()) or "not in MNIST's file format"
        raise DataError(
            f"the files {part}-* in {raw} are damaged ({reason}). Delete them and put fresh copies there."
        ) from error
    return images.transpose(1, 2).contiguous() if source.split else images, labels
