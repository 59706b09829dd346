"""One boundary around whatever reads a run's files: what a parser raises becomes one documented error."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bayes_vae.errors import RunError
from bayes_vae.plain_files import one_error

__all__ = ["documented"]


def documented(what: object) -> AbstractContextManager[None]:
    """Let no error but this library's leave the block.

    Args:
        what: the file or the run that is read, for the message.

    Raises:
        RunError: in place of any other exception.
    """
    remedy = "It was changed or damaged. Restore it from a copy of the run directory, or train again."
    return one_error(RunError, f"{what} cannot be used", remedy)
