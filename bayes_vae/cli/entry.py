"""From the words on the command line to a command, and from what goes wrong to an exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from bayes_vae import __version__
from bayes_vae.cli.output import nearest, note
from bayes_vae.errors import BayesVaeError, LostProcessError, Terminated, printable
from bayes_vae.process import end_with_stdin, ending_signals_raise, is_main_process, rank_and_size, work_alone

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "train on the bundled digits and show everything, in about a minute",
    "train": "train a VAE by SVI and save it as a run directory",
    "evaluate": "the Bayes terms of a run's test set, with errors",
    "compare": "the ladder ELBO ≤ L_5 ≤ … ≤ annealed ≤ log p(x) of a run; several runs by log p(x), with paired errors",
    "score": "log p(x), its parts and its rank for each row of a file, as CSV",
    "encode": "mean and deviation of q(z given x) for each row of a file, as .npz or CSV",
    "sample": "draws of the model, reconstructions or interpolations, as a picture or an array",
    "explain": "Bayes' rule for one observation: a table and a picture",
    "diagnose": "what is wrong with a run, if anything, and what to do",
    "report": "all of it as one HTML file: terms, pictures, reliability, gaps",
    "refit-prior": "a better p(z) for a trained run whose samples are worse than its reconstructions",
    "rate-distortion": "what a run's decoder can do at each rate, without retraining: a table and a figure",
    "sweep": "train a grid of settings, one run each, and compare them",
    "explore": "one interactive HTML page: Bayes' rule seen on the run's own images",
    "experiment": "run a script that answers one question; without a name, list the scripts",
}

SHARED = ("train", "evaluate")
"""Commands whose work several processes share."""

BY_A_SIGNAL, BROKEN_PIPE, FAILED, LOST = 128, 141, 2, 3
"""Exit codes: a signal (to which its number is added), a reader that went away, wrong input, and where another of
several processes failed, whose own code tells."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit code: 0, 2 for wrong input, 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        argv: the words after ``bayes-vae``; the process's own when None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and isinstance(sys.stdout, io.TextIOWrapper):
        _choose_encoding(sys.stdout, arguments)
    try:
        with ending_signals_raise(), _printable_warnings():
            end_with_stdin()
            code = _run(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt as interruption:
        number = interruption.number if isinstance(interruption, Terminated) else signal.SIGINT
        code = _complain(str(interruption) or "interrupted.", BY_A_SIGNAL + number)
    except BrokenPipeError:
        code = BROKEN_PIPE
    except Exception as error:
        if "--debug" in arguments:
            raise
        code = _complain(_told(error), LOST if isinstance(error, LostProcessError) else FAILED)
    _flush_or_discard()
    return code


@contextlib.contextmanager
def _printable_warnings() -> Iterator[None]:
    """Warnings of any library, such as Matplotlib's of a letter that it cannot draw, hold nothing a terminal obeys."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda *about: printable(before(*about))
    try:
        yield
    finally:
        warnings.formatwarning = before


def _choose_encoding(output: io.TextIOWrapper, arguments: Sequence[str]) -> None:
    """A terminal without Greek letters gets question marks; what programs read is always UTF-8."""
    for_programs = {"--json", "--print-config", "--print_config"} & set(arguments)
    output.reconfigure(errors="replace", encoding="utf-8" if for_programs else None)


def _told(error: Exception) -> str:
    """An error in words; one that nobody foresaw says so."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    text = " ".join(str(error).split())
    if isinstance(error, BayesVaeError | OSError):
        return text
    return f"unexpected {type(error).__name__}: {text[:500]} (--debug shows where)"


def _flush_or_discard() -> None:
    """Drop output that cannot be written, else Python complains of it again when it ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    """The exit code of a command, of help (0), or of wrong flags (2)."""
    try:
        name = _command(arguments)
        alone = rank_and_size()[1] == 1
        if not alone and name not in SHARED:
            if not is_main_process():
                note(f"bayes-vae: `{name}` runs in one process: that of rank 0 does the work, this one has none.")
                return 0
            work_alone()
        module = importlib.import_module(f"bayes_vae.cli.{name.replace('-', '_')}")
        with contextlib.nullcontext() if is_main_process() else _unheard():
            code: int = module.run(arguments[1:])
    except SystemExit as ending:  # how argparse ends help and errors
        return _complain(ending.code, FAILED) if isinstance(ending.code, str) else ending.code or 0
    return code


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Of several processes that of rank 0 speaks; of the others, an error is heard."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _command(arguments: list[str]) -> str:
    """The first word, which names the command; each command reads the others itself."""
    width = max(len(name) for name in COMMANDS)
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="bayes-vae",
        usage="bayes-vae COMMAND [--help] [--seed N] [--device NAME] [--json] ...",
        description="A variational autoencoder explained as Bayes' rule: every term named, in nats, with its error.",
        epilog=f"commands:\n{listing}\n\n`bayes-vae COMMAND --help` lists the flags of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help="show this and exit")
    parser.add_argument("--version", action="version", version=f"bayes_vae {__version__}")
    first = arguments[0] if arguments else "--help"
    if first in COMMANDS:
        return first
    if first in ("-h", "--help", "--version"):
        parser.parse_args([first])
    problem = "flags come after the command" if first.startswith("-") else f"there is no command {first!r}"
    close = nearest(first, COMMANDS)
    hint = f"did you mean {close}? " if close else ""
    parser.error(f"{problem}; {hint}the commands are {', '.join(COMMANDS)}.")


def _complain(message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):  # there may be nobody left to tell
        note(f"bayes-vae: {' '.join(message.split())}")
    return code
