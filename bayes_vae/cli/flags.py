"""Flags from settings: each field of a frozen dataclass is a flag, and its docstring is the help."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, NoReturn, TypeVar, get_type_hints

from bayes_vae.cli.output import nearest, printable, say
from bayes_vae.cli.settings_files import (
    TYPE_WORDS,
    bundled_settings,
    is_of_kind,
    read_settings,
    settings_text,
    shape_of_type,
)
from bayes_vae.errors import SettingsError
from bayes_vae.parts.registry import help_with_parts
from bayes_vae.settings import SECTIONS

__all__ = ["Flags", "build_settings", "field_help"]

Settings = TypeVar("Settings")

NEGATIVE_NUMBER = re.compile(r"-\.?\d")
"""Start of a word that is a value and not a flag. By itself argparse reads -1 as a value, but not -1e-3."""


class Flags(argparse.ArgumentParser):
    """A parser of flags with dashes; underscores, and a section before the name, are understood too.

    A flag is a setting of a section of settings files: ``--epochs 5`` and ``--training.epochs 5`` are the same. Flags
    override the file that ``--config`` names, wherever they stand.

    Args:
        command: the name of the command.
        usage: what follows the name.
        description: one sentence.
    """

    def __init__(self, command: str, usage: str, description: str) -> None:
        name = f"bayes-vae {command}"
        super().__init__(prog=name, usage=f"{name} {usage}".strip(), description=description, allow_abbrev=False)
        self._lists: set[str] = set()
        self._sections: dict[str, list[str]] = {}

    def add_settings(self, settings: type, title: str, only: Sequence[str] | None = None, **defaults: Any) -> None:
        """Add a flag for each field of a settings class, or for those in ``only``, whose defaults may be replaced."""
        group = self.add_argument_group(title)
        types, helps = get_type_hints(settings), field_help(settings)
        chosen = [field for field in fields(settings) if only is None or field.name in only]
        for section in (name for name, kind in SECTIONS.items() if kind is settings):
            self._sections[section] = [field.name for field in chosen]
        for field in chosen:
            default = defaults.get(field.name, field.default)
            text = help_with_parts(field.name, helps.get(field.name, ""))
            self.add_flag(group, field.name, types[field.name], default, text)

    def add_common(self) -> None:
        """Add the flags that every command has, and those of settings files if the command has settings."""
        if self._sections:
            names = ", ".join(bundled_settings())
            bundled = f"; or the name of bundled settings ({names})" if "pair" in self._sections else ""
            group = self.add_argument_group("settings in a file")
            group.add_argument(
                "--config",
                metavar="FILE",
                help=f"settings in YAML, with the sections {', '.join(self._sections)}; or a run directory, for the "
                f"settings of that run{bundled}; flags override them",
            )
            text = "print all settings as such a file, and exit"
            group.add_argument("--print-config", action="store_true", help=text)
        group = self.add_argument_group("what is printed")
        group.add_argument("--json", action="store_true", help="print JSON, and nothing else, on standard output")
        group.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def add_flag(self, group: Any, name: str, hint: Any, default: Any, text: str) -> None:
        """Add the flag of a setting to a group of the help; ``hint`` is the setting's type, ``text`` its help."""
        flag = _flag(name)
        choices, several, kind, _ = shape_of_type(hint)
        if kind is bool:
            group.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=default, help=text.replace("%", "%%")
            )
            return
        metavar = {int: "N", float: "X"}.get(kind, "NAME")
        if several:
            self._lists.add(flag)
            metavar = f"[{metavar} ...]"
        if default not in (None, ()):
            text += f" (default: {' '.join(map(str, default)) if several else default})"
        read = partial(self._several if several else self._one, flag, kind)
        values = {"choices": choices} if choices else {"type": read, "metavar": metavar}
        group.add_argument(flag, default=default, help=text.replace("%", "%%"), **values)

    def _one(self, flag: str, kind: type, text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if not is_of_kind(value, kind):
            self.error(f"{flag}: expected {TYPE_WORDS[kind]}, got {text or 'nothing'}")
        return value

    def _several(self, flag: str, kind: type, text: str) -> tuple[Any, ...]:
        if kind is not int and not text.strip():  # no hidden layers is a choice; no fractions and no names are none
            self.error(f"{flag}: expected {TYPE_WORDS[kind]}, got nothing")
        return tuple(self._one(flag, kind, part) for part in re.split(r"[,\s]+", text) if part)

    def parse_args(self, words: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """Parse words; the settings of the file that ``--config`` names take the place of the defaults.

        If that is a run, ``repeats`` is its configuration. ``--print-config`` prints the settings and exits.

        Raises:
            SettingsError, RunError: the file or the run cannot be used.
        """
        options, run = self.peek(words), None
        if "config" not in options:
            return options
        if options.config is not None:
            file = read_settings(options.config)
            self._take_defaults(file.sections, options.config)
            options, run = self.peek(words), file.run
        if options.print_config:
            built = {name: vars(build_settings(SECTIONS[name], options)) for name in self._sections}
            say(settings_text({name: {key: built[name][key] for key in keys} for name, keys in self._sections.items()}))
            self.exit(0)
        options.repeats = run
        return options

    def peek(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse words without reading the file that ``--config`` names."""
        options, unknown = self.parse_known_intermixed_args(self._normalized(words))
        if unknown:
            flag = next((word for word in unknown if word.startswith("--")), "").partition("=")[0].strip("-")
            close = nearest(flag, [known.strip("-") for known in self._option_string_actions])
            advice = f"; did you mean --{close}?" if close else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")
        for name, values in vars(options).items():
            for value in values if isinstance(values, list) else [values]:
                if name == "run" and isinstance(value, str) and value.startswith("--"):  # argparse: it has a space
                    self.error(f"unrecognized arguments: {value}")
                if isinstance(value, str) and "\0" in value:
                    self.error(f"{'RUN' if name == 'run' else _flag(name)}: expected text without a NUL, got {value!r}")
                if isinstance(value, str) and not value.strip():
                    self.error(f"{'RUN' if name == 'run' else _flag(name)}: expected {TYPE_WORDS[str]}, got nothing")
        return options

    def _take_defaults(self, sections: Mapping[str, Mapping[str, Any]], file: str) -> None:
        for section, names in self._sections.items():
            values = sections.get(section, {})
            for name in values:
                if name not in names:
                    raise SettingsError(
                        f"{file}: {section}.{name}: `{self.prog}` does not take this setting; of {section} it takes "
                        f"{', '.join(names)}."
                    )
            self.set_defaults(**values)

    def _normalized(self, words: Sequence[str]) -> list[str]:
        """Write flags with dashes and without their section, and join a list or a negative number to its flag."""
        found: list[str] = []
        in_list = False
        for word in words:
            is_value = not word.startswith("-") or NEGATIVE_NUMBER.match(word)
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                name = self._plain(name.replace("_", "-"))
                if value.strip() == "--":  # which argparse would drop
                    self.error(f"{name}: expected a value, got --")
                in_list = name in self._lists
                found.append(f"{name}={value}" if equals or in_list else name)
            elif in_list and is_value:
                found[-1] += f",{word}"
            elif is_value and word.startswith("-") and found and found[-1] in self._option_string_actions:
                found[-1] += f"={word}"
            else:
                in_list = False
                found.append(word)
        return found

    def _plain(self, name: str) -> str:
        """``--training.epochs`` without its section."""
        section, dot, setting = name.removeprefix("--").partition(".")
        if not dot or section not in self._sections:
            return name
        known = [field.replace("_", "-") for field in self._sections[section]]
        if setting not in known:
            close = nearest(setting, known)
            advice = f"did you mean --{section}.{close}?" if close else f"{section} has {', '.join(known)}."
            self.error(f"{name}: no such setting; {advice}")
        return f"--{setting}"

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, in one line each, and exit with code 2."""
        self.exit(
            2, f"usage: {self.usage}\n{self.prog}: {printable(' '.join(message.split()))} (see {self.prog} --help)\n"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def field_help(settings: Any) -> dict[str, str]:
    """Name → help of each argument that the docstring of a class or a function describes.

    >>> class Both:
    ...     '''Two numbers.
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


def build_settings(settings: type[Settings], options: Mapping[str, Any] | argparse.Namespace) -> Settings:
    """Make a settings object of parsed flags.

    Raises:
        SettingsError: values that cannot work together.
    """
    values = vars(options) if isinstance(options, argparse.Namespace) else options
    names = [field.name for field in fields(settings) if field.name in values]  # type: ignore[arg-type]
    try:
        return settings(**{name: values[name] for name in names})
    except SettingsError as error:
        if values.get("config"):
            raise SettingsError(f"{error} Some settings came from {values['config']}.") from error
        raise
