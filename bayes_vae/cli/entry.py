"""From the words on the command line to a command, and from what goes wrong to an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from bayes_vae import __version__
from bayes_vae.cli.output import say
from bayes_vae.errors import BayesVaeError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "train on the bundled digits and show everything, in about a minute",
    "train": "train a VAE by SVI and save it as a run directory",
    "evaluate": "the Bayes terms of a run's test set, with errors",
    "compare": "the ladder ELBO ≤ L_5 ≤ L_50 ≤ … ≤ log p(x): a table and a figure",
    "experiment": "a question answered by a script; without a name, the list of them",
}

INTERRUPTED, BROKEN_PIPE, FAILED = 130, 141, 2
"""Exit codes: Ctrl-C, a reader that went away, and wrong input."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after ``bayes-vae``; the process's own when None.

    Returns:
        the exit code: 0, 2 for wrong input, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
    except KeyboardInterrupt as interruption:
        return _complain(str(interruption) or "interrupted.", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (BayesVaeError, OSError) as error:
        if "--debug" in arguments:
            raise
        return _complain(str(error), FAILED)
    return code


def _run(arguments: list[str]) -> int:
    parser = _top_level()
    if not arguments:
        parser.print_help()
        return 0
    command = parser.parse_args(arguments[:1]).command
    module = importlib.import_module(f"bayes_vae.cli.{command}")
    code: int = module.run(arguments[1:])
    return code


def _top_level() -> argparse.ArgumentParser:
    """The parser of the first word; each command reads the others itself."""
    width = max(len(name) for name in COMMANDS)
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="bayes-vae",
        usage="bayes-vae COMMAND [--help] [--seed N] [--device NAME] [--json] ...",
        description="A variational autoencoder told as Bayes' rule: every term named, in nats, with its error.",
        epilog=f"commands:\n{listing}\n\n`bayes-vae COMMAND --help` lists the flags of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    parser.add_argument("--version", action="version", version=f"bayes_vae {__version__}")
    return parser


def _complain(message: str, code: int) -> int:
    say(f"bayes-vae: {message}", sys.stderr)
    return code
