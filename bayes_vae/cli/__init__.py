"""The command line, ``bayes-vae``: one word a job. Nothing heavy is imported before a command runs."""

from bayes_vae.cli.entry import main

__all__ = ["main"]
