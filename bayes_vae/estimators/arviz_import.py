"""The one place that imports ArviZ: it is slow, warns once a day, and creates a cache directory."""

from __future__ import annotations

import os
import tempfile
from typing import Any

__all__ = ["import_arviz"]


def import_arviz() -> Any:
    """ArviZ, imported when first used, whether or not a cache directory can be created."""
    try:
        import arviz
    except (OSError, RuntimeError):  # no cache directory, or nobody's home: give it a throw-away one for the import
        import platformdirs

        user_cache_dir, home = platformdirs.user_cache_dir, os.environ.get("HOME")
        with tempfile.TemporaryDirectory() as folder:
            platformdirs.user_cache_dir = lambda *_, **__: folder
            os.environ["HOME"] = home or folder
            try:
                import arviz
            finally:
                platformdirs.user_cache_dir = user_cache_dir
                if home is None:
                    del os.environ["HOME"]
    return arviz
