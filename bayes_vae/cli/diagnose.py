"""``bayes-vae diagnose``: what is wrong with a run, if anything, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.loading import OpenedRun, open_named
from bayes_vae.cli.output import Progress, json_text
from bayes_vae.settings import DiagnoseSettings

if TYPE_CHECKING:
    from bayes_vae.diagnosis import Diagnosis

__all__ = ["diagnose_run", "diagnosis_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    opened, settings, as_json = open_named(
        arguments,
        "diagnose",
        "What is wrong with a run, if anything: findings with the numbers they rest on, why they matter, what to do; "
        "writes RUN/diagnosis.json.",
        DiagnoseSettings,
    )
    found, result = diagnose_run(opened, settings)
    return opened.show(result, diagnosis_text(found, result), f"Written to {result['file']}", as_json)


def diagnose_run(opened: OpenedRun, settings: DiagnoseSettings) -> tuple[Diagnosis, dict[str, Any]]:
    """Diagnose a run with its history and settings; the diagnosis, and what will be stored of it in the run."""
    from bayes_vae.diagnosis import diagnose

    directory = opened.directory
    with Progress("diagnosis", "measurements") as progress:
        found = diagnose(
            opened.model,
            opened.guide,
            opened.data,
            history=directory.history,
            settings=directory.settings.get("training"),
            num_observations=settings.num_observations,
            seed=settings.seed,
            progress=progress,
        )
    content = {"data": {"name": opened.data.name, "policy": opened.data.policy}, **found.to_json()}
    file = opened.add("diagnosis.json", json_text(content).encode())
    return found, {"run": str(directory.path), **content, "file": file}


def diagnosis_text(found: Diagnosis, result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    rows = f"N = {found.num_train:,} training and {found.num_test:,} test observations of {result['data']['name']}"
    conditions = (
        f"Nats per observation; K = {found.num_particles}, {rows}, policy {found.data_policy}, seed {found.seed}."
    )
    return "\n".join([found.table(), "", conditions])
