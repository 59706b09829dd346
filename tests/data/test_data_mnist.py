"""MNIST and Fashion-MNIST: where they are looked for, what is said when they are missing, the real thing."""

import struct
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from bayes_vae.data import load_data
from bayes_vae.data.folders import cache_folder
from bayes_vae.errors import DataError
from bayes_vae.settings import DataSettings

NAMES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST", "emnist-letters": "EMNIST"}


def idx(values):
    """The bytes of a uint8 tensor in MNIST's file format."""
    header = struct.pack(">BBBB", 0, 0, 8, values.dim()) + struct.pack(f">{values.dim()}I", *values.shape)
    return header + bytes(values.flatten().tolist())


def write_small(root, name="mnist", count=24):
    """Write a few images in MNIST's layout; image i is labelled i and has the gray level i everywhere."""
    raw = Path(root) / NAMES[name] / "raw"
    raw.mkdir(parents=True)
    first, second = ("emnist-letters-train", "emnist-letters-test") if NAMES[name] == "EMNIST" else ("train", "t10k")
    for part, size in ((first, count), (second, 6)):
        labels = torch.arange(size, dtype=torch.uint8)
        images = labels[:, None, None].expand(-1, 4, 4)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
    return raw


@pytest.fixture(autouse=True)
def downloads(monkeypatch):
    """Every download fails; the list has what was asked for."""
    asked = []

    def refuse(url, *args, **kwargs):
        asked.append(url)
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    return asked


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The user's cache folder, in a place of the test's own."""
    monkeypatch.delenv("BAYES_VAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    return tmp_path / "cache" / "bayes_vae"


@pytest.mark.parametrize("name", NAMES)
def test_splits_of_the_training_images_and_the_test_images_after_them(tmp_path, downloads, name):
    write_small(tmp_path, name)
    data = load_data(name, root=tmp_path)
    assert (data.name, len(data.train), len(data.validation), len(data.test)) == (name, 22, 2, 6)
    assert sorted(data.train.index.tolist() + data.validation.index.tolist()) == list(range(24))
    assert data.test.index.tolist() == list(range(24, 30))
    for split, start in ((data.train, 0), (data.validation, 0), (data.test, 24)):
        assert torch.equal(split.labels, split.index - start)
        assert torch.equal(split.values[:, 0, 0].long(), split.labels)
    assert downloads == []


def test_the_folder_is_the_argument_else_the_environment_else_the_cache(tmp_path, monkeypatch, cache):
    write_small(tmp_path / "argument", count=12)
    write_small(tmp_path / "environment", count=24)
    write_small(cache, count=36)
    monkeypatch.setenv("BAYES_VAE_DATA", str(tmp_path / "environment"))
    settings = DataSettings(data="mnist", data_root=str(tmp_path / "argument"))
    assert len(load_data("mnist", root=str(tmp_path / "argument")).train) == 11
    assert len(load_data(settings).train) == 11
    assert len(load_data(settings, root=cache).train) == 33
    assert len(load_data("mnist").train) == 22
    monkeypatch.delenv("BAYES_VAE_DATA")
    assert len(load_data("mnist").train) == 33


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_folder_that_was_named_is_never_downloaded_into(tmp_path, monkeypatch, downloads, given):
    raw = write_small(tmp_path)
    (raw / "t10k-labels-idx1-ubyte").unlink()
    monkeypatch.setenv("BAYES_VAE_DATA", str(tmp_path if given == "environment" else tmp_path / "other"))
    message = f"mnist was not found: expected .*t10k-labels-idx1-ubyte in {raw}. .*--data-root.*--data digits"
    with pytest.raises(DataError, match=message):
        load_data("mnist", root=tmp_path if given == "argument" else None)
    assert downloads == []


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_offline_the_message_names_the_folder_to_fill(cache, downloads, name):
    raw = cache / NAMES[name] / "raw"
    message = (
        f"{name} was not found: expected the unzipped files train-images-idx3-ubyte, train-labels-idx1-ubyte,"
        f" t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte in {raw}. .*--data-root.*BAYES_VAE_DATA.*"
        "--data digits. Downloading it failed: .*no network"
    )
    with pytest.raises(DataError, match=message):
        load_data(name)
    assert downloads
    assert list(cache.iterdir()) == [raw.parent]


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch, cache):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"mnist was not found.*Downloading it failed: .*Not a directory"):
        load_data("mnist")


def test_a_download_fills_the_cache(monkeypatch, cache):
    def download(url, download_root, filename, md5):
        folder = Path(download_root)
        if not list(folder.iterdir()):
            source = write_small(folder.parents[1] / "source")
            for file in source.iterdir():
                file.replace(folder / file.name)

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", download)
    assert len(load_data("mnist").train) == 22
    assert [path.name for path in cache.iterdir()] == ["MNIST"]
    assert len(list((cache / "MNIST" / "raw").iterdir())) == 4


def test_an_interrupted_download_leaves_no_file(monkeypatch, cache):
    def interrupt(url, download_root, filename, md5):
        (Path(download_root) / "train-images-idx3-ubyte").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_data("mnist")
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_emnist_says_which_split_and_where(cache):
    raw = cache / "EMNIST" / "raw"
    message = f"emnist-byclass was not found: expected .*emnist-byclass-test-labels-idx1-ubyte in {raw}.*no network"
    with pytest.raises(DataError, match=message):
        load_data("emnist-byclass")


def test_emnist_is_turned_upright_and_its_labels_have_names(tmp_path):
    raw = write_small(tmp_path, "emnist-letters")
    for part, size in (("train", 24), ("test", 6)):
        image = torch.zeros(size, 4, 4, dtype=torch.uint8)
        image[:, 0, 3] = 200  # stored on its side: the lower left corner
        (raw / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(idx(image))
    data = load_data("emnist-letters", root=tmp_path)
    for split in (data.train, data.test):
        assert split.values[:, 3, 0].unique().tolist() == [200]
        assert split.values.sum() == 200 * len(split)
    assert (data.label_names[1], data.label_names[26]) == ("a", "z")


def test_one_split_of_emnist_is_not_another(tmp_path):
    write_small(tmp_path, "emnist-letters")
    with pytest.raises(DataError, match="emnist-digits was not found"):
        load_data("emnist-digits", root=tmp_path)


DAMAGE = {
    "truncated images": ("train-images-idx3-ubyte", lambda whole: whole[:-5]),
    "no images": ("train-images-idx3-ubyte", lambda whole: b""),
    "a web page": ("t10k-images-idx3-ubyte", lambda whole: b"<html>not found</html>"),
    "labels for images": ("t10k-images-idx3-ubyte", lambda whole: idx(torch.zeros(6, dtype=torch.uint8))),
    "fewer labels": ("t10k-labels-idx1-ubyte", lambda whole: idx(torch.zeros(5, dtype=torch.uint8))),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files_are_refused(tmp_path, case):
    file, damage = DAMAGE[case]
    path = write_small(tmp_path) / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"the files {file.split('-')[0]}-\* in .* are damaged .*Delete them"):
        load_data("mnist", root=tmp_path)


def test_an_old_processed_folder_is_not_unpickled(tmp_path):
    processed = write_small(tmp_path).parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(b"a pickle")
    assert len(load_data("mnist", root=tmp_path).train) == 22


@pytest.mark.parametrize(
    ("system", "variable", "inside"),
    [
        ("Linux", "XDG_CACHE_HOME", ".cache/bayes_vae"),
        ("Windows", "LOCALAPPDATA", "AppData/Local/bayes_vae"),
        ("Darwin", None, "Library/Caches/bayes_vae"),
    ],
)
def test_the_cache_folder_is_where_the_platform_has_it(monkeypatch, tmp_path, system, variable, inside):
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    if variable:
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder() == tmp_path / inside
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "set"))
        assert cache_folder() == tmp_path / "set" / "bayes_vae"


@pytest.mark.mnist
def test_the_real_mnist(mnist_root, within):
    data = load_data("mnist", root=mnist_root)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert torch.cat([data.train.index, data.validation.index]).sort().values.tolist() == list(range(60_000))
    assert data.test.index.tolist() == list(range(60_000, 70_000))
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert tuple(data.data_shape) == (28, 28)
    assert data.digest == "27b4359e89f2b155ad1126db019ff14f30dcdcf99ad43393b276bb41c01e36d8"
    assert data.train.mean().mean().item() == pytest.approx(0.1307, abs=2e-4)


@pytest.mark.mnist
def test_real_mnist_is_evaluated_image_by_image_once(mnist_root):
    test = load_data("mnist", root=mnist_root).test
    batches = [test.observations(rows, seed=1) for rows in torch.arange(10_000).split(333)]
    x = torch.cat(batches)
    assert x.shape == (10_000, 28, 28)
    assert torch.equal(x, test.observations(seed=1))
