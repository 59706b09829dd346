"""A grid of trainings: which settings vary, over which values, and the folder of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Any, get_type_hints

from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.output import nearest
from bayes_vae.cli.settings_files import TYPE_WORDS, read_mapping, shape_of_type
from bayes_vae.cli.train import flags
from bayes_vae.errors import SettingsError
from bayes_vae.parts.compatibility import check_combination
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings, as_json

__all__ = ["Cell", "cells_of", "varied_settings"]

SECTIONS = {"data": DataSettings, "pair": PairSettings, "training": TrainingSettings}

MOST_CELLS = 1_000
"""Trainings of one grid; more are a slip of the keyboard."""

ANYWHERE = ("device", "checkpoint_every_steps")
"""Settings that do not change what is trained."""


@dataclass(frozen=True)
class Cell:
    """One training of a grid.

    Attributes:
        values: name of a setting that varies → its value, as text.
        out: its run directory.
        words: what ``bayes-vae train`` is called with.
        settings: of it, by section, in JSON types.
    """

    values: Mapping[str, str]
    out: Path
    words: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Its place in the grid, in words."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())

    def differences(self, stored: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What a run's settings have otherwise than this training, in words; the policy only where it was asked for."""
        found = []
        for section, settings in self.settings.items():
            for name, value in settings.items():
                then = stored.get(section, {}).get(name, getattr(SECTIONS[section](), name))
                chosen = section == "data" and name == "policy" and value is None
                if name not in ANYWHERE and not chosen and _plain(then) != _plain(value):
                    found.append(f"{name} is {then} there and {value} here")
        return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def varied_settings(given: Sequence[str], file: str | None) -> dict[str, list[str]]:
    """Name of a setting → its values as text, first those of a file, then those of ``--vary``.

    Args:
        given: each ``NAME=VALUE,VALUE``; a value of a setting that is a list has spaces in it.
        file: YAML of names and lists, or None.

    Raises:
        SettingsError: nothing varies, an unknown setting, no value, or one twice.
    """
    found: dict[str, list[str]] = {}
    for name, values in [*_of_file(file), *map(_of_text, given)]:
        setting = _setting(name)
        if setting in found:
            raise SettingsError(f"{setting} varies twice: give all its values in one place, {setting}=A,B.")
        if not values or not all(values):
            raise SettingsError(f"{setting} varies over nothing: expected NAME=VALUE,VALUE, such as latent_dim=2,4,8.")
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise SettingsError(f"{setting} has the value {twice[0]} twice: name each once.")
        found[setting] = values
    if not found:
        raise SettingsError("nothing varies: say --vary NAME=VALUE,VALUE, such as --vary latent_dim=2,4,8.")
    return found


def _of_text(given: str) -> tuple[str, list[str]]:
    name, equals, values = given.partition("=")
    if not equals:
        raise SettingsError(f"--vary: expected NAME=VALUE,VALUE, such as latent_dim=2,4,8, got {given!r}.")
    return name, [" ".join(value.split()) for value in values.split(",")]


def _of_file(file: str | None) -> list[tuple[str, list[str]]]:
    found = []
    for name, values in read_mapping(file).items() if file else ():
        if not isinstance(values, list):
            raise SettingsError(f"{file}: {name}: expected a list of values, such as [2, 4, 8], got {values!r}.")
        found.append((str(name), [_text(value) for value in values]))
    return found


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _setting(name: str) -> str:
    """The setting of this name, dashes or a section before it understood."""
    known = {setting: kind for kind in SECTIONS.values() for setting in get_type_hints(kind)}
    section, dot, rest = name.strip().replace("-", "_").partition(".")
    plain = rest if dot and section in SECTIONS else section
    if plain not in known or (dot and plain not in get_type_hints(SECTIONS.get(section, TrainingSettings))):
        close = nearest(plain, known)
        advice = f"did you mean {close}?" if close else "`bayes-vae train --help` lists the settings."
        raise SettingsError(f"{name!r} is not a training setting, so it cannot vary: {advice}")
    return plain


