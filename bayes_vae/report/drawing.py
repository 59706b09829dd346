"""Drawings for a page: axes of a size that can be read on a phone, as SVG inline, and small pictures as PNG."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave

from bayes_vae.report.page_elements import Drawing

__all__ = ["draw", "png_uri", "svg_of"]

DOTS_PER_INCH = 200
"""Of the parts of a figure that are drawn as pixels: scatter plots."""

TIGHT: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.03}

FONTS = ["DejaVu Sans", "Verdana", "sans-serif"]
"""Text stays text, in the reader's own font: these are the first choices, the widest first."""


def draw(fill: Callable[[Axes], object], width: float, height: float, alt: str) -> Drawing:
    """One figure of one Axes.

    Args:
        fill: draws on the axes.
        width, height: inches; at five inches and more, text is small on a phone.
        alt: what one sees, for those who do not.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    fill(figure.add_subplot())
    return Drawing(svg_of(figure), alt)


def svg_of(figure: Figure) -> str:
    """A figure as an SVG element to put into HTML: text as text, no metadata, names that meet no other figure's.

    The same figure gives the same text; no setting of the process changes.
    """
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "bayes_vae", "svg.image_inline": True}
    buffer = io.StringIO()
    nothing: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", dpi=DOTS_PER_INCH, transparent=True, metadata=nothing, **TIGHT)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"'DejaVu Sans'(?:, [\w' -]+)*", ", ".join(f"'{font}'" for font in FONTS[:-1]) + ", sans-serif", text)
    return _with_own_names(text.strip())


def _with_own_names(svg: str) -> str:
    """Prefix every id by a digest of the drawing, so that two drawings on one page share none."""
    prefix = "d" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    svg = re.sub(r'(<[^>]*\sid=")', rf"\1{prefix}", svg)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\1{prefix}", svg)


def png_uri(image: np.ndarray) -> str:
    """Colours of shape (H, W, 3), uint8, as the data URI of a PNG."""
    buffer, nothing = io.BytesIO(), cast(Any, {"Software": None})
    imsave(buffer, image, format="png", metadata=nothing)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
