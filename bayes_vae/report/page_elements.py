"""What a page is made of: sections with sentences, figures, tables and cards. Plain text everywhere but in drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Card", "Cards", "Drawing", "Drawings", "Point", "Points", "Section", "Table"]


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        svg: markup, made by :func:`bayes_vae.report.drawing.svg_of` and nothing else.
        alt: what one sees, for those who do not.
    """

    svg: str
    alt: str


@dataclass(frozen=True)
class Drawings:
    """Figures that stand together, with one caption.

    Attributes:
        drawings: one or more; more than one stand side by side where there is room.
        caption: what they show, and the conditions of their numbers.
        size: "whole" or "half" of the column's width, each.
    """

    drawings: tuple[Drawing, ...]
    caption: str
    size: str = "whole"


@dataclass(frozen=True)
class Table:
    """A table, which scrolls within itself.

    Attributes:
        header: names of the columns.
        rows: cells; the first of each row names it.
        caption: the conditions of its numbers.
        numeric: columns that are aligned to the right.
        code: columns that are code.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    numeric: tuple[int, ...] = ()
    code: tuple[int, ...] = ()


@dataclass(frozen=True)
class Card:
    """One observation.

    Attributes:
        title: which.
        picture: a data URI of a PNG; empty where it is no picture.
        alt: of the picture.
        figures: (symbol, value) pairs.
    """

    title: str
    picture: str
    alt: str
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cards:
    """Observations side by side.

    Attributes:
        title: what they have in common.
        cards: one for each.
        caption: the conditions of the numbers; empty where they stand below the cards that follow.
    """

    title: str
    cards: tuple[Card, ...]
    caption: str


@dataclass(frozen=True)
class Point:
    """One thing to be said.

    Attributes:
        title: what it is.
        kind: a word that the page's style knows.
        aside: what stands behind the title.
        text: a sentence.
        details: (label, sentence) pairs.
    """

    title: str
    kind: str
    aside: str
    text: str
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Points:
    """Things to be said, one below the other.

    Attributes:
        points: the most important first.
        caption: the conditions of their numbers.
    """

    points: tuple[Point, ...]
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        key: anchor, in lower case with dashes.
        title: heading.
        question: which question it answers.
        sentences: what one sees, written from the numbers.
        blocks: drawings, tables, cards and points.
        missing: why there is nothing to see; empty where there is.
    """

    key: str
    title: str
    question: str
    sentences: tuple[str, ...] = ()
    blocks: tuple[Drawings | Table | Cards | Points, ...] = ()
    missing: str = ""
