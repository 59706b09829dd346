"""What a part of a pair says about itself: where it lives, its options, what it offers and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

__all__ = ["AtLeast", "DataKind", "Need", "Part", "PartKind", "Trait", "class_at"]

DataKind = Literal["binary", "gray", "counts", "real"]

PartKind = Literal["structure", "network", "likelihood", "prior", "guide", "objective", "exact", "rung"]
"""The first six are settings; "exact" pairs are built in Python only, and their runs can be loaded; a "rung" is a
figure of the ladder towards log p(x)."""

Trait = Literal[
    "discrete x",
    "closed-form KL",
    "KL by dimension",
    "encoded normal",
    "reparameterized draws",
    "one q per observation",
    "in every structure",
    "needs labels",
    "infers labels",
    "sums over labels",
]
"""What a part may offer to the parts beside it. A part that does not say so lacks it."""


@dataclass(frozen=True)
class Need:
    """What a part needs of the part of another kind: a trait, and the reason, for the message."""

    kind: PartKind
    trait: Trait
    because: str


@dataclass(frozen=True)
class AtLeast:
    """A lower bound on a setting: a number or the name of another setting, and the reason, for the message."""

    setting: str
    bound: int | str
    because: str


@dataclass(frozen=True)
class Part:
    """One row of the table of parts.

    Args:
        kind: the setting that it is a choice of.
        name: as settings have it.
        where: "module:Class", imported when it is first used; of a structure the model; of a rung a function, see
            ``estimators.rungs.climb``.
        help: what it is, in a few words; of a rung as it stands in a sentence.
        guide: of a structure, where its own guide is; empty where guides are chosen.
        options: setting → the argument of the class that takes it.
        only: those of the options that are refused, not ignored, beside another choice.
        data_kinds: of a likelihood, the kinds of observations that it has a density for.
        decoder_outputs: of a likelihood, what a decoder from elsewhere may output, see ``pair_from_networks``.
        offers: its traits.
        needs: of the parts beside it.
        least: lower bounds on settings.
    """

    kind: PartKind
    name: str
    where: str
    help: str
    guide: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    data_kinds: tuple[DataKind, ...] = ()
    decoder_outputs: tuple[str, ...] = ("parameters",)
    offers: tuple[Trait, ...] = ()
    needs: tuple[Need, ...] = ()
    least: tuple[AtLeast, ...] = ()

    @property
    def cls(self) -> Any:
        """The class; of a rung the function."""
        return class_at(self.where)


def class_at(where: str) -> Any:
    """The class at "module:Class"."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
