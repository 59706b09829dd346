"""The forms in which people hold data: each is taken as what it is, or the message says what to do."""

import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from bayes_vae.data import as_data, load_data
from bayes_vae.errors import DataError, ProgramError, SupportError

pytestmark = pytest.mark.libraries

TABLE = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
COUNTS = np.random.default_rng(0).poisson(0.7, (40, 5))
CLASSES = np.arange(40) % 3


def all_of(data, name="values"):
    """The values of all rows, in the order of the original data set."""
    splits = (data.train, data.validation, data.test)
    order = torch.cat([split.index for split in splits]).argsort()
    return torch.cat([getattr(split, name) for split in splits])[order]


def frame(**columns):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(columns)


def test_a_list_is_an_array():
    assert torch.equal(all_of(load_data(TABLE.tolist(), kind="real")), torch.from_numpy(TABLE))


def test_sparse_tensors_are_made_dense():
    data = load_data(torch.from_numpy(COUNTS).to_sparse(), kind="counts")
    assert torch.equal(all_of(data), torch.from_numpy(COUNTS).int())


def test_named_columns_are_a_table_also_in_0_to_1():
    """What a min–max scaler made is not a picture."""
    data = load_data(frame(a=np.linspace(0, 1, 40), b=np.linspace(1, 0, 40) ** 2))
    assert (data.kind, data.policy, data.columns) == ("real", "none", ("a", "b"))
    assert torch.equal(all_of(data)[:, 0], torch.linspace(0, 1, 40, dtype=torch.float64).float())
    assert data.summary()["columns"] == ["a", "b"]


def test_integers_in_named_columns_are_not_pixels():
    ages = frame(age=np.arange(216, 256), rooms=np.arange(40))
    with pytest.raises(SupportError, match=r"whole numbers in 0…255, in columns with names. Say .* or kind='gray'"):
        load_data(ages)
    assert load_data(ages, kind="counts").kind == "counts"


def test_numbered_columns_are_an_array():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(SupportError, match="gray pixels or a scaled table"):
        load_data(pandas.DataFrame(np.random.default_rng(0).random((40, 3))))


def test_a_column_of_labels_by_name():
    table = frame(a=TABLE[:, 0], species=np.array(["wolf", "cat", "dog"])[CLASSES], b=TABLE[:, 1])
    data = load_data(table, labels="species")
    assert (data.columns, data.label_names) == (("a", "b"), ("cat", "dog", "wolf"))
    assert all_of(data, "labels").tolist() == [[2, 0, 1][number] for number in CLASSES]
    with pytest.raises(DataError, match="the columns 'species' hold text or dates, not numbers.*labels=COLUMN"):
        load_data(table)
    with pytest.raises(DataError, match="no column 'kind' of labels: their columns are a, species, b"):
        load_data(table, labels="kind")


