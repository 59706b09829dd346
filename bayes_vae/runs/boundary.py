"""One boundary around whatever reads a run's files: what a parser raises becomes one documented error."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager

from bayes_vae.errors import BayesVaeError, RunError

__all__ = ["documented"]


@contextmanager
def documented(what: object) -> Iterator[None]:
    """Let no error but this library's leave the block.

    Args:
        what: the file or the run that is read, for the message.

    Raises:
        RunError: in place of any other exception.
    """
    try:
        yield
    except BayesVaeError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        about = f"{type(error).__name__}{f': {reprlib.repr(text)[1:-1]}' if text else ''}"
        raise RunError(
            f"{what} cannot be used ({about}): it was changed or damaged. Restore it from a copy of the run directory, "
            "or train again."
        ) from error
