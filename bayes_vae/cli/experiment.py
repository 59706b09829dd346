"""``bayes-vae experiment``: run one of the scripts in ``bayes_vae.experiments``, or list them."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, get_type_hints

from bayes_vae.cli.flags import Flags, field_help
from bayes_vae.cli.output import json_text, nearest, say, table
from bayes_vae.cli.repeating import on_threads
from bayes_vae.errors import SettingsError

__all__ = ["experiments", "run"]

PACKAGE = "bayes_vae.experiments"

SHARED = ("__init__.py", "study.py", "results.py")
"""What is no script."""

REPRODUCTIONS = "reproduce/"
"""What the names of scripts that reproduce published figures begin with: their folder."""

FIGURES = "figures"
"""Folder of the figures, as when a script is run by itself."""


def experiments() -> dict[str, str]:
    """Name → first line of the docstring, read from the source; nothing is imported."""
    texts = {
        folder + file.name.removesuffix(".py"): file.read_text(encoding="utf-8")
        for folder in ("", REPRODUCTIONS)
        for file in files(PACKAGE).joinpath(folder).iterdir()
        if file.name.endswith(".py") and file.name not in SHARED
    }
    return {name: (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0] for name, text in sorted(texts.items())}


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0].startswith("-"):
        return _list(arguments)
    name = arguments[0].replace("-", "_")
    if name not in experiments():
        close = nearest(name, experiments(), cutoff=0)
        raise SettingsError(
            f"no experiment is called {name!r}: did you mean {close}? `bayes-vae experiment` lists them."
        )
    main = importlib.import_module(f"{PACKAGE}.{name.replace('/', '.')}").main
    options = vars(_flags(name, main).parse_args(arguments[1:]))
    as_json, _ = options.pop("json"), options.pop("debug")
    with on_threads(1), contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result = main(**options)
    if as_json:
        say(json_text(result))
    return 0


def _list(arguments: Sequence[str]) -> int:
    parser = Flags(
        "experiment", "[NAME] [--flag value ...]", "Run a script that answers one question, or list the scripts."
    )
    parser.add_common()
    options = parser.parse_args(arguments)
    found = experiments()
    say(json_text(found) if options.json else table(["name", "what it shows"], list(found.items())))
    return 0


def _flags(name: str, main: Callable[..., Any]) -> Flags:
    """The flags of a script: the arguments of its ``main``."""
    parser = Flags(f"experiment {name}", "[--flag value ...]", experiments()[name])
    group = parser.add_argument_group("settings of the script")
    types, helps = get_type_hints(main), field_help(main)
    for argument in inspect.signature(main).parameters.values():
        default, text = argument.default, helps.get(argument.name, "")
        if argument.name == "out":  # from Python nothing is written unless asked for; here a figure is expected
            default, text = FIGURES, text.partition(";")[0]
        parser.add_flag(group, argument.name, types[argument.name], default, text)
    parser.add_common()
    return parser
