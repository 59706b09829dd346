"""Omniglot: small folders in torchvision's layout, drawn here."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from bayes_vae.data import load_data
from bayes_vae.errors import DataError

ALPHABETS = {"images_background": ("Greek", "Arcadian"), "images_evaluation": ("Tengwar",)}


def draw(root, characters=2):
    """White paper; drawing k of a character has its first 10 k of 105 lines inked, k in 0…7."""
    for part, alphabets in ALPHABETS.items():
        for alphabet in alphabets:
            for character in range(characters):
                folder = root / "omniglot-py" / part / alphabet / f"character{character + 1:02}"
                folder.mkdir(parents=True)
                for drawing in range(20):
                    paper = np.ones((105, 105), bool)
                    paper[: 10 * (drawing % 8)] = False
                    Image.fromarray(paper).save(folder / f"{character:04}_{drawing + 1:02}.png")
    return root / "omniglot-py"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    draw(path)
    return path


def test_all_drawings_are_split_at_random_and_labelled_by_alphabet(root):
    data = load_data("omniglot", root=root)
    assert (len(data.train), len(data.validation), len(data.test)) == (85, 5, 30)
    assert (data.data_shape, data.kind, data.policy) == ((28, 28), "gray", "stochastic")
    assert data.label_names == ("Arcadian", "Greek", "Tengwar")
    splits = (data.train, data.validation, data.test)
    index, labels = (torch.cat([getattr(s, name) for s in splits]) for name in ("index", "labels"))
    assert torch.equal(labels[index.argsort()], torch.arange(3).repeat_interleave(40))


def test_ink_is_one_and_the_mean_over_an_area_is_kept(root):
    data = load_data("omniglot", root=root, policy="none")
    inked = (data.train.index % 20) % 8 * 10 / 105
    assert (data.train.observations().mean((1, 2)) - inked).abs().max() < 1 / 255
    assert data.train.values[inked == 0].unique().tolist() == [0]
    assert data.train.values[inked > 0][:, 0].unique().tolist() == [255]
    assert data.train.values[:, -1].unique().tolist() == [0]


def test_missing_folders_are_named(tmp_path):
    (tmp_path / "omniglot-py" / "images_background").mkdir(parents=True)
    message = r"omniglot was not found: expected the folders images_background and images_evaluation in .*--data-root"
    with pytest.raises(DataError, match=message):
        load_data("omniglot", root=tmp_path)


@pytest.mark.parametrize("damage", ["gone", "cut short", "not an image"])
def test_damage_is_named(tmp_path, damage):
    file = draw(tmp_path, 1) / "images_background" / "Greek" / "character01" / "0000_05.png"
    if damage == "gone":
        file.unlink()
        message = r"omniglot is damaged: .*character01 holds 19 drawings, expected 20"
    else:
        file.write_bytes(file.read_bytes()[:60] if damage == "cut short" else b"<html>")
        message = r"0000_05.png cannot be read as an image \(.*\). Delete it, or put a whole copy there"
    with pytest.raises(DataError, match=message):
        load_data("omniglot", root=tmp_path)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.delenv("BAYES_VAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    return tmp_path / "cache" / "bayes_vae"


def test_a_download_fills_the_cache(monkeypatch, cache):
    def download(root, background, download):
        if background:
            (draw(cache.parent / root) / "images_background.zip").write_bytes(b"")

    monkeypatch.setattr("torchvision.datasets.Omniglot", download)
    assert len(load_data("omniglot").test) == 30
    assert sorted(path.name for path in (cache / "omniglot-py").iterdir()) == sorted(ALPHABETS)
    assert [path.name for path in cache.iterdir()] == ["omniglot-py"]


def test_a_download_that_fails_says_so(monkeypatch, cache):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.omniglot.download_and_extract_archive", refuse)
    with pytest.raises(DataError, match=r"omniglot was not found.*Downloading it failed: .*no network"):
        load_data("omniglot")
