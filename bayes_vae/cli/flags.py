"""Flags out of settings: each field of a frozen dataclass is a flag, its docstring the help."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, Namespace

__all__ = ["Flags", "build_settings", "field_help"]

Settings = TypeVar("Settings")

TYPE_WORDS = {int: "a whole number", float: "a number", str: "text"}


class Flags(ArgumentParser):
    """A parser of plain flags with dashes; underscores are understood too.

    Args:
        command: which command.
        usage: what follows its name.
        description: one sentence.
    """

    def __init__(self, command: str, usage: str, description: str, **options: Any) -> None:
        super().__init__(
            prog=f"bayes-vae {command}",
            usage=f"bayes-vae {command} {usage}".strip(),
            description=description,
            formatter_class=argparse.HelpFormatter,
            print_config=None,
            allow_abbrev=False,
            **options,
        )
        self._several: set[str] = set()

    def add_settings(self, settings: type, title: str, only: Sequence[str] | None = None, **defaults: Any) -> None:
        """Add a flag for each field of a settings class, or for those named in ``only``.

        Args:
            settings: a dataclass with an ``Args:`` section.
            title: heading in the help.
            only: names of the fields.
            **defaults: defaults that differ from the settings' own.
        """
        group = self.add_argument_group(title)
        types, helps = get_type_hints(settings), field_help(settings)
        for field in fields(settings):
            if only is None or field.name in only:
                default = defaults.get(field.name, field.default)
                self.add_flag(group, field.name, types[field.name], default, helps.get(field.name, ""))

    def add_common(self) -> None:
        """Add the flags of every command that are not settings."""
        group = self.add_argument_group("what is printed")
        group.add_argument("--json", action="store_true", help="print JSON, and nothing else, on standard output")
        group.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def add_flag(self, group: Any, name: str, hint: Any, default: Any, text: str) -> None:
        """Add one flag.

        Args:
            group: where it stands in the help.
            name: of the setting, with underscores.
            hint: its type.
            default: its default.
            text: its help.
        """
        flag = "--" + name.replace("_", "-")
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        text = text if default is None else f"{text} (default: {shown})"
        options: dict[str, Any] = {"default": default, "help": text.replace("%", "%%")}
        choices, several, kind = _shape(hint)
        if choices:
            options |= {"choices": choices}
        else:
            options |= {"type": kind, "metavar": {int: "N", float: "X"}.get(kind, "NAME")}
        if several:
            self._several.add(flag)
            options |= {"nargs": "*", "default": list(default)}
        group.add_argument(flag, **options)

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Namespace:  # type: ignore[override]
        """Parse words, after underscores in flags became dashes and ``200,200`` became ``200 200``."""
        return super().parse_args(None if args is None else self._normalized(args), *rest, **options)

    def _normalized(self, arguments: Sequence[str]) -> list[str]:
        words: list[str] = []
        several = False
        for argument in arguments:
            name, equals, value = argument.partition("=")
            if not argument.startswith("--"):
                words += [part for part in argument.split(",") if part] if several else [argument]
                continue
            name = name.replace("_", "-")
            several = name in self._several
            words += [name, *value.split(",")] if several and equals else [name + equals + value]
        return words

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the usage and what is wrong, in one line each, and exit with code 2."""
        message = re.sub(r'Parser key "(\w+)"(?: element \d+)?:\s*', _flag_named, message)
        message = re.sub(r"Expected an? <class '(\w+)'>\. Got value:", _expected, message)
        self.exit(2, f"usage: {self.usage}\n{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def _flag_named(match: re.Match[str]) -> str:
    return f"--{match[1].replace('_', '-')}: "


def _expected(match: re.Match[str]) -> str:
    words = {kind.__name__: text for kind, text in TYPE_WORDS.items()}
    return f"expected {words.get(match[1], match[1])}, got"


def _shape(hint: Any) -> tuple[tuple[str, ...], bool, type]:
    """Choices, whether several values may be given, and the type of one."""
    if get_origin(hint) is Literal:
        return get_args(hint), False, str
    if get_origin(hint) is tuple:
        return (), True, get_args(hint)[0]
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return (), False, kinds[0] if kinds else hint


def field_help(settings: Any) -> dict[str, str]:
    """What the ``Args:`` section of a docstring says of each argument.

    >>> class Both:
    ...     '''Two settings.
    ...
    ...     Args:
    ...         first: of them.
    ...         second: the other
    ...             one.
    ...     '''
    >>> field_help(Both)
    {'first': 'of them', 'second': 'the other one'}
    """
    _, _, section = inspect.cleandoc(settings.__doc__ or "").partition("Args:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}\S.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).removesuffix(".") for name, text in entries}


def build_settings(settings: type[Settings], options: Mapping[str, Any] | Namespace) -> Settings:
    """Make a settings object of parsed flags.

    Raises:
        SettingsError: values that cannot work together.
    """
    values = vars(options) if isinstance(options, Namespace) else options
    chosen = {field.name: values[field.name] for field in fields(settings) if field.name in values}  # type: ignore[arg-type]
    return settings(**{name: tuple(v) if isinstance(v, list) else v for name, v in chosen.items()})
