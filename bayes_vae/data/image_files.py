"""A folder of images: its sub-folders are the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayes_vae.data.raw_data import RawData
from bayes_vae.data.safe_reading import check_fits, check_is_plain
from bayes_vae.errors import DataError
from bayes_vae.settings import Colour

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["SUFFIXES", "open_image", "read_image_folder"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_image_folder(path: Path, size: int | None, colour: Colour | None) -> RawData:
    """Read every image of a folder, in the order of their names.

    Args:
        path: a folder of images; or of folders of images, whose names, sorted, are the labels.
        size: pixels of each side: the largest square in the middle of each image is resized to it. With None all
            images must have one size already.
        colour: ``gray``, or ``rgb``, with the colours first; None for ``rgb`` where any pixel has a colour.

    Returns:
        pixels, uint8, shape (N, H, W) or (N, 3, H, W), with their labels and the names of these.

    Raises:
        DataError: no images, one that cannot be read, images of several sizes, or images beside folders of images.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and _shown(file, path))
    folders = [file.relative_to(path).parts[0] if file.parent != path else "" for file in files]
    if not files:
        raise DataError(
            f"{path} holds no images: expected files with one of the suffixes {', '.join(SUFFIXES)}, in the folder or "
            "in sub-folders, whose names are the labels."
        )
    names = tuple(sorted(set(folders)))
    if "" in names and len(names) > 1:
        raise DataError(
            f"{path} holds images beside folders of images ({files[folders.index('')].name} and the folder "
            f"{names[1]}), so labels are unclear. Put every image into a sub-folder, or none."
        )
    pixels = _stacked(files, size, colour)
    found = RawData(path.resolve().name, pixels, kind="gray", held_as="image")
    if names == ("",):
        return found
    return replace(found, labels=np.asarray([names.index(folder) for folder in folders]), label_names=names)


def _shown(file: Path, folder: Path) -> bool:
    """A file, not a hidden one, nor in a hidden folder."""
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _stacked(files: list[Path], size: int | None, colour: Colour | None) -> np.ndarray:
    from PIL import Image

    if size is not None:
        check_fits(3 * len(files) * size**2, f"{len(files):,} images of {size:,}×{size:,} pixels")
    first: Path = files[0]
    pixels: Any = None
    for row, file in enumerate(files):
        image = open_image(file, "L" if colour == "gray" else "RGB")
        if size is not None:
            image = _middle_square(image).resize((size, size), Image.Resampling.BILINEAR)
        array = np.asarray(image)
        if pixels is None:
            check_fits(len(files) * array.nbytes, f"{len(files):,} images of {array.shape[1]}×{array.shape[0]} pixels")
            pixels = np.empty((len(files), *array.shape), np.uint8)
        if array.shape != pixels.shape[1:]:
            (height, width), (other_height, other_width) = pixels.shape[1:3], array.shape[:2]
            raise DataError(
                f"images of several sizes: {first} has {width}×{height} pixels and {file} {other_width}×{other_height}."
                " Say the size that all are brought to: --image-size 32 (image_size=32 in Python)."
            )
        pixels[row] = array
    if colour == "gray":
        return np.asarray(pixels)
    if colour is None and bool((pixels == pixels[..., :1]).all()):
        return np.ascontiguousarray(pixels[..., 0])
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 1))


def _middle_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def open_image(file: Path, mode: Literal["L", "RGB"]) -> Image.Image:
    """An image file, decoded.

    Args:
        file: of any format that Pillow reads.
        mode: ``L``, gray, or ``RGB``.

    Raises:
        DataError: names the file.
    """
    from PIL import Image, ImageOps

    check_is_plain(file)
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels are of mode {image.mode}, expected 8 bits for each colour")
            upright = ImageOps.exif_transpose(image)
            return upright.convert("RGBA").convert(mode) if upright.mode == "P" else upright.convert(mode)
    except Exception as error:  # whatever a decoder raises
        raise DataError(
            f"{file} cannot be read as an image ({' '.join(str(error).split())}). Delete it, or put a whole copy there."
        ) from error
