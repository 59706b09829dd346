"""Flags out of settings: each field of a frozen dataclass is a flag, its docstring the help."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from bayes_vae.cli.bundled import bundled_settings
from bayes_vae.cli.output import say
from bayes_vae.cli.settings_files import TYPE_WORDS, nearest, read_settings, settings_text, shape_of_type
from bayes_vae.errors import SettingsError
from bayes_vae.parts.registry import help_with_parts
from bayes_vae.settings import SECTIONS

__all__ = ["Flags", "build_settings", "field_help", "value_of"]

Settings = TypeVar("Settings")


class Flags(ArgumentParser):
    """A parser of plain flags with dashes; underscores, and a section before the name, are understood too.

    A flag is a setting of a section of settings files: ``--epochs 5`` and ``--training.epochs 5`` are the same, and
    override what the file of ``--config`` says, wherever they stand.

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
        self._command = command
        self._sections: dict[str, list[str]] = {}

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
        chosen = [field for field in fields(settings) if only is None or field.name in only]
        for section in (name for name, kind in SECTIONS.items() if kind is settings):
            self._sections[section] = [field.name for field in chosen]
        for field in chosen:
            default = defaults.get(field.name, field.default)
            text = help_with_parts(field.name, helps.get(field.name, ""))
            self.add_flag(group, field.name, types[field.name], default, text)

    def add_common(self) -> None:
        """Add the flags of every command that are not settings, and where there are any those of settings files."""
        if self._sections:
            group = self.add_argument_group("settings in a file")
            group.add_argument(
                "--config",
                metavar="FILE",
                help=f"settings in YAML, with the sections {', '.join(self._sections)}; or a run directory, for the "
                f"settings of that run{self._bundled()}; flags override them",
            )
            group.add_argument(
                "--print-config", action="store_true", help="print all settings as such a file, and exit"
            )
        group = self.add_argument_group("what is printed")
        group.add_argument("--json", action="store_true", help="print JSON, and nothing else, on standard output")
        group.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def _bundled(self) -> str:
        """The settings that come with the package, which are of pairs."""
        return (
            f"; or a name of settings that come along ({', '.join(bundled_settings())})"
            if "pair" in self._sections
            else ""
        )

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
        choices, several, kind, _ = shape_of_type(hint)
        if choices:
            options |= {"choices": choices}
        else:
            options |= {"type": kind, "metavar": {int: "N", float: "X"}.get(kind, "NAME")}
        if several:
            self._several.add(flag)
            options |= {"nargs": "*", "default": list(default)}
        group.add_argument(flag, **options)

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Namespace:  # type: ignore[override]
        """Parse words, after underscores in flags became dashes and ``200,200`` became ``200 200``.

        With ``--config`` the settings of the file take the place of the defaults. Where it names a run, the run's
        configuration comes back as ``repeats``.

        Raises:
            SettingsError, RunError: the file or the run that ``--config`` names cannot be used.
        """
        words = None if args is None else self._normalized(args)
        run = self._take_defaults(words or [])
        parsed = super().parse_args(words, *rest, **options)
        if self._sections and "config" in parsed:
            if parsed.pop("print_config"):
                say(settings_text(self._settings(parsed)))
                self.exit(0)
            parsed["repeats"] = run
        return parsed

    def _take_defaults(self, words: Sequence[str]) -> dict[str, Any] | None:
        """Take settings of the file that ``--config`` names as defaults; the configuration, where it is a run."""
        named = value_of(words, "--config")
        if named is None:
            return None
        file = read_settings(named)
        for section, names in self._sections.items():
            values = file.sections.get(section, {})
            for name in values:
                if name not in names:
                    raise SettingsError(
                        f"{named}: {section}.{name}: `bayes-vae {self._command}` does not take this setting; of "
                        f"{section} it takes {', '.join(names)}."
                    )
            self.set_defaults({k: list(v) if isinstance(v, tuple) else v for k, v in values.items()})
        return file.run

    def _settings(self, parsed: Namespace) -> dict[str, dict[str, Any]]:
        """All settings by section, after a look whether they can work together."""
        for section in self._sections:
            build_settings(SECTIONS[section], parsed)
        return {section: {name: parsed[name] for name in names} for section, names in self._sections.items()}

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

    def _normalized(self, arguments: Sequence[str]) -> list[str]:
        words: list[str] = []
        several = False
        for argument in arguments:
            name, equals, value = argument.partition("=")
            if not argument.startswith("--"):
                words += [part for part in argument.split(",") if part] if several else [argument]
                continue
            name = self._plain(name.replace("_", "-"))
            several = name in self._several
            words += [name, *value.split(",")] if several and equals else [name + equals + value]
        return words

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the usage and what is wrong, in one line each, and exit with code 2."""
        message = re.sub(r'Parser key "(\w+)"(?: element \d+)?:\s*', _flag_named, message)
        message = re.sub(r"Expected an? <class '(\w+)'>\. Got value:", _expected, message)
        message += self._advice(message)
        self.exit(2, f"usage: {self.usage}\n{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")

    def _advice(self, message: str) -> str:
        """The flag that a mistyped one is most like."""
        unknown = re.match(r"unrecognized arguments: (--[\w.-]+)", message)
        close = nearest(unknown[1], self._option_string_actions) if unknown else None
        return f"; did you mean {close}?" if close else ""


def _flag_named(match: re.Match[str]) -> str:
    return f"--{match[1].replace('_', '-')}: "


def _expected(match: re.Match[str]) -> str:
    words = {kind.__name__: text for kind, text in TYPE_WORDS.items()}
    return f"expected {words.get(match[1], match[1])}, got"


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


def value_of(words: Sequence[str], flag: str) -> str | None:
    """The last value of a flag, looked up before the others are parsed; None where there is none, or help is asked for.

    >>> value_of(["--config", "a.yaml", "--config=b.yaml"], "--config"), value_of(["--epochs", "3"], "--config")
    ('b.yaml', None)
    """
    if {"-h", "--help"} & set(words):
        return None
    found = None
    for word, after in zip(words, [*words[1:], None], strict=False):
        name, equals, value = word.partition("=")
        if name == flag:
            found = value if equals else after
    return found


def build_settings(settings: type[Settings], options: Mapping[str, Any] | Namespace) -> Settings:
    """Make a settings object of parsed flags.

    Raises:
        SettingsError: values that cannot work together.
    """
    values = vars(options) if isinstance(options, Namespace) else options
    chosen = {field.name: values[field.name] for field in fields(settings) if field.name in values}  # type: ignore[arg-type]
    try:
        return settings(**{name: tuple(v) if isinstance(v, list) else v for name, v in chosen.items()})
    except SettingsError as error:
        if values.get("config"):
            raise SettingsError(f"{error} Some settings came from {values['config']}.") from error
        raise
