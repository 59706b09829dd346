"""Settings in files: YAML with a section for each settings class, or what a run stored of its own."""

from __future__ import annotations

import contextlib
import errno
import math
import re
import reprlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bayes_vae.cli.output import nearest
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.plain_files import read_plain_file
from bayes_vae.settings import SECTIONS, choices_of

__all__ = [
    "TYPE_WORDS",
    "SettingsFile",
    "bundled_settings",
    "is_of_kind",
    "read_mapping",
    "read_settings",
    "settings_text",
    "shape_of_type",
]

TYPE_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}

LARGEST_FILE = 1_000_000
"""Bytes; a settings file has a few hundred."""

NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0|[1-9][0-9]*)$"),
    "tag:yaml.org,2002:float": re.compile(r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
}
"""Tag of YAML → how a number of it is written, as YAML 1.2 has it; no setting is infinite."""


@dataclass(frozen=True)
class SettingsFile:
    """What a file says.

    Attributes:
        sections: name of a section → name of a setting → value of the right type.
        run: the whole configuration, where the settings are those of a run.
    """

    sections: dict[str, dict[str, Any]]
    run: dict[str, Any] | None = field(default=None, repr=False)


def bundled_settings() -> dict[str, Path]:
    """Name → file of the settings that come with the package, one for each model, guide and objective.

    >>> "bernoulli" in bundled_settings()
    True
    """
    folder = Path(str(files("bayes_vae.experiments"))) / "settings"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_settings(path: str | Path) -> SettingsFile:
    """Read settings from a YAML file, or from a run directory or its config.json, whose digest is checked.

    Args:
        path: the file or the folder, or the name of one of the bundled settings, such as "two-layer".

    Raises:
        SettingsError: names the file, the key's path, what was expected and what arrived.
        RunError: a run directory that is damaged, or that was trained from Python.
    """
    named, path = str(path), Path(path)
    if not path.exists():
        path = bundled_settings().get(named, path)
    if path.is_dir() or (path.name == "config.json" and path.with_name("manifest.json").exists()):
        return _stored(path if path.is_dir() else path.parent)
    content = read_mapping(path)
    if "format_version" in content:
        raise SettingsError(
            f"{path} is the configuration of a run, but it does not lie in its run directory, so it cannot be checked. "
            "Name the run directory."
        )
    return SettingsFile(_checked(content, str(path)))


def _stored(folder: Path) -> SettingsFile:
    """The settings of a run."""
    from bayes_vae.runs.directory import read_config

    config = read_config(folder)
    if "refit_prior" in config["settings"]:
        raise RunError(
            f"{folder} is a run whose prior was refitted, which training cannot repeat. Repeat the run that it came "
            f"from, then refit its prior: {config.get('command') or 'config.json has the settings'}"
        )
    missing = [name for name in ("data", "pair", "training") if name not in config["settings"]]
    if missing:
        raise RunError(
            f"{folder} has no settings of its {' and '.join(missing)}: it was trained from Python, so only that "
            "script repeats it. Only runs of `bayes-vae train` and `bayes-vae demo` can be repeated from what they "
            "stored."
        )
    return SettingsFile(_checked(config["settings"], str(folder / "config.json")), config)


def read_mapping(path: str | Path) -> dict[Any, Any]:
    """The YAML of a file, which must be a mapping.

    Raises:
        SettingsError: names the file, and the line where that is known.
    """
    import yaml

    path = Path(path)
    try:
        content = yaml.load(read_plain_file(path, LARGEST_FILE).decode("utf-8"), _loader())
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise SettingsError(f"{path} is not a settings file: it has more than {LARGEST_FILE:,} bytes.") from error
        close = nearest(str(path), bundled_settings())
        raise SettingsError(
            f"the settings file {path} cannot be read ({error.strerror}). Expected YAML, a run directory, or one of "
            f"the bundled settings: {', '.join(bundled_settings())}.{f' Did you mean {close}?' if close else ''}"
        ) from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise SettingsError(f"{path} is not a settings file: expected YAML, a text in UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"{path}{line}: {' '.join(str(error.problem or error).split())}.") from error
    except Exception as error:  # whatever a parser raises
        raise SettingsError(f"{path} is not YAML that can be read ({type(error).__name__}).") from error
    if content is not None and not isinstance(content, dict):
        raise SettingsError(f"{path}: expected the sections {', '.join(SECTIONS)}, got {reprlib.repr(content)}.")
    return content or {}


@cache
def _loader() -> Any:
    """PyYAML's safe loader, with numbers as YAML 1.2 has them, and no key twice."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """``1e-3`` is a number, ``010`` is not an octal one, and ``1:30`` is no time."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            mapping: dict[Hashable, Any] = {}
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, Hashable) or key in mapping:
                    problem = f"the key {key!r} occurs twice here" if isinstance(key, Hashable) else "no key"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                mapping[key] = self.construct_object(value_node, deep=deep)
            return mapping

    replaced = (*NUMBERS, "tag:yaml.org,2002:timestamp")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in replaced]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return _with_numbers(Loader)


