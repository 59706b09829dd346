"""Rows that stay on disk are those of the same array in memory: in every split, order and batch, and when resumed."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import memory
from processes.starting import values

import bayes_vae as bv
from bayes_vae.data import outside_rows, safe_reading, stored_rows
from bayes_vae.errors import DataError, SupportError
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training

GENERATOR = np.random.default_rng(0)
BYTES = GENERATOR.integers(0, 256, (60, 3, 4), dtype=np.uint8)

ARRAYS = {
    "bytes, drawn anew": (BYTES, {}),
    "bytes, drawn once": (BYTES, {"policy": "static"}),
    "bytes, above one half": (BYTES, {"policy": "threshold"}),
    "bytes as they are": (BYTES, {"policy": "none"}),
    "zeros and ones": (BYTES > 127, {}),
    "one file of zeros": (np.where(np.arange(60)[:, None, None] < 20, 0, BYTES > 127).astype(np.uint8), {}),
    "pixels in [0, 1]": (BYTES / 255, {"kind": "gray"}),
    "pixels in [0, 1] as they are": (BYTES / 255, {"policy": "none"}),
    "counts": (BYTES.astype(np.int64), {"kind": "counts"}),
    "real values": (GENERATOR.normal(size=(60, 5)), {}),
    "one number each": (GENERATOR.normal(size=60), {"kind": "real"}),
}
"""Name → numbers and how they are loaded."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(outside_rows, "PIECE", 100)


def on_disk(folder: Path, array, shards):
    """The array as one file, or as a folder of files, of which one has ten times the number of another in its name."""
    if not shards:
        np.save(folder / "rows.npy", array)
        return folder / "rows.npy"
    (folder / "rows").mkdir()
    for name, part in zip(("part-2.npy", "part-9.npy", "part-10.npy"), np.split(array, [20, 21]), strict=True):
        np.save(folder / "rows" / name, part)
    return folder / "rows"


@pytest.mark.parametrize("shards", [False, True], ids=["one file", "a folder"])
@pytest.mark.parametrize("name", ARRAYS)
def test_rows_on_disk_are_those_in_memory(name, shards, tmp_path):
    array, how = ARRAYS[name]
    labels = np.arange(60) % 3
    memory, disk = (
        bv.load_data(source, labels=labels, **how, **more)
        for source, more in ((array, {}), (on_disk(tmp_path, array, shards), {"stream": True}))
    )
    assert {**disk.summary(), "name": ""} == {**memory.summary(), "name": ""}
    assert disk.num_classes == 3
    rows = torch.tensor([4, 0, 2])
    for split in ("train", "validation", "test"):
        here, there = getattr(memory, split), getattr(disk, split)
        assert isinstance(there.values, stored_rows.StoredValues)
        assert torch.equal(there.index, here.index)
        assert torch.equal(there.labels, here.labels)
        assert torch.equal(there.observations(seed=3), here.observations(seed=3))
        assert torch.equal(there[1:5][rows[1:]].observations(), here[1:5][rows[1:]].observations())
        drawn = [each.training_batch(rows, torch.Generator().manual_seed(1)) for each in (here, there)]
        assert torch.equal(*drawn)
        assert torch.allclose(there.mean(), here.mean(), rtol=0, atol=1e-6)
    whole = [bv.data.Split.joined([each.train, each.validation, each.test]) for each in (memory, disk)]
    assert torch.equal(whole[0].observations(), whole[1].observations())


def pair(data):
    return build_pair(PairSettings(latent_dim=2, hidden_dims=(4,)), data)


def trained(data, **options):
    settings = {} if "resume" in options else {"epochs": 2, "batch_size": 13}
    return bv.fit(*pair(data), data, progress="none", **settings, **options)


def test_training_and_its_resumption_are_bit_for_bit_those_in_memory(tmp_path, monkeypatch):
    whole = trained(bv.load_data(BYTES))
    disk = bv.load_data(on_disk(tmp_path, BYTES, shards=True))
    assert trained(disk).last_state.keys() == whole.last_state.keys()
    step = Training.step

    def interrupted(training):
        step(training)
        if training.total_steps == 5:
            os.kill(os.getpid(), 2)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "step", interrupted)
        first = trained(disk)
    assert first.interrupted
    found = trained(disk, resume=first)
    assert all(torch.equal(value, whole.last_state[name]) for name, value in found.last_state.items())
    losses = [[row["validation_elbo"] for row in run.history] for run in (found, whole)]
    assert losses[0] == losses[1]


