"""The words of the library: each term once, how a figure reads, numbers as text, and the line of conditions.

Results hold values; whatever prints one (a table, the card, the report, a plot, JSON) makes its text here.
"""

from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import (
    capitalized,
    change,
    count_of,
    dash,
    error_text,
    estimate_text,
    first_of,
    joined,
    share,
    short_error,
    signed,
    thousands,
    value_text,
    with_error,
)
from bayes_vae.vocabulary.readings import (
    ESTIMATE,
    LOWER_BOUND,
    Cause,
    Kind,
    Place,
    RankShape,
    Reading,
    Width,
    sentence,
    why_not_converged,
    words,
)
from bayes_vae.vocabulary.symbols import DIMS, TERMS, Term, dimension_symbol, mathtext, symbol_of, unit_of

__all__ = [
    "DIMS",
    "ESTIMATE",
    "LOWER_BOUND",
    "PER_OBSERVATION",
    "TERMS",
    "Cause",
    "Kind",
    "Place",
    "RankShape",
    "Reading",
    "Term",
    "Width",
    "capitalized",
    "change",
    "conditions",
    "count_of",
    "dash",
    "dimension_symbol",
    "error_text",
    "estimate_text",
    "first_of",
    "joined",
    "mathtext",
    "sentence",
    "share",
    "short_error",
    "signed",
    "symbol_of",
    "thousands",
    "unit_of",
    "value_text",
    "why_not_converged",
    "with_error",
    "words",
]
