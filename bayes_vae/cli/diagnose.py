"""``bayes-vae diagnose``: what is wrong with a run, if anything, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.loading import OpenedRun, open_named, open_run
from bayes_vae.cli.output import json_text, note
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import DiagnoseSettings
from bayes_vae.vocabulary.conditions import missing_text

if TYPE_CHECKING:
    from bayes_vae.diagnosis import Comparison, Diagnosis

__all__ = ["diagnose_run", "diagnosis_text", "run"]


HEALTHY, FOUND, UNKNOWN = 0, 1, 3
"""Exit codes: nothing is wrong, something above a note was found, not everything could be checked; 2 is an error."""


def run(arguments: Sequence[str]) -> int:
    """Run the command: 0 where all was checked and is well, 1 where something is wrong, 3 where that is not known."""
    opened, settings, as_json = open_named(
        arguments,
        "diagnose",
        "What is wrong with a run, if anything: findings with the numbers they rest on, why they matter and what to "
        "do; writes RUN/diagnosis.json. The exit code is 0 if all checks were made and found nothing above a note, 1 "
        "if something was found, 3 if nothing was found but not everything could be checked.",
        DiagnoseSettings,
    )
    found, result = diagnose_run(opened, settings)
    text = diagnosis_text(found, result)
    if settings.against is not None:
        compared = _against(opened, settings, found)
        result["against"] = {"run": settings.against, **compared.to_json()}
        text += f"\n\nAgainst {settings.against}\n{compared.table()}"
    opened.show(result, text, f"Written to {result['file']}", as_json)
    return {True: HEALTHY, False: FOUND, None: UNKNOWN}[found.healthy]


def _against(opened: OpenedRun, settings: DiagnoseSettings, found: Diagnosis) -> Comparison:
    """The other run, by the same checks, and this one beside it."""
    from bayes_vae.diagnosis import Comparison

    assert settings.against is not None
    other = open_run(settings.against, opened.device, None, None, None)
    return Comparison(_diagnosed(other, settings, "the other run", found.checks), found)


def diagnose_run(opened: OpenedRun, settings: DiagnoseSettings) -> tuple[Diagnosis, dict[str, Any]]:
    """Diagnose a run with its history and settings; the diagnosis, and what will be stored of it in the run."""
    found = _diagnosed(opened, settings, "diagnosis")
    content = {"data": {"name": opened.data.name, "policy": opened.data.policy}, **found.to_json()}
    file = opened.add("diagnosis.json", json_text(content).encode())
    return found, {"run": str(opened.directory.path), **content, "file": file}


def _diagnosed(
    opened: OpenedRun, settings: DiagnoseSettings, task: str, checks: Sequence[str] | None = None
) -> Diagnosis:
    from bayes_vae.diagnosis import diagnose

    directory = opened.directory
    with ProgressBar(task, "checks", settings.seconds if settings.checks is None else math.inf) as progress:
        return diagnose(
            opened.model,
            opened.guide,
            opened.data,
            history=directory.history,
            settings=directory.settings.get("training"),
            num_observations=settings.num_observations,
            seed=settings.seed,
            seconds=settings.seconds,
            checks=checks or settings.checks,
            progress=progress,
            announce=lambda words: note(f"{task}: {words}"),
        )


def diagnosis_text(found: Diagnosis, result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    rows = f"N = {found.num_train:,} training and {found.num_test:,} test observations of {result['data']['name']}"
    gaps = f"{missing_text(found.missing_share)}, " if found.missing_share else ""
    conditions = (
        f"Nats per observation; K = {found.num_particles}, {rows}, policy {found.data_policy}, {gaps}seed {found.seed}."
    )
    return "\n".join([found.table(), "", conditions])
