"""Repeating a run from what it stored: the same settings, the same data, and what else the figures depend on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.output import note
from bayes_vae.errors import DataError
from bayes_vae.settings import DataSettings

if TYPE_CHECKING:
    from bayes_vae.data import Data

__all__ = ["check_repeated_data", "threads_of"]

Configuration = Mapping[str, Any]


def threads_of(run: Configuration | None) -> AbstractContextManager[None]:
    """Compute on as many threads as a run did: sums over another number of parts are rounded differently."""
    from bayes_vae.cli.device import on_threads

    count = None if run is None else run.get("machine", {}).get("threads")
    return on_threads(count) if isinstance(count, int) and count >= 1 else nullcontext()


def check_repeated_data(run: Configuration, settings: DataSettings, data: Data) -> None:
    """Refuse data that were meant to be a run's own and are not; note what else is not as it was.

    Args:
        run: the configuration of the run that is repeated.
        settings: the data's settings now; flags may have changed them, which is noted.
        data: the data now.

    Raises:
        DataError: the same settings give data of another digest.
    """
    _note_other_machine(run)
    _note_extension(run)
    if data.digest == run["data"]["digest"]:
        return
    named = f"the data set {data.name!r}"
    if DataSettings(**run["settings"]["data"]) == settings:
        raise DataError(
            f"{named} is not what the run was trained on: its digest is {data.digest[:12]}…, then it was "
            f"{run['data']['digest'][:12]}…. Restore the data, or name others with --data for a training of its own."
        )
    note(f"note: {named} is not what the run was trained on ({run['data']['name']}): this is a training of its own.")


def _note_extension(run: Configuration) -> None:
    """Say so where the run was extended under a schedule that spans all epochs."""
    from bayes_vae.runs.config import extension_note

    extended = extension_note(run)
    if extended:
        note(f"note: {extended}.")


def _note_other_machine(run: Configuration) -> None:
    """Say so where versions or the machine are not the run's: the last digits of figures may then differ."""
    from bayes_vae.runs.config import machine, versions

    differences = [
        f"{name} {then} (now {now.get(name)})"
        for now, stored in ((versions(), run["versions"]), (machine(), run.get("machine", {})))
        for name, then in stored.items()
        if now.get(name) != then
    ]
    if differences:
        note(f"note: the run was made with {', '.join(differences)}: figures may differ in their last digits.")
