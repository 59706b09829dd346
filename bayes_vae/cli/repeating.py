"""Repeating or resuming the training of a run, from what the run stored."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.output import note
from bayes_vae.errors import BayesVaeError, DataError, SettingsError
from bayes_vae.process import rank_and_size
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings, as_json

if TYPE_CHECKING:
    from bayes_vae.data import Data

__all__ = [
    "check_repeated_data",
    "check_same_pair",
    "how_to_resume",
    "nothing_to_resume",
    "on_threads",
    "read_stored",
    "threads_of",
]

Configuration = Mapping[str, Any]


def threads_of(run: Configuration | None) -> AbstractContextManager[None]:
    """Compute on as many threads as a run did: sums over another number of parts are rounded differently.

    Of several processes each computes on its share of the cores.
    """
    if rank_and_size()[1] > 1:
        return nullcontext()
    return on_threads(run.get("machine", {}).get("threads") if run else None)


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Compute on this many threads, or for None on as many as before; for small networks one is fastest."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count or threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_repeated_data(run: Configuration, settings: DataSettings, data: Data) -> None:
    """Refuse data that were meant to be a run's own and are not; note what else is not as it was.

    Args:
        run: the configuration of the run that is repeated.
        settings: the data's settings now; flags may have changed them, which is noted.
        data: the data now.

    Raises:
        DataError: the same settings give data of another digest.
    """
    from bayes_vae.runs.config import extension_note

    _note_other_machine(run)
    extended = extension_note(run)
    if extended:
        note(f"note: {extended}.")
    if data.digest == run["data"]["digest"]:
        return
    named = f"the data set {data.name!r}"
    if DataSettings(**run["settings"]["data"]) == settings:
        raise DataError(
            f"{named} is not what the run was trained on: its digest is {data.digest[:12]}…, in training it was "
            f"{run['data']['digest'][:12]}…. Restore the data, or name other data with --data to train a separate run."
        )
    note(f"note: {named} is not what the run was trained on ({run['data']['name']}): this is a separate training.")


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


def how_to_resume(folder: Path) -> str:
    """Where a training was interrupted, and the command that resumes it."""
    from bayes_vae.runs import RunDirectory

    try:
        checkpoint = RunDirectory(folder).checkpoint()
    except BayesVaeError:
        return "interrupted before training began: nothing was saved."
    where = f"after {checkpoint.epochs_done} epochs and {checkpoint.steps_done} steps"
    return f"interrupted {where}. Resume with: bayes-vae train --resume {shlex.quote(str(folder))}"


def read_stored(path: str) -> dict[str, dict[str, Any]]:
    """The settings of a run that is to be resumed, by section."""
    from bayes_vae.runs import RunDirectory
    from bayes_vae.runs.run_data import data_settings

    directory = RunDirectory(path)
    sections = {**directory.settings, "data": as_json(data_settings(directory, named=False))}
    return {name: sections[name] for name in ("data", "pair", "training") if name in sections}


def check_same_pair(stored: dict[str, dict[str, Any]], pair: PairSettings, path: str) -> None:
    """Refuse other networks than those of the run.

    Raises:
        SettingsError: names the flag.
    """
    for name, value in as_json(pair).items():
        before = stored.get("pair", as_json(pair)).get(name, getattr(PairSettings, name, None))
        if (list(before) if isinstance(before, tuple) else before) != value:
            raise SettingsError(
                f"a resumed training keeps its networks, but {name} is {before} in {path} and {value} now. Leave it "
                "out, or start a new run."
            )


def nothing_to_resume(path: str, training: TrainingSettings) -> str | None:
    """Why a run has nothing left to do, or None."""
    from bayes_vae.training.resuming import nothing_left, resume_point

    return nothing_left(resume_point(path), training, more="more with --")
