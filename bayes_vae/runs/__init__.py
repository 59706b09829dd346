"""Run directories: a training's weights, settings and figures on disk, with a digest of every file."""

from bayes_vae.runs.checkpoint import Checkpoint
from bayes_vae.runs.comparing import compare_models, compare_runs
from bayes_vae.runs.directory import RunDirectory, load, read_config
from bayes_vae.runs.programs import ParameterizedProgram
from bayes_vae.runs.run import Ending, Run
from bayes_vae.runs.saving import check_destination, save
from bayes_vae.runs.writer import RunWriter, run_writer

__all__ = [
    "Checkpoint",
    "Ending",
    "ParameterizedProgram",
    "Run",
    "RunDirectory",
    "RunWriter",
    "check_destination",
    "compare_models",
    "compare_runs",
    "load",
    "read_config",
    "run_writer",
    "save",
]
