"""Run directories: a training's weights, settings and figures on disk, with a digest of every file."""

from bayes_vae.runs.directory import RunDirectory, load, read_config
from bayes_vae.runs.programs import ParameterizedProgram
from bayes_vae.runs.run import Run
from bayes_vae.runs.saving import check_destination, save

__all__ = ["ParameterizedProgram", "Run", "RunDirectory", "check_destination", "load", "read_config", "save"]
