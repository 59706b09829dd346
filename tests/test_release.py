"""What a release checks before it builds."""

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pytest

import bayes_vae

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = "# Changelog\n\n## [1.2.0] - 2026-01-31\n\n### Added\n"
CITATION = "title: x\nversion: 1.2.0\nlicense: y\n"


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", ROOT / "release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_one(release):
    assert release.read_version() == bayes_vae.__version__ == version("bayes_vae")
    assert f"\nversion: {bayes_vae.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_tagged_clean_described_version_is_released(release):
    assert release.complaints("1.2.0", "v1.2.0\nlatest\n", "", CHANGELOG, CITATION) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": "v1.1.0\n"}, "the commit has no tag v1.2.0"),
        ({"changes": " M setup.cfg\n"}, "changes that are not committed"),
        ({"changelog": "## [Unreleased]\n"}, r"no heading '## \[1.2.0\] - YYYY-MM-DD'"),
        ({"citation": "version: 1.2.0.dev1\n"}, "CITATION.cff does not say 'version: 1.2.0'"),
    ],
)
def test_what_keeps_a_version_from_release_is_said(release, change, message):
    given = {"tags": "v1.2.0", "changes": "", "changelog": CHANGELOG, "citation": CITATION}
    (sentence,) = release.complaints("1.2.0", **(given | change))
    assert re.search(message, sentence)
