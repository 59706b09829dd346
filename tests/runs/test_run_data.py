"""The data of a run, loaded again: the split that it was trained with, whatever today's rule is."""

import numpy as np
import torch

from bayes_vae.data import load_data
from bayes_vae.data.own_split import permutation
from bayes_vae.runs.run_data import run_kind, split_as_stored
from bayes_vae.settings import DataSettings


def test_a_small_file_keeps_the_split_of_an_older_release(tmp_path):
    """178 rows were once split into 144, 17 and 17; today into 138, 20 and 20."""
    rows = np.random.default_rng(0).normal(size=(178, 2))
    np.save(tmp_path / "wines.npy", rows)
    settings = DataSettings(data=str(tmp_path / "wines.npy"), kind="real")
    about = {"sizes": {"train": 144, "validation": 17, "test": 17}}
    data = load_data(split_as_stored(settings, about))
    parts = torch.split(permutation(178), [144, 17, 17])
    for split, part in zip((data.train, data.validation, data.test), parts, strict=True):
        assert torch.equal(split.index, part)
    assert len(load_data(settings).test) == 20


def test_what_needs_no_numbers_of_rows_keeps_its_settings():
    plain = DataSettings(data="a.npy")
    assert split_as_stored(plain, {"sizes": {"train": 800, "validation": 100, "test": 100}}) == plain
    assert split_as_stored(plain, {}) == plain
    small = {"sizes": {"train": 60, "validation": 20, "test": 20}}
    for chosen in (DataSettings(split=(0.6, 0.2, 0.2)), DataSettings(data="a.npy", test_data="b.npy")):
        assert split_as_stored(chosen, small) == chosen


def test_the_kind_of_other_rows():
    assert run_kind({"kind": "real"}) == "real"
    assert run_kind({"kind": "binary"}) == run_kind({}) == "auto"