def test_columns_of_several_kinds_become_floats():
    data = load_data(frame(yes=CLASSES > 0, count=CLASSES, size=TABLE[:, 0]), kind="real")
    expected = np.stack([CLASSES > 0, CLASSES, TABLE[:, 0]], 1).astype(np.float32)
    assert torch.equal(all_of(data), torch.from_numpy(expected))


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_matrix"])
def test_sparse_whole_numbers_are_counts(form, tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    matrix = getattr(sparse, form)(COUNTS)
    data = load_data(matrix)
    assert (data.kind, data.policy) == ("counts", "none")
    assert torch.equal(all_of(data), torch.from_numpy(COUNTS).int())
    sparse.save_npz(tmp_path / "cells.npz", matrix.tocsr())
    assert load_data(tmp_path / "cells.npz").digest == data.digest


def test_what_numpy_makes_of_a_sparse_matrix_or_a_loader_is_what_it_holds():
    sparse = pytest.importorskip("scipy.sparse")
    matrix, loader = sparse.csr_matrix(COUNTS), DataLoader(TensorDataset(torch.from_numpy(TABLE)), 8)
    for held in (matrix, loader):
        wrapped = np.asarray(held, dtype=object)
        assert wrapped.shape == ()
        assert load_data(wrapped).digest == load_data(held).digest


def test_annotated_cells(monkeypatch, tmp_path):
    """As of the package anndata: X, var_names, and labels in obs."""
    sparse, pandas = pytest.importorskip("scipy.sparse"), pytest.importorskip("pandas")
    package = ModuleType("anndata")

    class AnnData(SimpleNamespace):
        pass

    AnnData.__module__ = "anndata._core.anndata"
    cells = AnnData(
        X=sparse.csr_matrix(COUNTS),
        var_names=pandas.Index([f"gene{i}" for i in range(5)]),
        obs=pandas.DataFrame({"kind": np.array(["b", "t", "nk"])[CLASSES]}),
    )
    data = load_data(cells, labels="kind")
    assert (data.kind, data.columns[1], data.label_names) == ("counts", "gene1", ("b", "nk", "t"))
    with pytest.raises(DataError, match="no column 'tissue' in obs: it has kind"):
        load_data(cells, labels="tissue")
    (tmp_path / "cells.h5ad").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(DataError, match="needs the package anndata. Install it: pip install anndata"):
        load_data(tmp_path / "cells.h5ad")
    package.read_h5ad = lambda path: cells
    monkeypatch.setitem(sys.modules, "anndata", package)
    assert load_data(tmp_path / "cells.h5ad").digest == data.digest


CSV = {
    "commas and names": "a,b,kind\n" + "".join(f"{row[0]},{row[1]},k{n % 3}\n" for n, row in enumerate(TABLE)),
    "semicolons, a mark of the encoding": "\ufeffa;b;kind\r\n"
    + "".join(f"{row[0]};{row[1]};k{n % 3}\r\n" for n, row in enumerate(TABLE)),
    "tabs, quotes": '"a"\t"b"\t"kind"\n' + "".join(f'{row[0]}\t{row[1]}\t"k{n % 3}"\n' for n, row in enumerate(TABLE)),
}


@pytest.mark.parametrize("case", CSV)
def test_tables_in_files(case, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(CSV[case], encoding="utf-8", newline="")
    data = load_data(path, labels="kind")
    assert (data.name, data.kind, data.columns, data.label_names) == (
        "table.csv",
        "real",
        ("a", "b"),
        ("k0", "k1", "k2"),
    )
    assert torch.equal(all_of(data), torch.from_numpy(TABLE[:, :2]))
    assert all_of(data, "labels").tolist() == CLASSES.tolist()


def test_a_file_without_names_is_an_array(tmp_path):
    np.savetxt(tmp_path / "plain.csv", COUNTS, fmt="%d", delimiter=",")
    data = load_data(tmp_path / "plain.csv", kind="counts")
    assert data.columns == ()
    assert torch.equal(all_of(data), torch.from_numpy(COUNTS).int())


BAD_FILES = {
    "": "holds no rows",
    "a,b\n": "holds no rows",
    "a,b\n1,2\n3\n": "line 3 has 1 cells, the first 2",
    "a,a\n1,2\n": "two columns have one name",
    "a,b\n1,x\n": "the columns 'b' hold text or dates.*--label-column COLUMN",
    ",a\n0,1.5\n1,2.5\n": "the first column has no name and numbers the rows.*index=False",
    "a,b\n" + "1.5,2\n" * 12 + ",NA\n": r"of 1 row\(s\) every value is missing, the first is row 12",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_files_that_are_no_table(text, tmp_path):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=BAD_FILES[text]):
        load_data(tmp_path / "bad.csv", kind="real")
    with pytest.raises(DataError, match="no such file"):
        load_data(tmp_path / "none.csv")
    with pytest.raises(DataError, match="has no column 'c': its columns are|holds no rows|line 3|two columns"):
        load_data(tmp_path / "bad.csv", labels="c")


class Noisy(Dataset):
    """Rows with noise from torch, numpy and Python, drawn anew at each read; some have labels."""

    def __len__(self):
        return 40

    def __getitem__(self, row):
        noise = torch.randn(3) + np.random.rand()  # noqa: NPY002 + random.random()
        return torch.from_numpy(TABLE[row]) + noise, int(CLASSES[row])


def test_a_data_set_of_pairs_has_labels():
    data = load_data(TensorDataset(torch.from_numpy(TABLE), torch.from_numpy(CLASSES)))
    assert (data.name, data.kind, data.policy) == ("TensorDataset", "real", "none")
    assert torch.equal(all_of(data), torch.from_numpy(TABLE))
    assert all_of(data, "labels").tolist() == CLASSES.tolist()


def test_a_loader_gives_the_rows_of_its_data_set_whatever_its_order():
    rows = TensorDataset(torch.from_numpy(TABLE))
    for options in ({}, {"shuffle": True}, {"shuffle": True, "drop_last": True}):
        data = load_data(DataLoader(rows, batch_size=7, **options))
        assert torch.equal(all_of(data), torch.from_numpy(TABLE))


def test_a_loader_that_chooses_or_stacks_its_rows_is_read_once():
    rows = TensorDataset(torch.from_numpy(TABLE))
    chosen = load_data(DataLoader(rows, batch_size=7, sampler=SubsetRandomSampler(range(5, 25))))
    assert sorted(all_of(chosen)[:, 0].tolist()) == sorted(TABLE[5:25, 0].tolist())
    doubled = DataLoader(rows, batch_size=7, collate_fn=lambda items: 2 * torch.stack([item[0] for item in items]))
    assert torch.equal(all_of(load_data(doubled)), 2 * torch.from_numpy(TABLE))


def test_own_loaders_are_an_own_split():
    rows = TensorDataset(torch.from_numpy(TABLE))
    loaders = {
        name: DataLoader(Subset(rows, range(*ends)), 7) for name, ends in (("train", (0, 25)), ("test", (25, 40)))
    }
    data = load_data(**loaders, validation=5)
    assert (len(data.train), len(data.validation), len(data.test), data.split_by) == (20, 5, 15, "caller")
    assert torch.equal(data.test.values, torch.from_numpy(TABLE[25:]))


def test_items_by_name():
    rows = [
        {"image": torch.from_numpy(row), "label": int(n), "total": row.sum()}
        for row, n in zip(TABLE, CLASSES, strict=True)
    ]

    class Named(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, row):
            return rows[row]

    data = load_data(Named())
    assert torch.equal(all_of(data), torch.from_numpy(TABLE))
    assert all_of(data, "labels").tolist() == CLASSES.tolist()
    torch.testing.assert_close(data.test.beside[0], data.test.values.sum(1))
    for row in rows:
        row["voxels"] = row.pop("image")
    with pytest.raises(
        DataError, match="dicts with 'label', 'total', 'voxels': which is x is known by one of the names x,"
    ):
        load_data(Named())


def test_torchvision_data_sets_with_and_without_transforms(isolated_globals):
    datasets, transforms = pytest.importorskip("torchvision.datasets"), pytest.importorskip("torchvision.transforms")
    plain = datasets.FakeData(12, (3, 8, 8), 2)
    plain.classes = ["cat", "dog"]
    data = load_data(plain, policy="none")
    assert (data.data_shape, data.kind, data.label_names) == ((3, 8, 8), "gray", ("cat", "dog"))
    scaled = load_data(datasets.FakeData(12, (3, 8, 8), 2, transform=transforms.ToTensor()), policy="none")
    torch.testing.assert_close(scaled.test.observations(), data.test.observations())


def test_transforms_that_draw_run_anew_in_training_and_not_in_evaluation():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    data = load_data(DataLoader(Noisy(), 8))
    rows, generator = torch.arange(4), torch.Generator()
    first, second = data.train.training_batch(rows, generator), data.train.training_batch(rows, generator)
    assert (data.policy, data.kind) == ("as the loader gives", "real")
    clean = torch.from_numpy(TABLE)[data.train.index[:4]]
    assert not torch.equal(first, second)
    assert (first - clean).abs().max() < 8
    again = data.train.training_batch(rows, torch.Generator())
    assert torch.equal(first, again), "the batch generator's state decides, so that a training can be resumed"
    assert torch.equal(data.test.observations(), load_data(Noisy()).test.observations())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    with pytest.raises(DataError, match="draw at random each time a row is read, and the policy 'static' would"):
        load_data(Noisy(), policy="static")


BAD_DATA_SETS = {
    "no length": (type("Endless", (Dataset,), {"__getitem__": lambda self, row: torch.ones(2)})(), "has no length"),
    "no rows": (TensorDataset(torch.ones(0, 2)), "the data are empty"),
    "an iterable": (
        type("Stream", (IterableDataset,), {"__iter__": lambda self: iter(())})(),
        "IterableDataset has no rows that can be split",
    ),
    "several shapes": (
        type("Ragged", (Dataset,), {"__len__": lambda s: 12, "__getitem__": lambda s, row: torch.ones(row % 2 + 1)})(),
        "cannot be stacked .*pad or resize them",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA_SETS)
def test_data_sets_that_cannot_be_read(case):
    data_set, message = BAD_DATA_SETS[case]
    with pytest.raises(DataError, match=message):
        load_data(data_set)


def test_what_stands_beside_x_comes_with_every_row():
    totals = torch.from_numpy(TABLE).sum(1)
    data = load_data((TABLE, totals))
    for split in (data.train, data.test[2:]):
        torch.testing.assert_close(split.beside[0], split.values.sum(1))
    x, beside = data.test.rows_for(lambda x, total: None).read()
    torch.testing.assert_close(beside, x.sum(1))
    assert data.digest != load_data(TABLE).digest


def test_a_program_of_other_arguments_is_told_what_there_is():
    labelled, pair = load_data(TABLE, labels=CLASSES), load_data((TABLE, CLASSES))
    assert len(pair.test.rows_for(lambda x, y: None).read()) == 2
    message = r"is called with 2 tensors, but the data give 1. Its labels are not passed unless .*load_data\(\(x, cov"
    with pytest.raises(ProgramError, match=message):
        labelled.test.rows_for(lambda x, y: None).read()
    with pytest.raises(ProgramError, match="is called with 1 tensors, but the data give 2. What stands beside"):
        pair.test.rows_for(lambda x: None).read()


class Likes:
    """A program whose likelihood takes what a part of the table takes."""

    def __init__(self, name):
        from bayes_vae.parts.registry import find

        self.likelihood_family = SimpleNamespace(part=find("likelihood", name))

    def __call__(self, x):
        """Nothing."""


@pytest.mark.parametrize(
    ("likelihood", "rows", "kind"),
    [
        ("normal", TABLE, "real"),
        ("normal", np.linspace(0, 1, 80).reshape(40, 2), "gray"),
        ("continuous-bernoulli", np.linspace(0, 1, 80).reshape(40, 2), "gray"),
        ("bernoulli", (TABLE > 0).astype(np.float32), "binary"),
        ("negative-binomial", COUNTS.astype(np.float32), "counts"),
    ],
)
def test_rows_are_taken_as_they_are_and_a_density_settles_their_kind(likelihood, rows, kind):
    data = as_data(torch.from_numpy(rows), Likes(likelihood), "fit")
    assert (data.kind, data.policy, data.split_by) == (kind, "none", "load_data")
    assert torch.equal(
        torch.cat([s.observations() for s in (data.train, data.validation, data.test)]).sort(0).values,
        torch.from_numpy(rows).float().sort(0).values,
    )


def test_what_a_pair_is_not_given_as_data():
    program = Likes("normal")
    with pytest.raises(DataError, match=r"fit takes data, not their name: pass load_data\('digits'\)"):
        as_data("digits", program, "fit")
    with pytest.raises(DataError, match="takes a whole data set"):
        as_data(load_data(TABLE).test, program, "fit")
    with pytest.raises(DataError, match="fit takes a data set of load_data.*got object"):
        as_data(object(), program, "fit")
    with pytest.raises(SupportError, match=r"bytes in 0…9 may be pixels"):
        as_data(np.full((20, 2), 9, np.uint8), program, "fit")
