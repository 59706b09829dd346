"""A folder of images."""

import numpy as np
import pytest
import torch
from PIL import Image

from bayes_vae.data import load_data
from bayes_vae.errors import DataError, SettingsError, SupportError
from bayes_vae.settings import DataSettings


def paint(folder, count, size=(4, 6), colour=(255, 0, 0), suffix="png"):
    """Images i of height and width ``size``; the first pixel is white, the others are of one colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.zeros((*size, 3), np.uint8) + np.uint8(colour)
        pixels[0, 0] = 255
        Image.fromarray(pixels).save(folder / f"{number:03}.{suffix}")
    return folder


@pytest.fixture
def pets(tmp_path):
    """12 red cats and 8 green dogs."""
    paint(tmp_path / "pets" / "cats", 12)
    paint(tmp_path / "pets" / "dogs" / "young", 8, colour=(0, 255, 0), suffix="bmp")
    (tmp_path / "pets" / "README.txt").write_text("not an image")
    (tmp_path / "pets" / ".thumbnails").mkdir()
    (tmp_path / "pets" / ".thumbnails" / "x.png").write_bytes(b"hidden")
    return tmp_path / "pets"


def test_sub_folders_are_labels(pets):
    data = load_data(pets, colour="gray")
    assert (data.name, data.kind, data.label_names, data.data_shape) == ("pets", "gray", ("cats", "dogs"), (4, 6))
    splits = (data.train, data.validation, data.test)
    index, labels = (torch.cat([getattr(s, name) for s in splits]) for name in ("index", "labels"))
    assert torch.equal(labels, (index >= 12).long())
    for split in splits:  # gray levels of red and green as the luma of ITU-R 601 has them
        assert split.values[:, 2, 2].tolist() == [76 if label == 0 else 150 for label in split.labels]
        assert split.values[:, 0, 0].unique().tolist() == [255]


def test_colours_come_first(pets):
    data = load_data(pets, colour="rgb", policy="none")
    assert data.data_shape == (3, 4, 6)
    red, green = ((data.train.labels == label).nonzero()[0, 0] for label in (0, 1))
    assert data.train.observations()[red, :, 2, 2].tolist() == [1, 0, 0]
    assert data.train.observations()[green, :, 2, 2].tolist() == [0, 1, 0]


def test_a_flat_folder_has_no_labels(tmp_path):
    data = load_data(str(paint(tmp_path / "flat", 10, colour=(7, 7, 7))))
    assert (data.train.labels, data.label_names, len(data.train)) == (None, (), 8)
    assert load_data(tmp_path / "flat", labels=list(range(10))).train.labels.tolist() == data.train.index.tolist()


def test_images_are_brought_to_one_size_from_the_square_in_the_middle(tmp_path):
    folder = paint(tmp_path / "mixed", 9, size=(8, 8), colour=(0, 0, 0))
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 255  # the middle square
    Image.fromarray(wide).save(folder / "wide.png")
    data = load_data(folder, image_size=4)
    assert data.data_shape == (4, 4)
    values = torch.cat([s.values[s.index == 9] for s in (data.train, data.validation, data.test)])
    assert values.tolist() == [[[255] * 4] * 4]


def test_settings_say_size_and_colour(pets):
    assert load_data(DataSettings(data=str(pets), image_size=2, colour="rgb"), policy="none").data_shape == (3, 2, 2)
    with pytest.raises(SettingsError, match="image_size must be at least 1, got 0"):
        load_data(pets, image_size=0)
    with pytest.raises(DataError, match="unknown colour 'cmyk': choose one of gray, rgb"):
        load_data(pets, colour="cmyk")


def test_images_of_several_sizes_are_refused(tmp_path):
    folder = paint(tmp_path / "mixed", 10)
    paint(folder, 1, size=(5, 6), suffix="bmp")
    message = r"several sizes: .*000.bmp has 6×5 pixels and .*000.png 6×4. Say the size .*--image-size 32"
    with pytest.raises(DataError, match=message):
        load_data(folder)


@pytest.mark.parametrize("content", [b"", b"<html>", "cut"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, content):
    file = paint(tmp_path / "flat", 10, size=(40, 40)) / "005.png"
    file.write_bytes(file.read_bytes()[:70] if content == "cut" else content)
    with pytest.raises(DataError, match=r"flat/005.png cannot be read as an image \(.*\). Delete it, or put"):
        load_data(tmp_path / "flat")


def test_sixteen_bits_are_refused(tmp_path):
    folder = paint(tmp_path / "flat", 10)
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(folder / "deep.png")
    with pytest.raises(DataError, match=r"deep.png cannot be read as an image \(its pixels are of mode I;16, e"):
        load_data(folder)


def test_transparent_palettes_give_no_warning(tmp_path):
    folder = paint(tmp_path / "flat", 10)
    image = Image.new("P", (6, 4))
    image.putpalette([9, 9, 9] * 256)
    image.save(folder / "palette.png", transparency=b"\x00\x80")
    assert len(load_data(folder, policy="none").train) == 9


def test_images_beside_folders_are_refused(pets):
    paint(pets, 1)
    with pytest.raises(DataError, match=r"images beside folders of images \(000.png and the folder cats\)"):
        load_data(pets)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no images: expected files with one of the suffixes .bmp, "):
        load_data(tmp_path)


def test_few_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least 10 rows"):
        load_data(paint(tmp_path / "flat", 9))


def test_a_folder_keeps_its_colours_and_asks_how_they_are_observed(pets):
    with pytest.raises(SupportError, match="colour images of shape .*Keep them with policy='none'.*colour='gray'"):
        load_data(pets)
    data = load_data(pets, policy="none")
    assert (data.data_shape, data.kind) == ((3, 4, 6), "gray")
    assert data.train.observations().amin((0, 2, 3)).tolist() == [0, 0, 0]


def test_gray_images_stay_gray_whatever_their_files_hold(tmp_path):
    """A file may hold three equal channels."""
    folder = paint(tmp_path / "gray", 9, colour=(80, 80, 80))
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(folder / "one_channel.png")
    data = load_data(folder, policy="none")
    assert data.data_shape == (4, 6)
    assert sorted(set((data.train.observations() * 255).round().int()[:, 1, 1].tolist())) in ([80], [9, 80])
