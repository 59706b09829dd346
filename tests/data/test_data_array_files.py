"""Array files: read back as they were saved; never unpickled; refused with words that help."""

import csv

import numpy as np
import pytest
import torch

from bayes_vae.data import load_data
from bayes_vae.errors import DataError, SupportError

pytestmark = pytest.mark.libraries

PIXELS = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (30, 4, 5), dtype=np.uint8)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_an_npy_file_is_its_array(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    data = load_data(tmp_path / "x.npy")
    assert (data.name, data.digest) == ("x.npy", load_data(PIXELS).digest)


def test_an_npy_file_can_be_replaced_after_loading(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    data = load_data(str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", PIXELS * 0)
    assert data.digest == load_data(PIXELS).digest


@pytest.mark.parametrize("key", ["x", "pixels"])
@pytest.mark.parametrize("labels_key", ["labels", "y", None])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_has_x_or_one_array_and_labels(tmp_path, key, labels_key, save):
    arrays = {key: PIXELS} | ({labels_key: np.arange(30)} if labels_key else {})
    save(tmp_path / "x.npz", **arrays)
    data = load_data(tmp_path / "x.npz")
    assert data.digest == load_data(PIXELS).digest
    assert data.test.labels is None if labels_key is None else torch.equal(data.test.labels, data.test.index)


def test_given_labels_win_over_those_of_the_file(tmp_path):
    np.savez(tmp_path / "x.npz", x=PIXELS, y=np.zeros(30, int))
    data = load_data(tmp_path / "x.npz", labels=np.arange(30))
    assert torch.equal(data.test.labels, data.test.index)


def test_x_wins_over_other_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", other=PIXELS * 0, x=PIXELS)
    assert load_data(tmp_path / "x.npz").digest == load_data(PIXELS).digest


def test_several_arrays_and_no_x_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", train=PIXELS, test=PIXELS)
    with pytest.raises(DataError, match=r"must hold the array 'x', or a single array.*it holds train, test. Save it"):
        load_data(tmp_path / "x.npz")


def test_labels_alone_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", y=PIXELS)
    with pytest.raises(DataError, match=r"it holds y. Save it"):
        load_data(tmp_path / "x.npz")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*absent.npy. Expected an .npy or .npz file"):
        load_data(tmp_path / "absent.npy")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(DataError, match=r"x.npy holds no images"):
        load_data(tmp_path / "x.npy")


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"not an array file: expected .npy, .npz, .csv, .tsv or .h5ad, got the suffix '.pt'. Save"
    ):
        load_data(tmp_path / "x.pt")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([Bomb()] * 10), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([Bomb()] * 10))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match=r"cannot be read as an array.*Pickled objects are never loaded"):
            load_data(tmp_path / name)


def test_a_bare_pickle_is_never_loaded(tmp_path):
    import pickle

    (tmp_path / "x.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="Pickled objects are never loaded"):
        load_data(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_files_are_refused(tmp_path, name, kept):
    (np.save if name == "x.npy" else np.savez)(tmp_path / name, PIXELS)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:kept])
    with pytest.raises(DataError, match="cannot be read as an array of numbers"):
        load_data(tmp_path / name)


def test_a_header_that_promises_terabytes_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    whole = (tmp_path / "x.npy").read_bytes()
    claim = whole.replace(b"(30, 4, 5)", b"(10**13,5)".replace(b"10**13", b"999999"), 1)
    (tmp_path / "x.npy").write_bytes(claim)
    with pytest.raises(DataError, match="cannot be read as an array of numbers"):
        load_data(tmp_path / "x.npy")


def test_what_an_array_is_refused_for_a_file_is_refused_for(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS.astype(float))
    with pytest.raises(SupportError, match="divide pixels by 255"):
        load_data(tmp_path / "x.npy")
    np.save(tmp_path / "empty.npy", np.empty((0, 4)))
    with pytest.raises(DataError, match="the data are empty"):
        load_data(tmp_path / "empty.npy")


@pytest.mark.parametrize("name", ["a;b;c;d", "a\tb\tc\td", "a\u2028b", "a, b, c", "a\nb"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_names_may_hold_what_stands_between_cells_or_lines(tmp_path, name, delimiter):
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerows(
            [[f"{name}{column}" for column in range(3)], *np.random.default_rng(0).normal(size=(40, 3)).tolist()]
        )
    data = load_data(tmp_path / "x.csv")
    assert data.columns == tuple(f"{name}{column}" for column in range(3))
    assert data.data_shape == (3,)
