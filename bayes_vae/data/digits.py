"""The handwritten digits that scikit-learn bundles: 1,797 images of 8×8 pixels, no network needed."""

from __future__ import annotations

import torch

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.data.kinds import quantize
from bayes_vae.settings import Policy

__all__ = ["load_digits"]

_SIZES = (1297, 200, 300)


def load_digits(policy: Policy) -> Data:
    """Load the digits: 1,297 for training, 200 for validation, 300 for the test.

    Reference: Alpaydin, Kaynak (1998), "Optical recognition of handwritten digits", UCI repository.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    pixels = quantize(torch.from_numpy(digits.images / 16))
    return split_data("digits", pixels, torch.from_numpy(digits.target).long(), policy, _SIZES, "gray")
