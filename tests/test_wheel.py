"""The wheel, built from the tree and from the sdist, holds every module once and works outside the tree."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("experiments", "guides", "models")
CONTENTS = (
    "bayes_vae",
    *MAPPED,
    "tests",
    "build_backend.py",
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "LICENSE",
    "README.md",
)


def run_module(*arguments, cwd):
    child = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert child.returncode == 0, child.stdout + child.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of the tree, symlinks and all, so that nothing is built in the real one."""
    folder = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in CONTENTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
    """Return the folders of the wheel built from the tree, and of the sdist with the wheel built from it."""
    out = tmp_path_factory.mktemp("built")
    build = ("build", "--no-isolation", "--skip-dependency-check")
    run_module(*build, "--outdir", str(out / "sdist"), cwd=tree)
    run_module(*build, "--wheel", "--outdir", str(out / "tree"), cwd=tree)
    return out


@pytest.fixture(scope="module", params=["tree", "sdist"])
def wheel(built, request):
    (path,) = (built / request.param).glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return a folder, outside the tree, into which the wheel is installed."""
    target = tmp_path_factory.mktemp("installed")
    install = ("pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    run_module(*install, "--target", str(target), str(wheel), cwd=target)
    return target


def modules_on_disk():
    """Return the path in the package of every module, each once."""
    own = (path for path in (ROOT / "bayes_vae").rglob("*.py"))
    names = {path.relative_to(ROOT) for path in own if path.relative_to(ROOT).parts[1] not in MAPPED}
    mapped = (path for folder in MAPPED for path in (ROOT / folder).rglob("*.py"))
    return {path.as_posix() for path in names | {"bayes_vae" / p.relative_to(ROOT) for p in mapped}}


def test_the_wheel_holds_every_module_once_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    files = {name for name in names if ".dist-info/" not in name}
    assert {name for name in files if name.endswith(".py")} == modules_on_disk()
    assert "bayes_vae/py.typed" in files
    assert {"bayes_vae/report/templates/report.html", "bayes_vae/report/templates/report.css"} <= files
    assert {"bayes_vae/explore/page/page.html", "bayes_vae/explore/page/main.js"} <= files
    assert "bayes_vae/experiments/settings/two-layer.yaml" in files
    assert "bayes_vae/reference_pairs/values.json" in files
    assert {name.split("/")[0] for name in files} == {"bayes_vae"}


def test_the_sdist_holds_every_module_once(built):
    (path,) = (built / "sdist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    names = [member.name.partition("/")[2] for member in members if not member.isdir()]
    assert not [member.name for member in members if member.issym()]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(tuple(f"bayes_vae/{folder}/" for folder in MAPPED))]
    assert {"tests/conftest.py", "models/__init__.py", "LICENSE", "setup.cfg"} <= set(names)


def test_the_installed_packages_are_the_wheels_own(installed, tmp_path):
    source = f"""
import importlib
from pathlib import Path
for name in ("bayes_vae", *(f"bayes_vae.{{folder}}" for folder in {MAPPED})):
    path = Path(importlib.import_module(name).__file__).resolve()
    print(path.relative_to({str(installed.resolve())!r}))
"""
    child = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found = [Path(line).as_posix() for line in child.stdout.splitlines()]
    assert found == ["bayes_vae/__init__.py", *(f"bayes_vae/{folder}/__init__.py" for folder in MAPPED)]


def test_a_report_can_be_made_with_the_installed_packages(installed, tmp_path):
    source = """
from pathlib import Path
import bayes_vae as bv
from bayes_vae.report import report_contents, report_page
from bayes_vae.settings import PairSettings, ReportSettings
from bayes_vae.training import build_pair
data = bv.load_data("digits")
settings = ReportSettings(4, 30, 2, 0, 8, 0, 0)
page = report_page(report_contents(*build_pair(PairSettings(3, (4,)), data), data, settings))
Path("report.html").write_text(page, encoding="utf-8")
print(bv.__file__)
"""
    child = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith(str(installed))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "</html>" in page
    assert "<style>\n:root" in page
