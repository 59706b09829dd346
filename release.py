"""Build the sdist and the wheel of a tagged version: ``make dist``.

The version stands in ``bayes_vae/__init__.py``; the tag ``vX.Y.Z``, the changelog's newest heading and CITATION.cff
have to say the same, and the tree has to be clean.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def read_version(root: Path = ROOT) -> str:
    """The version that the package states."""
    (version,) = re.findall(r'^__version__ = "(.+)"$', (root / "bayes_vae" / "__init__.py").read_text(), re.MULTILINE)
    return str(version)


def complaints(version: str, tags: str, changes: str, changelog: str, citation: str) -> list[str]:
    """What keeps a version from being released, a sentence each.

    Args:
        version: of the package.
        tags: the tags of the commit, one a line.
        changes: what ``git status --porcelain`` says.
        changelog: text of CHANGELOG.md.
        citation: text of CITATION.cff.
    """
    found = []
    if f"v{version}" not in tags.split():
        found.append(f"the commit has no tag v{version}: git tag v{version}, or change __version__.")
    if changes.strip():
        found.append("the tree has changes that are not committed: commit them first.")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD': give [Unreleased] its name and date.")
    if f"\nversion: {version}\n" not in citation:
        found.append(f"CITATION.cff does not say 'version: {version}'.")
    return found


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Check, and build into ``dist/``."""
    version = read_version()
    changelog, citation = (ROOT / "CHANGELOG.md").read_text(), (ROOT / "CITATION.cff").read_text()
    wrong = complaints(version, _git("tag", "--points-at", "HEAD"), _git("status", "--porcelain"), changelog, citation)
    for sentence in wrong:
        sys.stderr.write(f"release: {sentence}\n")
    if wrong:
        return 2
    return subprocess.run([sys.executable, "-m", "build", str(ROOT)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
