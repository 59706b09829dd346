"""What setup.cfg declares is what the folders hold, once."""

import configparser
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL_FOLDERS = {
    "bayes_vae.experiments": "experiments",
    "bayes_vae.guides": "guides",
    "bayes_vae.models": "models",
}


def read_lines(section, option):
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser[section][option].split("\n")[1:]


def packages_in(folder, name):
    """Return the dotted name of each package under a folder; symlinks are not followed."""
    inits = (path for path in folder.rglob("__init__.py") if not path.parent.is_symlink())
    return {".".join([name, *path.parent.relative_to(folder).parts]) for path in inits}


def packages_on_disk():
    folders = {"bayes_vae": "bayes_vae", **TOP_LEVEL_FOLDERS}
    return set.union(*(packages_in(ROOT / folder, name) for name, folder in folders.items()))


def test_packages_declared_are_the_packages_on_disk():
    declared = read_lines("options", "packages")
    assert set(declared) == packages_on_disk()
    assert len(declared) == len(set(declared))


def test_package_dir_maps_the_top_level_folders():
    lines = read_lines("options", "package_dir")
    assert dict(line.split(" = ") for line in lines) == TOP_LEVEL_FOLDERS


@pytest.mark.parametrize(("package", "folder"), TOP_LEVEL_FOLDERS.items())
def test_a_mapped_package_resolves_to_its_top_level_folder(package, folder):
    module = importlib.import_module(package)
    assert Path(module.__file__).resolve() == ROOT / folder / "__init__.py"


@pytest.mark.parametrize("folder", TOP_LEVEL_FOLDERS.values())
def test_the_symlinks_are_relative(folder):
    link = ROOT / "bayes_vae" / folder
    if not link.is_symlink():
        pytest.skip("this checkout has no symlinks: the mapping in setup.cfg stands alone")
    assert link.readlink() == Path("..", folder)


def test_every_module_is_loaded_once():
    for package in TOP_LEVEL_FOLDERS:
        importlib.import_module(package)
    folders = {ROOT / "bayes_vae", *(ROOT / folder for folder in TOP_LEVEL_FOLDERS.values())}
    names_by_file = {}
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "").resolve()
        if name != "__main__" and folders & set(file.parents):
            names_by_file.setdefault(file, []).append(name)
    copies = {str(file): names for file, names in names_by_file.items() if len(names) > 1}
    assert not copies
    assert not set(TOP_LEVEL_FOLDERS.values()) & set(sys.modules)


def test_tests_are_no_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))