def test_estimates_read_rows_batch_by_batch(tmp_path):
    memory, disk = bv.load_data(BYTES), bv.load_data(on_disk(tmp_path, BYTES, shards=False), stream=True)
    one, two = (bv.elbo_terms(*pair(memory), each.test, 3, batch_size=4) for each in (memory, disk))
    assert torch.equal(one.elbo, two.elbo)
    assert memory.train.values.shape == disk.train.values.shape


def test_memory_does_not_grow_with_the_file(tmp_path):
    path, rows = tmp_path / "rows.npy", 2**17
    held = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, 2048))
    held[-1] = 255
    held.flush()
    ((grown, trained_on),) = values(1, memory.grown_by_training_on, str(path))
    assert trained_on > 0.7 * rows
    assert path.stat().st_size > 2**28
    assert grown < 2**26  # of which the batches and what training imports are most


ERRORS = {
    "two shapes": (
        {"a.npy": np.ones((20, 3)), "b.npy": np.ones((20, 4))},
        {},
        r"the files of rows must hold rows of one shape and type, but a.npy has \(3,\) of float64 and b.npy \(4,\) of",
    ),
    "two types": ({"a.npy": np.ones((20, 3)), "b.npy": np.ones((20, 3), np.float32)}, {}, "and b.npy .* of float32"),
    "missing": (
        {"a.npy": np.ones((20, 3)), "b.npy": np.where(np.eye(20, 3) > 0, np.nan, 1)},
        {},
        r"row 20 of rows has a value that is missing \(NaN\) or infinite, and rows that are read one by one are whole",
    ),
    "words": ({"a.npy": np.array(["a", "b"])}, {}, "a.npy holds numbers of type <U1: expected shape"),
    "no rows": ({"a.npy": np.ones((0, 3))}, {}, "a.npy holds no rows: expected shape"),
    "pickles": ({"a.npy": np.array([None, {}], dtype=object)}, {}, "a.npy cannot be read as an array of numbers"),
    "another kind": (
        {"a.npy": np.full((20, 3), 7)},
        {"kind": "binary"},
        "rows, rows counted from row 0: data of the kind 'binary' are 0 or 1, but row 0 has 7",
    ),
    "open": ({"a.npy": np.full((20, 3), 7)}, {}, r"integers in 0…7: as pixels they would stand for n/255"),
    "standardized": (
        {"a.npy": GENERATOR.normal(size=(20, 3))},
        {"standardize": True},
        "rows that are read one by one are taken as they are, and rows is not standardized. Standardize it once",
    ),
    "a mask": (
        {"a.npy": BYTES},
        {"missing": BYTES > 3},
        "rows that are read one by one are whole: give missing= with an",
    ),
    "a column": ({"a.npy": BYTES}, {"labels": "y"}, "rows has no column 'y' of labels: an .npy file holds numbers"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_files_that_cannot_be_read_row_by_row(case, tmp_path):
    files, how, message = ERRORS[case]
    (tmp_path / "rows").mkdir()
    for name, array in files.items():
        np.save(tmp_path / "rows" / name, array)
    with pytest.raises((DataError, SupportError), match=message):
        bv.load_data(tmp_path / "rows", **how)


def test_only_rows_of_npy_files_stay_on_disk(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"stream is for .npy files, .* and .*rows.csv is none"):
        bv.load_data(tmp_path / "rows.csv", stream=True)


def test_parts_are_all_on_disk_or_none(tmp_path):
    np.save(tmp_path / "rows.npy", BYTES)
    with pytest.raises(
        DataError, match="training, validation and test rows that are not held in memory must all be of .npy files"
    ):
        bv.load_data(train=on_disk(tmp_path, BYTES, shards=True), test=tmp_path / "rows.npy")


def test_a_file_that_would_not_fit_is_refused_with_what_to_do(tmp_path, monkeypatch):
    path = on_disk(tmp_path, BYTES, shards=False)
    monkeypatch.setattr(safe_reading, "NOT_WORTH_ASKING", 0)
    monkeypatch.setattr(safe_reading, "available_memory", lambda device: 2)
    with pytest.raises(DataError, match=r"load fewer rows, or leave them on disk with stream=True \(--stream\)"):
        bv.load_data(path)
    assert isinstance(bv.load_data(path, stream=True).train.values, stored_rows.StoredValues)


def test_what_needs_all_values_says_so(tmp_path):
    disk = bv.load_data(on_disk(tmp_path, BYTES, shards=False), stream=True)
    message = re.escape(
        "clamp of rows.npy works on values in memory, and these rows are read one by one: load fewer of them"
    )
    with pytest.raises(DataError, match=message):
        disk.train.values.clamp(0, 1)
