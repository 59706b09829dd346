"""The keywords that every estimator takes, listed by ``help()`` of each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from bayes_vae.terms.opened import Options, open_pair

__all__ = ["lists_options"]

Estimator = TypeVar("Estimator", bound=Callable[..., Any])

OTHERS = re.compile(r"^ *Others:", re.MULTILINE)
"""Where a docstring speaks of the keywords that it does not describe itself."""


def lists_options(estimator: Estimator) -> Estimator:
    """Put :class:`~bayes_vae.terms.opened.Options` into the signature and the docstring of a function that takes them.

    The function itself stays as it is; keywords that its docstring describes are left to it.
    """
    signature = inspect.signature(estimator)
    own = [about for about in signature.parameters.values() if about.kind is not about.VAR_KEYWORD]
    defaults = inspect.signature(open_pair).parameters
    listed = [defaults[name].replace(annotation=Options.__annotations__[name]) for name in get_type_hints(Options)]
    setattr(estimator, "__signature__", signature.replace(parameters=[*own, *listed]))  # noqa: B010
    text, about = inspect.getdoc(estimator), inspect.getdoc(Options)
    place = OTHERS.search(text) if text else None
    if text and about and place:  # no docstrings under python -OO
        known = [entry for entry in _entries(about) if not re.search(rf"^ *{entry[0]}: ", text, re.MULTILINE)]
        described = "".join(f"    {name}: {words}\n" for name, words in known)
        estimator.__doc__ = text[: place.start()] + described + text[place.start() :]
    return estimator


def _entries(about: str) -> list[tuple[str, str]]:
    """Name and description of each attribute in a docstring, the lines of one broken as they are."""
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", about, re.MULTILINE)
    return [(name, words) for name, words in found]
