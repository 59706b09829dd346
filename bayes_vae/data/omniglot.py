"""Omniglot: handwritten characters of 50 alphabets, in torchvision's own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.data.folders import find_or_download
from bayes_vae.data.image_files import open_image
from bayes_vae.errors import DataError
from bayes_vae.settings import Policy

__all__ = ["load_omniglot"]

_PARTS = ("images_background", "images_evaluation")
_SIZE = 28
_DRAWINGS = 20
"""Of each character, by as many people."""


def load_omniglot(root: str | Path | None, policy: Policy) -> Data:
    """Load Omniglot as images of 28×28 pixels, white on black, labelled by alphabet.

    The two parts of the original are put together: 32,460 drawings of 105×105 pixels. Each is inverted, so that ink
    is 1, and brought to 28×28 by the mean over the area of each new pixel. A fixed random quarter is the test set and
    a fixed random 24th the validation set, so the test has other drawings of the same characters. Models of
    images are usually compared on such a split; the file that Burda et al. used has 24,345 and 8,070 drawings and was
    made smaller in another way, so figures are near theirs and not comparable to the last nat.

    Args:
        root: folder that holds ``omniglot-py``; else BAYES_VAE_DATA, else the user's cache folder.
        policy: how pixels become observations.

    Raises:
        DataError: folders are missing and could not be downloaded, or are damaged.

    Reference: Lake, Salakhutdinov, Tenenbaum (2015), "Human-level concept learning through probabilistic program
    induction"; Burda, Grosse, Salakhutdinov (2016), section 5.
    """
    folder = find_or_download(root, "omniglot-py", _PARTS, _missing, _download)
    alphabets = sorted(path for part in _PARTS for path in (folder / part).iterdir() if path.is_dir())
    images, labels = [], []
    for label, alphabet in enumerate(alphabets):
        for character in sorted(path for path in alphabet.iterdir() if path.is_dir()):
            files = sorted(character.glob("*.png"))
            if len(files) != _DRAWINGS:
                raise DataError(
                    f"omniglot is damaged: {character} holds {len(files)} drawings, expected {_DRAWINGS}. Delete "
                    f"{folder} and put a fresh copy there."
                )
            images += [_small(file) for file in files]
            labels += [label] * len(files)
    if len(images) < 24:
        raise DataError(f"omniglot is damaged: {folder} holds {len(images)} drawings. {_missing(folder)}")
    count = len(images)
    sizes = (count - count // 4 - count // 24, count // 24, count // 4)
    values, names = torch.from_numpy(np.stack(images)), tuple(alphabet.name for alphabet in alphabets)
    return split_data("omniglot", values, torch.tensor(labels), policy, sizes, "gray", names)


def _small(file: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    ink = ImageOps.invert(open_image(file, "L"))
    return np.asarray(ink.resize((_SIZE, _SIZE), Image.Resampling.BOX))


def _missing(folder: Path) -> str:
    return (
        f"omniglot was not found: expected the folders {' and '.join(_PARTS)} in {folder}, each with ALPHABET/"
        "CHARACTER/*.png as in the archives of the same names. Put them there, or name another folder with "
        "--data-root (root= in Python) or the environment variable BAYES_VAE_DATA."
    )


def _download(root: str) -> None:
    from torchvision.datasets import Omniglot

    for background in (True, False):
        Omniglot(root, background=background, download=True)
    for archive in (Path(root) / "omniglot-py").glob("*.zip"):
        archive.unlink()
