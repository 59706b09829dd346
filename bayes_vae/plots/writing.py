"""A figure into a file, where the user said."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from bayes_vae.errors import SettingsError
from bayes_vae.plots.style import save_figure

__all__ = ["write_figure"]

OTHER_FORMATS = (".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp", ".gif")


def write_figure(figure: Figure, out: str | Path, name: str) -> Path:
    """Write a figure as a PNG file.

    Args:
        figure: what to write.
        out: a path that ends in .png, or a folder, which is made where there is none.
        name: of the file in that folder, without .png.

    Returns:
        where it is.

    Raises:
        SettingsError: a path of another format.
    """
    path = Path(out)
    if path.suffix.lower() in OTHER_FORMATS:
        raise SettingsError(
            f"out is a folder, or a path that ends in .png, got {str(out)!r}. Figures are written as PNG."
        )
    if path.suffix.lower() != ".png":
        path = path / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save_figure(figure))
    return path