def cells_of(varied: Mapping[str, Sequence[str]], template: str, words: Sequence[str]) -> list[Cell]:
    """Every training of a grid, the first setting varying slowest, each looked at before any of them starts.

    Args:
        varied: from :func:`varied_settings`.
        template: of the folders, with ``{name}`` for the value of a setting that varies.
        words: flags that all trainings share.

    Raises:
        SettingsError: a template that names another setting or gives two trainings one folder, a flag that is given
            and varies too, or settings that cannot work together.
    """
    count = 1
    for values in varied.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise SettingsError(f"this grid has {count:,} trainings: at most {MOST_CELLS:,} are allowed.")
    parts = _parts(template, varied)
    flags_given = [word.partition("=")[0].rpartition(".")[2] for word in words if word.startswith("--")]
    given = {flag.lstrip("-").replace("-", "_") for flag in flags_given}
    for name in varied:
        if name in given or f"no_{name}" in given:
            raise SettingsError(f"{name} varies, and --{name.replace('_', '-')} is given too: leave one of them out.")
    cells = [_cell(dict(zip(varied, values, strict=True)), parts, words) for values in product(*varied.values())]
    _refuse_collisions(cells)
    return cells


def _parts(template: str, varied: Mapping[str, Sequence[str]]) -> list[tuple[str, str | None]]:
    """Text and the name after it, piece by piece.

    Raises:
        SettingsError: a name that does not vary, or braces that are none.
    """
    try:
        pieces = list(Formatter().parse(template))
    except ValueError:
        pieces = [("", "", "", None)]
    found: list[tuple[str, str | None]] = []
    for text, name, form, conversion in pieces:
        plain = None if name is None else name.replace("-", "_")
        if plain is not None and (plain not in varied or form or conversion):
            names = ", ".join(f"{{{each}}}" for each in varied)
            raise SettingsError(f"--out {template}: expected {{NAME}} of settings that vary, {names}.")
        found.append((text, plain))
    return found


def _cell(values: dict[str, str], parts: Sequence[tuple[str, str | None]], shared: Sequence[str]) -> Cell:
    pieces = [text + ("" if name is None else _in_path(values[name])) for text, name in parts]
    out = Path("".join(pieces))
    words = (*shared, *(_flag(name, value) for name, value in values.items()), "--out", str(out))
    options = flags().parse_args(words)
    built: dict[str, Any] = {name: build_settings(kind, options) for name, kind in SECTIONS.items()}
    check_combination(built["pair"], built["training"])
    return Cell(values, out, words, {name: as_json(settings) for name, settings in built.items()})


def _in_path(value: str) -> str:
    """A value as a part of a folder's name.

    >>> _in_path("200 100"), _in_path("1e-3"), _in_path("../tables/wine.csv")
    ('200-100', '1e-3', 'tables-wine.csv')
    """
    return re.sub(r"[^\w.+-]+", "-", value).strip(".-") or "-"


def _flag(name: str, value: str) -> str:
    """A setting as a flag."""
    hint = next(hints[name] for hints in map(get_type_hints, SECTIONS.values()) if name in hints)
    _, several, kind, _ = shape_of_type(hint)
    dashed = name.replace("_", "-")
    if kind is bool:
        if value not in ("true", "false"):
            raise SettingsError(f"{name}: expected {TYPE_WORDS[bool]}, got {value}.")
        return f"--{'' if value == 'true' else 'no-'}{dashed}"
    return f"--{dashed}={value.replace(' ', ',') if several else value}"


def _refuse_collisions(cells: Sequence[Cell]) -> None:
    """Refuse two trainings with one folder."""
    homes: dict[Path, Cell] = {}
    for cell in cells:
        place = cell.out.resolve()
        if place in homes:
            other = homes[place]
            missing = [name for name in cell.values if cell.values[name] != other.values[name]]
            advice = " and ".join(f"{{{name}}}" for name in missing)
            raise SettingsError(
                f"two trainings would be written to {cell.out}: {other.name}, and {cell.name}. Put {advice} into --out."
            )
        homes[place] = cell
