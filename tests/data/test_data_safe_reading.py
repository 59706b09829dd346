"""Data are read from plain files that fit the memory, and whatever else is there is one documented error, at once."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch

from bayes_vae.data import load_data
from bayes_vae.errors import DataError
from bayes_vae.settings import DataSettings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices as POSIX has them")

SUFFIXES = (".csv", ".tsv", ".npy", ".npz", ".h5ad", ".png", "")

NAMES = ["gone", "\x1b[2J", "x" * 300, "x/" * 3000, "a\0b", "\ud800", "~nouser", "~nouser/a"]


def claim(shape):
    """The header of an .npy file of floats."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Paths that no data can be read from, of each suffix."""
    monkeypatch.chdir(tmp_path)
    for suffix in SUFFIXES:
        os.mkfifo(f"pipe{suffix}")
        os.symlink(f"circle{suffix}", f"circle{suffix}")
        os.symlink("/dev/zero", f"endless{suffix}")
        with open(f"sparse{suffix}", "wb") as file:
            file.truncate(2**40)
        (tmp_path / f"text{suffix}").write_text("hello\x1b[2J\0")
    made = [path.name for path in tmp_path.iterdir()]
    for kind in ("pipe", "endless", "circle", "text"):
        (tmp_path / f"images-{kind}").mkdir()
        os.symlink(f"../{kind}.png", f"images-{kind}/a.png")
    folders = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    return [*made, *folders, *(f"{name}{suffix}" for name in NAMES for suffix in SUFFIXES)]


@pytest.mark.parametrize("how", ["path", "settings", "test rows", "mnist", "omniglot"])
def test_what_is_no_data_is_one_documented_error(places, how):
    read = {
        "path": load_data,
        "settings": lambda path: load_data(DataSettings(data=path)),
        "test rows": lambda path: load_data(train=np.ones((150, 3)), test=path),
        "mnist": lambda path: load_data("mnist", root=path),
        "omniglot": lambda path: load_data("omniglot", root=path),
    }[how]
    for path in places:
        with pytest.raises((DataError, ValueError)) as raised:
            read(path)
        assert type(raised.value).__module__ == "bayes_vae.errors", (path, raised.value)


@pytest.mark.parametrize("kind", ["pipe", "endless", "circle"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_file_of_mnist_that_is_no_plain_file_is_not_opened(places, tmp_path, kind, name):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x0c" + bytes(12))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x0c\0\0\0\x1c\0\0\0\x1c" + bytes(12 * 784))
    load_data("mnist", root=tmp_path / "data")
    (raw / name).unlink()
    (raw / name).symlink_to(tmp_path / f"{kind}.npy")
    with pytest.raises(DataError, match=r"are damaged|mnist was not found"):
        load_data("mnist", root=tmp_path / "data")


def test_data_that_do_not_fit_the_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("bayes_vae.data.safe_reading.available_memory", lambda device: 10**6)
    monkeypatch.setattr("bayes_vae.data.safe_reading.NOT_WORTH_ASKING", 0)
    with (tmp_path / "x.npy").open("wb") as file:
        file.write(claim((10**9, 100)))
        file.truncate(file.tell() + 4 * 10**11)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", claim((10**6, 1)) + bytes(4 * 10**6))
    (tmp_path / "x.csv").write_text("1,2\n" * 10**5)
    for name, needed in (("x.npy", "400.000"), ("x.npz", "0.004"), ("x.csv", "0.004")):
        with pytest.raises(DataError, match=rf"{name} would need {needed} GB of memory, and 0.001 GB are free: load f"):
            load_data(tmp_path / name)


def test_images_that_would_not_fit_the_memory_are_not_resized(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="1 images of 900,000×900,000 pixels would need 2,430.000 GB of memory"):
        load_data(tmp_path, image_size=900_000)


def test_a_user_without_a_home_is_asked_for_a_folder(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BAYES_VAE_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("bayes_vae.data.folders.platform.system", lambda: "Linux")
    monkeypatch.setattr("pathlib.Path.home", nowhere)
    with pytest.raises(DataError, match="this user has no home folder. Name one with --data-root"):
        load_data("mnist")


def test_a_tilde_of_nobody_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nouser").mkdir()
    np.save(tmp_path / "~nouser" / "x.npy", np.eye(12, 4))
    assert torch.equal(load_data("~nouser/x.npy").train.values.unique(), torch.tensor([0, 255], dtype=torch.uint8))
