"""The page as one file: modules, style and numbers inlined, nothing fetched, nothing that a name could run."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from bayes_vae.errors import SettingsError
from bayes_vae.explore.collect import RunView
from bayes_vae.runs.config import versions

__all__ = ["content_of", "explore_page", "page_of", "script"]

IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
CONTENT = re.compile(r'<script type="application/json" id="content">(.*?)</script>')
EXPORT = re.compile(r"^export (?=const|function|async function|class|let)", re.MULTILINE)

TYPES = {torch.float64: "float64", torch.float32: "float32", torch.uint8: "uint8", torch.int64: "int32"}

LARGEST = 5_000_000
"""Bytes of a page that opens quickly."""


def script(first: str = "main.js") -> str:
    """The modules of the page as one script, each after those that it imports.

    Args:
        first: the module that imports the others.
    """
    done: dict[str, str] = {}
    _add(first, done)
    return "\n".join(done.values())


def _add(name: str, done: dict[str, str]) -> None:
    if name in done:
        return
    source = _file(name)
    for needed in IMPORT.findall(source):
        _add(needed, done)
    done[name] = EXPORT.sub("", IMPORT.sub("", source))


def _file(name: str) -> str:
    return (files("bayes_vae.explore") / "page" / name).read_text(encoding="utf-8")


def explore_page(views: Sequence[RunView]) -> str:
    """The HTML of the page of one run, or of several on the same data.

    Raises:
        SettingsError: no run, or runs on different data or of different latent dimensions.
    """
    _require_same_data(views)
    content = {"version": versions()["bayes_vae"], "runs": [view.content for view in views], "varied": _varied(views)}
    return page_of(json_for_html(content))


def page_of(content: str) -> str:
    """The HTML of the page of some content, which is what :func:`content_of` reads from a page.

    Args:
        content: of :func:`explore_page`, as :func:`json_for_html` writes it.
    """
    code, style = f'"use strict";\n{script()}', _file("page.css")
    policy = (
        f"default-src 'none'; script-src {_hash(code)}; style-src {_hash(style)}; img-src data: blob:; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )
    pieces = {
        "policy": policy,
        "title": escape(", ".join(run["name"] for run in json.loads(content)["runs"])),
        "style": style,
        "content": content,
        "code": code,
    }
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: pieces[found[1]], _file("page.html"))


def content_of(page: str) -> str:
    """The numbers of a page, without its script and style: kept, they make the page anew by :func:`page_of`."""
    found = CONTENT.search(page)
    if found is None:
        raise SettingsError("this is not a page of bayes-vae explore: it has no content.")
    return found[1]


def json_for_html(content: Any) -> str:
    r"""JSON in which no text can end the element that it stands in; tensors become base64.

    >>> json_for_html({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    text = json.dumps(_plain(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(content: Any) -> Any:
    if isinstance(content, torch.Tensor):
        return _array(content)
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _array(tensor: torch.Tensor) -> dict[str, Any]:
    """A tensor as base64; float64 that float32 can hold, as weights are, as float32."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.float64 and bool((tensor.float().double() == tensor).all()):
        tensor = tensor.float()
    raw = np.ascontiguousarray(tensor.to(torch.int32) if tensor.dtype == torch.int64 else tensor)
    little = raw.astype(raw.dtype.newbyteorder("<"))
    encoded = base64.b64encode(little.tobytes()).decode()
    return {"array": TYPES[tensor.dtype], "shape": list(tensor.shape), "base64": encoded}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _require_same_data(views: Sequence[RunView]) -> None:
    if not views:
        raise SettingsError("the page needs at least one run.")
    first = views[0]
    for view in views[1:]:
        same = view.digest == first.digest and view.content["images"]["index"] == first.content["images"]["index"]
        if not same or view.content["images"]["policy"] != first.content["images"]["policy"]:
            raise SettingsError(
                f"one page shows runs on the same observations, and those of {view.name} are not those of "
                f"{first.name}: make a page for each."
            )
        if view.content["latent_dim"] != first.content["latent_dim"]:
            raise SettingsError(
                f"one page shows runs with the same latent dimension: {first.name} has "
                f"{first.content['latent_dim']}, {view.name} has {view.content['latent_dim']}. Make a page for each."
            )


def _varied(views: Sequence[RunView]) -> list[dict[str, Any]]:
    """Settings that differ between the runs: name → value of each."""
    names = sorted({name for view in views for name in view.settings})
    values = {name: [view.settings.get(name) for view in views] for name in names}
    return [
        {"name": name, "values": [str(value) for value in found]}
        for name, found in values.items()
        if any(value != found[0] for value in found)
    ]
