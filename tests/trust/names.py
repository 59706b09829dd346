"""Hostile names: of runs, files, columns and labels, in terminals and on pages, where they stay plain text.

``python -m trust.names`` trains a run on a table of such names and calls every command on it; it prints in how many
outputs nothing was obeyed, as JSON. What a page may hold is what the page of harmless names holds.
"""

import argparse
import contextlib
import csv
import io
import json
import sys
import tempfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from bayes_vae.cli import main
from bayes_vae.errors import printable

NAMES = [
    "</script><script>alert(1)</script>\x1b[2J\u202e",
    "\"><img src=x onerror=alert(1)>'&",
    "<script>alert(1)</script>",
    "'><svg onload=alert(1)>",
    "</title></head><body onload=alert(1)>",
    "</style><style>*{display:none}</style>",
    "<!--",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<base href=//example.org><meta http-equiv=refresh content=0>",
    "javascript:alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "{{ code }}{{ content }}{{ title }}",
    "\\u003cscript\\u003ealert(1)",
    "${alert(1)}`alert(1)`",
    "\u2028alert(1)//\u2029",
    "$x_1$ $\\frac{$ \\input{x}",
    "%s %(name)s {0} {name}",
    "\x1b]0;x\x07\x9b31m\u202eabc\u2066",
    "-rf --out=x; $(touch x) `touch x`",
    "=cmd|' /C calc'!A0",
]
HARMLESS = "plain"

FEW = ["--num-observations", "3", "--num-particles", "2"]
COMMANDS = {
    "evaluate": [*FEW, "--num-temperatures", "0"],
    "compare": ["--rungs", "1,2", "--num-temperatures", "0", "--num-observations", "3"],
    "explain": ["--num-particles", "2", "--num-temperatures", "0"],
    "diagnose": ["--num-observations", "20", "--seconds", "1"],
    "rate-distortion": [*FEW, "--num-temperatures", "2"],
    "explore": ["--num-images", "2", "--num-codes", "2", "--num-particles", "2", "--num-points", "9"],
    "report": [
        *("--num-observations", "4", "--num-particles", "4", "--num-temperatures", "0", "--num-gap-observations", "0"),
        *("--num-encoded", "10", "--num-simulated", "0", "--num-diagnosed", "0"),
    ],
    "score": ["--num-particles", "2", "--num-reference", "3", "--out", "scores.csv"],
    "encode": ["--out", "codes.npz"],
}


class Tags(HTMLParser):
    """How often each tag stands on a page, and with which attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found[tag] += 1
        self.attributes |= {name for name, _ in attributes}
        for _, value in attributes:
            assert not (value or "").strip().lower().startswith("javascript:"), value


OBEYED = ("script", "style", "title", "meta", "base", "link", "iframe", "object", "embed", "form", "body", "head")
"""Tags that a page of hostile names has exactly as often as that of harmless ones."""


def table(path: Path, name: str) -> None:
    """A table whose columns and labels have this name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*(f"{name}{column}" for column in range(6)), "label"])
        for row in range(120):
            rows.writerow([*(row * (column + 3) // 7 % 2 for column in range(6)), f"{name} {'ab'[row % 2]}"])


def called(*words: str) -> tuple[int, str]:
    """A command's exit code, and all that it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(list(words))
    return code, printed.getvalue()


def outputs(folder: Path, name: str) -> tuple[dict[str, int], dict[str, Tags]]:
    """Exit codes of every command on a run of this name, and the pages that they made; terminals obey nothing."""
    folder.mkdir()
    file_name = name.replace("/", "\u2215")
    data, run = folder / f"{file_name}.csv", folder / file_name
    table(data, name)
    codes = {}
    train = ["--data", str(data), "--label-column", "label", "--latent-dim", "2", "--hidden-dims", "4"]
    with contextlib.chdir(folder):
        for command, words in {"train": [*train, "--epochs", "1", f"--out={run}"], **COMMANDS}.items():
            where = [] if command == "train" else ["--", str(run)]
            codes[command], text = called(command, *words, *where)
            assert printable(text) == text, (command, name, text)
            assert "Traceback" not in text, (command, name, text)
            if codes[command] == 2:
                sys.stderr.write(f"{command}: {text}")
        assert not (folder / "x").exists()
    return codes, {page.name: Tags(page.read_text(encoding="utf-8")) for page in run.glob("*.html")}


def compared(folder: Path, names: list[str]) -> Counter[str]:
    """Commands and pages of hostile names that were as those of harmless ones.

    Raises:
        AssertionError: one that was not.
    """
    counts: Counter[str] = Counter()
    expected, plain = outputs(folder / "plain", HARMLESS)
    assert 2 not in expected.values(), expected
    assert len(plain) == 2, plain
    for number, name in enumerate(names):
        codes, pages = outputs(folder / f"{number}", name)
        codes["diagnose"] = expected["diagnose"] if codes["diagnose"] != 2 else 2  # others depend on the seconds
        assert codes == expected, (name, codes)
        assert pages.keys() == plain.keys(), name
        for page, tags in pages.items():
            assert tags.attributes <= plain[page].attributes, (name, page, tags.attributes)
            assert tags.found.keys() == plain[page].found.keys(), (name, page)
            assert [tags.found[tag] for tag in OBEYED] == [plain[page].found[tag] for tag in OBEYED], (name, page)
        counts.update(names=1, outputs=len(codes), pages=len(pages))
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", type=int, default=len(NAMES))
    with tempfile.TemporaryDirectory() as here:
        sys.stdout.write(json.dumps(compared(Path(here), NAMES[: parser.parse_args().names])))
