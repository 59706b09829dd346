"""An editable install of a clone that bears the package's name is found from the clone's parent folder too."""

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("bayes_vae", "experiments", "guides", "models")
FILES = ("LICENSE", "MANIFEST.in", "README.md", "build_backend.py", "pyproject.toml", "setup.cfg")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a copy of the tree in a folder called ``bayes_vae``."""
    folder = tmp_path_factory.mktemp("parent") / "bayes_vae"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(clone, backend, out):
    source = f"import {backend} as backend; print(backend.build_editable({str(out)!r}))"
    child = subprocess.run(
        [sys.executable, "-c", source], cwd=clone, capture_output=True, text=True, timeout=300, check=False
    )
    assert child.returncode == 0, child.stderr
    return out / child.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(clone, tmp_path_factory):
    return build(clone, "build_backend", tmp_path_factory.mktemp("wheel"))


def found_from(folder, wheel, site, *, path=""):
    """Return the file of bayes_vae, None for a namespace, in a Python whose only installed package is the wheel."""
    with zipfile.ZipFile(wheel) as contents:
        contents.extractall(site)
    source = f"""
import site
site.addsitedir({str(site)!r})
import bayes_vae
from importlib.util import find_spec
print(bayes_vae.__file__)
print(find_spec("bayes_vae.guides").origin)
"""
    child = subprocess.run(
        [sys.executable, "-S", "-c", source],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    package, guides = child.stdout.splitlines()
    return None if package == "None" else Path(package), Path(guides)


def of(clone):
    return clone / "bayes_vae" / "__init__.py", clone / "bayes_vae" / "guides" / "__init__.py"


@pytest.mark.parametrize("where", [".", "..", "../.."])
def test_the_package_is_found_from_every_folder(clone, wheel, tmp_path, where):
    assert found_from(clone / where, wheel, tmp_path) == of(clone)


def test_without_the_entry_the_clone_hides_the_package(clone, tmp_path):
    wheel = build(clone, "setuptools.build_meta", tmp_path)
    assert found_from(clone.parent, wheel, tmp_path / "site")[0] is None


def test_another_checkout_still_comes_first(clone, wheel, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(clone, other, symlinks=True)
    assert found_from(other, wheel, tmp_path / "site") == of(other)
    assert found_from(clone.parent, wheel, tmp_path / "site", path=other) == of(other)


def test_the_record_of_the_wheel_is_right(wheel):
    with zipfile.ZipFile(wheel) as contents:
        files = {name: contents.read(name) for name in contents.namelist()}
    (record,) = (name for name in files if name.endswith("/RECORD"))
    rows = {name: (digest, size) for name, digest, size in csv.reader(files[record].decode().splitlines())}
    assert rows.pop(record) == ("", "")
    assert rows.keys() == files.keys() - {record}
    for name, (digest, size) in rows.items():
        found = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={found}", str(len(files[name])))
