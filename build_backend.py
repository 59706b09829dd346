"""The build backend: setuptools, and an editable install that the folder of a clone cannot hide.

A clone is called ``bayes_vae``, and Python, run in its parent folder, takes it for a namespace package. Then the finder
of setuptools for editable installs is never asked; only a regular package that is found through ``sys.path`` would win.
So an editable install gets an entry of ``sys.path`` that holds this package alone. It is the last one: a checkout that
is the working folder, or is in PYTHONPATH, still comes first.
"""

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

PACKAGE = Path(__file__).resolve().parent / "bayes_vae"

ENTRY = "__editable___bayes_vae_entry"

SOURCE = '''\
"""An entry of sys.path that holds bayes_vae alone, as it stands in its checkout."""

import sys
from importlib.util import spec_from_file_location

FOLDER = {folder!r}
PLACE = "__editable__.bayes_vae.entry"


class Entry:
    @staticmethod
    def find_spec(name, target=None):
        if name == "bayes_vae":
            return spec_from_file_location(name, FOLDER + "/__init__.py", submodule_search_locations=[FOLDER])
        return None


def hook(place):
    if place != PLACE:
        raise ImportError(place)
    return Entry


if PLACE not in sys.path:
    sys.path_hooks.append(hook)
    sys.path.append(PLACE)
'''


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build setuptools' wheel of an editable install, and add the entry of ``sys.path`` to it."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    add_files(
        Path(wheel_directory, name),
        {f"{ENTRY}.py": SOURCE.format(folder=str(PACKAGE)), f"{ENTRY}.pth": f"import {ENTRY}\n"},
    )
    return name


def add_files(wheel: Path, files: dict[str, str]) -> None:
    """Add text files to a wheel, and to its record."""
    with zipfile.ZipFile(wheel) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    (record,) = (name for name in contents if name.endswith(".dist-info/RECORD"))
    rows = io.StringIO()
    for name, text in files.items():
        contents[name] = text.encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).rstrip(b"=").decode()
        csv.writer(rows, lineterminator="\n").writerow([name, f"sha256={digest}", len(contents[name])])
    contents[record] = rows.getvalue().encode() + contents[record]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in contents.items():
            new.writestr(name, content)
