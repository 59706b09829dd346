"""The settings files that come with the package: one for each model, guide and objective that people use."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["bundled_settings", "resolve_settings"]


def bundled_settings() -> dict[str, Path]:
    """Name → settings file of those that come with the package.

    >>> "bernoulli" in bundled_settings()
    True
    """
    folder = Path(str(files("bayes_vae.experiments"))) / "settings"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def resolve_settings(named: str) -> Path:
    """The file that was named: a path, or else the name of one that comes with the package."""
    path = Path(named)
    return path if path.exists() else bundled_settings().get(named, path)
