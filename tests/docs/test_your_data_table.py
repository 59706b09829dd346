"""The tables of docs/your_data.md: what each form of input, and what numbers, are taken for; a case for each row."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

import bayes_vae as bv
from bayes_vae.data.stored_rows import StoredValues
from bayes_vae.errors import BayesVaeError, DataError

PAGE = Path(__file__).parents[2] / "docs" / "your_data.md"
ROWS = 120
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(ROWS, 3)).astype("float32")
COUNTS = RANDOM.poisson(0.7, (ROWS, 3))
CLASSES = np.arange(ROWS) % 3
Folder = Path
Patch = pytest.MonkeyPatch


def first_column(heading: str) -> list[str]:
    """Of the table under a heading."""
    table = PAGE.read_text(encoding="utf-8").split(f"## {heading}")[1].split("\n## ")[0]
    return re.findall(r"^\| (?!numbers|what you bring|---)((?:\\\||[^|])*?) \|", table, re.MULTILINE)


def rows_of(data: Any, name: str = "values") -> Any:
    """The values of all rows, in the order in which they were brought."""
    splits = data.train, data.validation, data.test
    return torch.cat([getattr(split, name) for split in splits])[torch.cat([split.index for split in splits]).argsort()]


def holds(data: Any, values: np.ndarray = TABLE, labels: Any = None) -> bool:
    """Whether a data set has these rows, and these labels or none, in three splits."""
    told = data.train.labels is None if labels is None else rows_of(data, "labels").tolist() == list(labels)
    return bool(torch.equal(rows_of(data).double(), torch.as_tensor(values).double())) and told


def a_name(folder: Folder, patch: Patch) -> None:
    data = bv.load_data("digits")
    assert (len(data.train), len(data.validation), len(data.test)) == (1297, 200, 300)
    assert data.test.labels.unique().tolist() == list(range(10))


def an_array(folder: Folder, patch: Patch) -> None:
    for event in ((3,), (1, 3), (3, 1, 1)):
        assert holds(bv.load_data(TABLE.reshape(ROWS, *event)), TABLE.reshape(ROWS, *event))
    assert holds(bv.load_data(torch.from_numpy(TABLE)))
    assert holds(bv.load_data(TABLE.tolist()))


def a_frame(folder: Folder, patch: Patch) -> None:
    frame = pd.DataFrame(TABLE / 10 + 0.5, columns=["a", "b", "c"]).clip(0, 1)  # no pixels, though in [0, 1]
    data = bv.load_data(frame)
    assert (data.columns, data.kind, data.policy) == (("a", "b", "c"), "real", "none")
    frame["kind"] = np.array(["x", "y", "z"])[CLASSES]
    with pytest.raises(DataError, match="'kind'"):
        bv.load_data(frame)
    assert bv.load_data(frame, labels="kind").label_names == ("x", "y", "z")


def a_masked_array(folder: Folder, patch: Patch) -> None:
    mask = RANDOM.random(TABLE.shape) < 0.2
    mask[mask.all(1)] = False
    data = bv.load_data(np.ma.MaskedArray(TABLE, mask))
    assert torch.equal(rows_of(data, "missing"), torch.from_numpy(mask))


def a_sparse_matrix(folder: Folder, patch: Patch) -> None:
    data = bv.load_data(sparse.csr_matrix(COUNTS))
    assert data.kind == "counts"
    assert holds(data, COUNTS)
    assert holds(bv.load_data(sparse.csc_array(TABLE)))
    assert holds(bv.load_data(torch.from_numpy(TABLE).to_sparse()))


def annotated(folder: Folder, patch: Patch) -> None:
    """By what the package anndata has of such data, since it is no part of the tests' environment."""
    kind = type("AnnData", (SimpleNamespace,), {"__module__": "anndata._core.anndata"})
    names, obs = pd.Index(["g1", "g2", "g3"]), pd.DataFrame({"cell": np.array(["x", "y", "z"])[CLASSES]})
    cells = kind(X=sparse.csr_matrix(COUNTS), var_names=names, obs=obs, layers={"counts": sparse.csr_matrix(COUNTS)})
    data = bv.load_data(cells, labels="cell")
    assert (data.columns, data.kind, data.label_names) == (("g1", "g2", "g3"), "counts", ("x", "y", "z"))
    assert holds(bv.load_data(cells.layers["counts"]), COUNTS)
    (folder / "cells.h5ad").touch()
    patch.setitem(sys.modules, "anndata", None)
    with pytest.raises(DataError, match="needs the package anndata"):
        bv.load_data(folder / "cells.h5ad")
    package: Any = ModuleType("anndata")
    package.read_h5ad = lambda path: cells
    patch.setitem(sys.modules, "anndata", package)
    assert holds(bv.load_data(folder / "cells.h5ad", labels="cell"), COUNTS, CLASSES)


def a_table_file(folder: Folder, patch: Patch) -> None:
    for mark, suffix in ((",", "csv"), (";", "csv"), ("\t", "tsv")):
        lines = [mark.join(map(str, row)) for row in TABLE.tolist()]
        file = folder / f"table.{suffix}"
        file.write_text("\n".join(lines))
        assert holds(bv.load_data(file, kind="real"))
        file.write_text("\n".join([mark.join(["a", "b", "kind"]), *lines]))
        named = bv.load_data(file, labels="kind")
        assert named.columns == ("a", "b")
        assert holds(named, TABLE[:, :2], rows_of(named, "labels").tolist())


