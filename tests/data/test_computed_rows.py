"""Items of a torch data set that are computed for each batch, ahead and by workers, are those that are read once."""

import os

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import bayes_vae as bv
from bayes_vae.data import outside_rows
from bayes_vae.errors import DataError
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair

BYTES = np.random.default_rng(0).integers(0, 256, (60, 12), dtype=np.uint8)


def trained(data):
    pair = build_pair(PairSettings(latent_dim=2, hidden_dims=(4,)), data)
    return bv.fit(*pair, data, epochs=2, batch_size=13, progress="none")


class Squares(Dataset):
    """Items that are computed each time, and remember in which process."""

    def __init__(self, count=60, folder=None, noise=0.0):
        self.count, self.folder, self.noise = count, folder, noise

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        if self.folder:
            (self.folder / str(os.getpid())).touch()
        x = torch.tensor(BYTES[row], dtype=torch.float32).flatten() / 255
        return x.square() + self.noise * torch.rand(()), row % 3, torch.tensor([float(row)])


@pytest.mark.parametrize("workers", [0, 2])
def test_computed_items_are_those_in_memory(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(outside_rows, "PIECE", 200)
    loader = DataLoader(Squares(folder=tmp_path), num_workers=workers)
    memory, computed = bv.load_data(Squares(), kind="gray"), bv.load_data(loader, kind="gray", stream=True)
    assert computed.summary() == memory.summary()
    assert torch.equal(computed.train.beside[0], memory.train.beside[0])
    assert len(list(tmp_path.iterdir())) > workers
    rows = torch.tensor([4, 0, 2])
    assert torch.equal(computed.test[rows].observations(), memory.test[rows].observations())


class Plain(Squares):
    def __getitem__(self, row):
        return super().__getitem__(row)[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_on_computed_items_is_bit_for_bit_that_on_rows_in_memory(workers, tmp_path):
    whole = trained(bv.load_data(Plain(), kind="gray"))
    data = bv.load_data(DataLoader(Plain(folder=tmp_path), num_workers=workers), kind="gray", stream=True)
    before = len(list(tmp_path.iterdir()))
    found = trained(data)
    assert all(torch.equal(value, whole.last_state[name]) for name, value in found.last_state.items())
    assert len(list(tmp_path.iterdir())) - before >= 2 * workers  # of two epochs, each with workers of its own


def test_rows_that_nobody_expected_are_read_all_the_same():
    loader = DataLoader(Plain(), num_workers=1)
    values = bv.load_data(loader, kind="gray", stream=True).train.values
    batches = [torch.tensor([1, 2]), torch.tensor([3])]
    values.expect(batches)
    expected = [values[rows] for rows in (torch.tensor([5]), *batches, torch.tensor([7]))]
    values.expect([])
    assert all(map(torch.equal, expected, (values[rows] for rows in (torch.tensor([5]), *batches, torch.tensor([7])))))


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


def another_shape(data_set):
    data_set.__class__ = type("Odd", (Plain,), {"__getitem__": lambda self, row: torch.ones(2 + (row > 40)) / 2})
    return data_set


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Squares(noise=0.1), "the items of Squares draw at random each time they are read, and rows that are computed"),
        (Squares(count=0), "the data are empty: the data set has no rows"),
        (
            Endless(),
            "Endless has no rows by number and no length, so none can be read when a batch",
        ),
        (BYTES, "stream is for .npy files, one or a folder of them, and for torch data sets, and ndarray is none"),
        (another_shape(Plain()), r"the items 41… of Odd are of shape \(3,\) and float32, and the first of \(2,\) and"),
    ],
)
def test_items_that_cannot_be_computed_for_each_batch(source, message, monkeypatch):
    monkeypatch.setattr(outside_rows, "PIECE", 8)
    with pytest.raises(DataError, match=message):
        bv.load_data(source, kind="gray", stream=True)
