"""The handwritten digits that scikit-learn bundles: 1,797 images of 8×8 pixels, no network needed."""

from __future__ import annotations

import torch

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.data.kinds import quantize
from bayes_vae.settings import DataKind, Policy

__all__ = ["load_digits"]

_SIZES = (1297, 200, 300)


def load_digits(policy: Policy, kind: DataKind = "gray") -> Data:
    """Load the digits: 1,297 for training, 200 for validation, 300 for the test.

    A pixel is the number of set dots, 0…16, in a block of 4×4: gray pixels n/16, or as ``counts`` that number.

    Args:
        policy: how pixels become observations; counts have ``none``.
        kind: "gray" or "counts".

    Reference: Alpaydin, Kaynak (1998), "Optical recognition of handwritten digits", UCI repository.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    dots = torch.from_numpy(digits.images)
    values = dots.to(torch.int32) if kind == "counts" else quantize(dots / 16)
    return split_data("digits", values, torch.from_numpy(digits.target).long(), policy, _SIZES, kind)