def _with_numbers(reader: Any) -> Any:
    for tag, pattern in NUMBERS.items():
        reader.add_implicit_resolver(tag, pattern, list("-+.0123456789"))
    return reader


def _checked(content: Mapping[Any, Any], file: str) -> dict[str, dict[str, Any]]:
    """The sections, every key known and every value of its type."""
    sections: dict[str, dict[str, Any]] = {}
    for section, entries in content.items():
        if section not in SECTIONS:
            raise SettingsError(f"{file}: {_unknown(section, SECTIONS)}")
        if not isinstance(entries, dict | NoneType):
            raise SettingsError(f"{file}: {section}: expected settings below it, got {reprlib.repr(entries)}.")
        hints = get_type_hints(SECTIONS[section])
        sections[section] = {}
        for name, value in (entries or {}).items():
            if name not in hints:
                raise SettingsError(f"{file}: {section}.{_unknown(name, hints)}")
            sections[section][name] = _typed(value, hints[name], f"{file}: {section}.{name}")
    return sections


def _unknown(name: object, known: Iterable[str]) -> str:
    """The message for an unknown key: the one or two sections that it belongs to, or else a similar key."""
    homes = [section for section, settings in SECTIONS.items() if name in get_type_hints(settings)]
    close = nearest(str(name), known)
    advice = f"did you mean {close}?" if close else f"choose from {', '.join(known)}."
    return f"{name}: no such setting; " + (
        f"it belongs under {' or '.join(homes)}." if len(homes) in (1, 2) else advice
    )


def shape_of_type(hint: Any) -> tuple[tuple[str, ...], bool, type, bool]:
    """Of a setting's type: its choices, whether it has several values, the type of one, and whether it may be None.

    >>> shape_of_type(tuple[int, ...])
    ((), True, <class 'int'>, False)
    >>> shape_of_type(float | None)
    ((), False, <class 'float'>, True)
    """
    optional = NoneType in get_args(hint)
    if optional:
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
    if get_origin(hint) is Literal:
        return choices_of(hint), False, str, optional
    if get_origin(hint) is tuple:
        return (), True, get_args(hint)[0], optional
    return (), False, hint, optional


def is_of_kind(value: Any, kind: type) -> bool:
    """Whether a value has exactly this type, and is a finite number or a text that is not empty."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return type(value) is kind and value != "" and finite


def _typed(value: Any, hint: Any, where: str) -> Any:
    """A value of a file, as the setting's type has it."""
    choices, several, kind, optional = shape_of_type(hint)
    if value is None and optional:
        return None
    if choices:
        chosen = str(value) if type(value) is int else value  # a choice may read as a number: precision: 32
        if chosen not in choices:
            close = nearest(str(value), choices)
            advice = f"; did you mean {close}?" if close else "."
            raise SettingsError(f"{where}: expected one of {', '.join(choices)}, got {reprlib.repr(value)}{advice}")
        return chosen
    if several:
        if not isinstance(value, list):
            kinds = f"{TYPE_WORDS[kind].removeprefix('a ')}s"
            raise SettingsError(f"{where}: expected a list of {kinds}, got {reprlib.repr(value)}.")
        return tuple(_of_kind(entry, kind, where) for entry in value)
    return _of_kind(value, kind, where)


def _of_kind(value: Any, kind: type, where: str) -> Any:
    if kind is float and type(value) is int:
        with contextlib.suppress(OverflowError):
            value = float(value)
    if not is_of_kind(value, kind):
        raise SettingsError(f"{where}: expected {TYPE_WORDS[kind]}, got {reprlib.repr(value)}.")
    return value


def settings_text(sections: dict[str, dict[str, Any]]) -> str:
    """Sections of settings as YAML, which :func:`read_settings` reads back.

    >>> print(settings_text({"pair": {"latent_dim": 2, "hidden_dims": (20, 10)}}))
    pair:
      latent_dim: 2
      hidden_dims: [20, 10]
    """
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Lists on one line."""

    def on_one_line(dumper: Any, values: Any) -> Any:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)

    Dumper.add_representer(tuple, on_one_line)
    dumper = _with_numbers(Dumper)  # so that text which reads as a number is put in quotes
    return str(yaml.dump(sections, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)).rstrip("\n")
