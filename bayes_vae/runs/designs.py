"""Which runs are trainings of one design: they differ in nothing but their seed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from bayes_vae.errors import SettingsError
from bayes_vae.runs.boundary import documented
from bayes_vae.runs.directory import RunDirectory
from bayes_vae.runs.manifest import read_manifest, run_path
from bayes_vae.terms.whole_numbers import several

__all__ = ["designs_of"]

NOT_DESIGN = {"seed", "device", "checkpoint_every_steps"}
"""Settings of a training that choose its noise, its machine and its files, and not what is trained."""


def designs_of(runs: Sequence[str | Path]) -> dict[str, list[RunDirectory]]:
    """Group run directories by what was trained, each group by its seeds.

    Two runs are of one design if the model, the guide and what trained them are the same, and only the seed is not.
    Programs that a run directory cannot build are designs of their own, since nobody knows what they share, and so is a
    training that was interrupted.

    Args:
        runs: the folders.

    Returns:
        name → its runs, in the order of their seeds; a design of one run is named like its folder, and of several like
        what the names of their folders have in common.

    Raises:
        SettingsError: no folder, one that is named twice, or two runs of one design with the same seed.
        RunError: not a run directory.
    """
    wanted = "the folders of two or more runs"
    folders = [run_path(run) for run in several("runs", runs, wanted)]
    if not folders:
        raise SettingsError(f"runs must be {wanted}, got none.")
    with documented("one of these runs"):
        resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise SettingsError(f"the run {folder} is named twice: a run is compared with others, name each once.")
    groups: dict[str, list[RunDirectory]] = {}
    for number, folder in enumerate(folders):
        run = RunDirectory(folder)
        groups.setdefault(_design(run.config, number), []).append(run)
    return _named([_by_seed(group) for group in groups.values()])


def _design(config: Mapping[str, Any], number: int) -> str:
    """What was trained, as text to compare; the number of the run where that is not known or not all was trained."""
    settings = {name: values for name, values in config["settings"].items() if name != "data"}
    training = settings.get("training")
    built = all(config[role].get("class") for role in ("model", "guide"))
    if not built or not training or config.get("outcome", {}).get("interrupted", True):
        return str(number)
    settings["training"] = {name: value for name, value in training.items() if name not in NOT_DESIGN}
    what = [config.get(name) for name in ("model", "guide", "extended_at")]
    return json.dumps([*what, settings, config["data"].get("num_labelled")], sort_keys=True)


def _by_seed(group: list[RunDirectory]) -> list[RunDirectory]:
    """The runs of one design in the order of their seeds.

    A training from Python is given its networks: their first weights are not of its seed, so there the weights count.
    """
    found: dict[tuple[int, str], RunDirectory] = {}
    for run in group if len(group) > 1 else []:
        weights = "" if run.config.get("command") else read_manifest(run.path)["model.safetensors"]
        key = (run.settings["training"].get("seed", 0), weights)
        if key in found:
            raise SettingsError(
                f"the runs {found[key].path} and {run.path} have the same settings and the same seed, {key[0]}: they "
                "are one training, and say nothing of the spread between seeds. Name one of them, or train with "
                "another seed."
            )
        found[key] = run
    return [found[key] for key in sorted(found)] or group


def _named(groups: list[list[RunDirectory]]) -> dict[str, list[RunDirectory]]:
    """Name the designs by their folders: by the last parts of the paths, as many as tell them apart."""
    depth = max(len(run.path.resolve().parts) for group in groups for run in group)
    for parts in range(1, depth + 1):
        names = [_common([Path(*run.path.resolve().parts[-parts:]).as_posix() for run in group]) for group in groups]
        if len(set(names)) == len(names):
            break
    else:  # folders of two designs that are numbered through: all of them are named
        names = [", ".join(str(run.path) for run in group) for group in groups]
    return dict(zip(names, groups, strict=True))


def _common(names: list[str]) -> str:
    """What the names of several folders begin with, without the word for a seed.

    >>> _common(["d2-s0", "d2-s1"]), _common(["runs/d8/seed0", "runs/d8/seed1"]), _common(["tables0", "tables1"])
    ('d2', 'runs/d8', 'tables')
    """
    if len(names) == 1:
        return names[0]
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    start = "".join(letters[0] for letters in alike)
    return re.sub(r"([-_./=]+(seed|s)|seed)?[-_./=]*$", "", start) or names[0]