def an_array_file(folder: Folder, patch: Patch) -> None:
    np.save(folder / "x.npy", TABLE)
    np.savez(folder / "only.npz", whatever=TABLE)
    np.savez(folder / "named.npz", x=TABLE, y=CLASSES, other=COUNTS)
    sparse.save_npz(folder / "sparse.npz", sparse.csr_matrix(COUNTS))
    np.save(folder / "pickle.npy", np.array([{}] * ROWS), allow_pickle=True)
    assert holds(bv.load_data(folder / "x.npy"))
    assert holds(bv.load_data(folder / "only.npz"))
    assert holds(bv.load_data(folder / "named.npz"), labels=CLASSES)
    assert holds(bv.load_data(folder / "sparse.npz"), COUNTS)
    with pytest.raises(DataError, match="pickle"):
        bv.load_data(folder / "pickle.npy")


def a_folder_of_arrays(folder: Folder, patch: Patch) -> None:
    for number, rows in enumerate(np.array_split(TABLE, 12)):
        np.save(folder / f"shard-{number}.npy", rows)
    data = bv.load_data(folder)
    assert isinstance(data.train.values, StoredValues)
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.observations(), torch.from_numpy(TABLE)[split.index].float())
    np.save(folder.parent / "one.npy", TABLE)
    assert isinstance(bv.load_data(folder.parent / "one.npy", stream=True).train.values, StoredValues)


def a_folder(folder: Folder, patch: Patch) -> None:
    pixels = RANDOM.integers(0, 256, (24, 8, 9, 3)).astype("uint8")
    for number, image in enumerate(pixels):
        place = folder / ("cat" if number % 2 else "dog")
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")
    data = bv.load_data(folder, policy="none")
    assert (data.data_shape, data.kind, data.label_names) == ((3, 8, 9), "gray", ("cat", "dog"))
    assert bv.load_data(folder, colour="gray").data_shape == (8, 9)


class Noisy(Dataset[Any]):
    """Rows with noise that is drawn anew at each read."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> Any:
        return torch.from_numpy(TABLE[row]) + torch.randn(3)


class Named(Dataset[Any]):
    """Rows as dicts."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> Any:
        return {"label": int(CLASSES[row]), "image": torch.from_numpy(TABLE[row])}


def a_data_set(folder: Folder, patch: Patch) -> None:
    x, y = torch.from_numpy(TABLE), torch.from_numpy(CLASSES)
    assert holds(bv.load_data(TensorDataset(x)))
    assert holds(bv.load_data(TensorDataset(x, y)), labels=CLASSES)
    assert holds(bv.load_data(Named()), labels=CLASSES)
    beside = bv.load_data(TensorDataset(x, x.sum(1)))
    assert beside.test.labels is None
    torch.testing.assert_close(beside.test.beside[0], beside.test.values.sum(1))
    drawn = bv.load_data(Noisy())
    assert drawn.policy == "as the loader gives"
    first, second = (drawn.train.training_batch(torch.arange(5), torch.Generator().manual_seed(n)) for n in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(drawn.test.observations(), drawn.test.observations())


def a_loader(folder: Folder, patch: Patch) -> None:
    rows = TensorDataset(torch.from_numpy(TABLE))
    assert holds(bv.load_data(DataLoader(rows, 7, shuffle=True, drop_last=True)))
    chosen = bv.load_data(DataLoader(rows, 7, sampler=SubsetRandomSampler(range(50))))
    assert sorted(rows_of(chosen)[:, 0].tolist()) == sorted(TABLE[:50, 0].tolist())
    doubled = DataLoader(rows, 7, collate_fn=lambda items: 2 * torch.stack([item[0] for item in items]))
    assert holds(bv.load_data(doubled), 2 * TABLE)


def a_tuple(folder: Folder, patch: Patch) -> None:
    data = bv.load_data((TABLE, CLASSES, TABLE.sum(1)))
    x, classes, total = data.test.rows_for(lambda x, classes, total: None).read()
    torch.testing.assert_close(x.sum(1), total)
    assert classes.tolist() == CLASSES[data.test.index].tolist()


FORMS: dict[str, Callable[[Folder, Patch], None]] = {
    'a name: `"digits"`, `"mnist"`, …': a_name,
    "a numpy array, a torch tensor, a list of numbers": an_array,
    "a pandas `DataFrame`": a_frame,
    "a numpy masked array": a_masked_array,
    "a scipy sparse matrix, a sparse tensor": a_sparse_matrix,
    "an `AnnData`, a `.h5ad` file (needs the package anndata)": annotated,
    "a `.csv` or `.tsv` file": a_table_file,
    "a `.npy` or `.npz` file": an_array_file,
    "a folder of `.npy` files": a_folder_of_arrays,
    "a folder of images": a_folder,
    "a torch `Dataset`, also torchvision's": a_data_set,
    "a `DataLoader`": a_loader,
    "a tuple (x, covariates, …)": a_tuple,
}
"""What the row says → that it is so."""


NUMBERS = {
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


@pytest.mark.parametrize(
    ("heading", "cases"), [("What happens to what you bring", FORMS), ("What the numbers are", NUMBERS)]
)
def test_each_row_has_a_case(heading: str, cases: dict[str, Any]) -> None:
    assert first_column(heading) == list(cases)


@pytest.mark.parametrize("row", FORMS)
def test_the_form_is_taken_for_what_its_row_says(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMS[row](tmp_path, monkeypatch)


@pytest.mark.parametrize("row", NUMBERS)
def test_the_row_of_numbers_is_true(row: str) -> None:
    for data, kind in NUMBERS[row]:
        if kind is None:
            with pytest.raises(BayesVaeError, match="kind=|policy="):
                bv.load_data(data)
        else:
            assert bv.load_data(data).kind == kind
