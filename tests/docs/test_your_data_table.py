"""The table of docs/your_data.md that says what numbers are taken for: a case for each of its rows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError

PAGE = Path(__file__).parents[2] / "docs" / "your_data.md"
ROWS = 120
RANDOM = np.random.default_rng(0)

CASES = {
    "zeros and ones": [(RANDOM.integers(0, 2, (ROWS, 5)), "binary")],
    "columns with names (a DataFrame, a `.csv` with names)": [
        (pd.DataFrame({"a": RANDOM.normal(size=ROWS), "b": RANDOM.random(ROWS)}), "real"),
        (pd.DataFrame({"a": RANDOM.integers(0, 9, ROWS), "b": RANDOM.integers(0, 9, ROWS)}), None),
    ],
    "floats in [0, 1] in the shape of images (two sides of at least 8, neither over twice the other)": [
        (RANDOM.random((ROWS, 8, 9)), "gray")
    ],
    "floats in [0, 1] of another shape": [(RANDOM.random((ROWS, 30)), None)],
    "other floats": [
        (RANDOM.normal(size=(ROWS, 5)), "real"),
        (RANDOM.integers(0, 9, (ROWS, 5)).astype(float), None),
    ],
    "bytes above 127, integers that reach 255": [(np.tile(np.array([[0, 128, 255, 3]]), (ROWS, 1)), "gray")],
    "other integers": [(RANDOM.integers(0, 9, (ROWS, 5)), None)],
    "colour images": [(RANDOM.integers(0, 256, (ROWS, 3, 8, 8)).astype("uint8"), None)],
}
"""What the row says → data, and the kind that they are taken for; None where it is asked."""


def first_column() -> list[str]:
    """Of the table."""
    table = PAGE.read_text(encoding="utf-8").split("## What the numbers are")[1].split("##")[0]
    return re.findall(r"^\| (?!numbers|---)(.*?) \|", table, re.MULTILINE)


def test_each_row_has_a_case() -> None:
    assert first_column() == list(CASES)


@pytest.mark.parametrize("row", CASES)
def test_the_row_is_true(row: str) -> None:
    for data, kind in CASES[row]:
        if kind is None:
            with pytest.raises(BayesVaeError, match="kind=|policy="):
                bv.load_data(data)
        else:
            assert bv.load_data(data).kind == kind
