"""What a configuration may hold: types and ranges, looked at whatever its digest says."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bayes_vae.errors import RunError
from bayes_vae.settings.setting_types import LARGEST

__all__ = ["check_config", "check_size"]

MOST_ENTRIES, MOST_CHARACTERS, MOST_LEVELS = 100_000, 1_000_000, 8


@dataclass(frozen=True)
class Kind:
    """One type with its range.

    Attributes:
        word: what is expected, for the message.
        types: Python's types, exactly.
        least, most: of a number, or of the length of a text.
    """

    word: str
    types: tuple[type, ...]
    least: float = 0
    most: float = LARGEST

    def faults(self, value: Any, where: str) -> Iterator[str]:
        """What is wrong with a value."""
        size = len(value) if isinstance(value, str) else value
        if type(value) not in self.types or (size is not None and not self.least <= size <= self.most):
            yield f"{where}: expected {self.word}, got {reprlib.repr(value)}"


@dataclass(frozen=True)
class Several:
    """A list, each entry of one kind."""

    kind: Any

    def faults(self, value: Any, where: str) -> Iterator[str]:
        """What is wrong with a value."""
        if not isinstance(value, list) or len(value) > MOST_ENTRIES:
            yield f"{where}: expected a list, got {reprlib.repr(value)}"
            return
        for place, entry in enumerate(value):
            yield from self.kind.faults(entry, f"{where}[{place}]")


@dataclass(frozen=True)
class Record:
    """A mapping whose known keys, where they are there, have their kinds; others have ``rest``."""

    rest: Any
    known: Mapping[str, Any]

    def faults(self, value: Any, where: str) -> Iterator[str]:
        """What is wrong with a value."""
        if not isinstance(value, dict) or len(value) > MOST_ENTRIES:
            yield f"{where or 'it'}: expected a mapping, got {reprlib.repr(value)}"
            return
        for key, entry in value.items():
            place = f"{where}.{key}" if where else key
            yield from self.known.get(key, self.rest).faults(entry, place)


class Plain:
    """Anything that JSON has, no deeper and no larger than a setting is."""

    def faults(self, value: Any, where: str, level: int = 0) -> Iterator[str]:
        """What is wrong with a value."""
        if level > MOST_LEVELS:
            yield f"{where}: expected at most {MOST_LEVELS} levels"
        elif isinstance(value, dict | list):
            if len(value) > MOST_ENTRIES:
                yield f"{where}: expected at most {MOST_ENTRIES:,} entries, got {len(value):,}"
            for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
                yield from self.faults(entry, f"{where}.{key}", level + 1)
        elif isinstance(value, str):
            yield from TEXT.faults(value, where)
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{where}: expected a finite number, got {value}"
        elif type(value) is int and not -(2**63) <= value < 2**63:
            yield f"{where}: expected a number of 64 bits, got {reprlib.repr(value)}"


TEXT = Kind("text", (str,), most=MOST_CHARACTERS)
OPTIONAL_TEXT = Kind("text or null", (str, type(None)), most=MOST_CHARACTERS)
COUNT = Kind("a whole number of at least 0", (int,))
POSITIVE = Kind("a whole number of at least 1", (int,), least=1)
FLAG = Kind("true or false", (bool,))
PLAIN = Plain()

PROGRAM = Record(PLAIN, {"settings": Record(PLAIN, {}), "description": TEXT})
CONFIG = Record(
    PLAIN,
    {
        "format_version": COUNT,
        "created": TEXT,
        "command": TEXT,
        "versions": Record(TEXT, {}),
        "machine": Record(PLAIN, {"threads": Kind("a number of threads", (int,), 1, 4096), "platform": TEXT}),
        "model": PROGRAM,
        "guide": PROGRAM,
        "data": Record(
            PLAIN,
            {
                "name": TEXT,
                "policy": OPTIONAL_TEXT,
                "digest": TEXT,
                "data_shape": Several(POSITIVE),
                "sizes": Record(COUNT, {}),
            },
        ),
        "settings": Record(Record(PLAIN, {}), {}),
        "extended_at": Several(COUNT),
        "outcome": Record(PLAIN, {"epochs": COUNT, "best_epoch": COUNT, "ending": TEXT, "interrupted": FLAG}),
        "parameters": Record(PLAIN, {"count": Kind("a count", (int,), 0, 2**63), "names": Several(TEXT)}),
    },
)


def check_config(config: Any, where: str) -> None:
    """Refuse a configuration that holds what none has.

    Raises:
        RunError: names the entry, what was expected and what is there.
    """
    for fault in CONFIG.faults(config, ""):
        raise RunError(
            f"{where} holds what no configuration has: {fault}. Restore it from a copy of the run directory, or train "
            "again."
        )


def check_size(role: str, program: Mapping[str, Any], weights: int) -> None:
    """Refuse to build networks that are larger than the weights that are to fill them.

    Args:
        role: "model" or "guide".
        program: what the configuration says of it.
        weights: bytes of the file of weights; each unit of a network has one at least.

    Raises:
        RunError: names the setting.
    """
    settings = program.get("settings", {})
    sizes = dict(_whole_numbers(settings))
    if settings.get("network", "mlp") == "mlp":
        for name in ("hidden_dims", "top_hidden_dims", "data_shape"):
            widths = [width for width in settings.get(name) or [] if type(width) is int]
            pairs = pairwise(widths) if name != "data_shape" else [widths]
            sizes |= {f"{name} {pair}": math.prod(pair) for pair in pairs}
    for name, size in sizes.items():
        if abs(size) > max(weights, 1024):
            raise RunError(
                f"the {role} of this run has {name} of {size:,} in config.json, and its weights have {weights:,} "
                "bytes: the two are not of one run. Restore the run directory from a copy."
            )


def _whole_numbers(value: Any, where: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _whole_numbers(entry, f"{where}.{key}".removeprefix("."))
    elif type(value) is int:
        yield where, value
