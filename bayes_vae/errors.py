"""Errors and warnings: each says what was expected, what arrived and what to do."""

from __future__ import annotations

__all__ = [
    "BayesVaeError",
    "BayesVaeWarning",
    "DataError",
    "GridWarning",
    "LeftoverWarning",
    "NetworkOutputWarning",
    "NotDefinedError",
    "NumericalError",
    "ProgramError",
    "RunError",
    "ScaledSiteWarning",
    "SettingsError",
    "ShapeError",
    "SupportError",
    "Terminated",
    "ToleranceError",
    "UnfinishedRunWarning",
]


class BayesVaeError(Exception):
    """Base of every error that this library raises for bad input."""


class SettingsError(BayesVaeError, ValueError):
    """A setting has a value that cannot work."""


class ToleranceError(SettingsError):
    """Two levels of an estimate did not come to agree within the tolerance, as far as it went."""


class ShapeError(BayesVaeError, ValueError):
    """A tensor has a shape that the operation cannot take."""


class SupportError(BayesVaeError, ValueError):
    """An observation lies outside the support of the likelihood: what was found, then what to do."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(f"{found} {remedy}" if remedy else found)
        self.found = found


class NumericalError(BayesVaeError, ArithmeticError):
    """A term of Bayes' rule came out as NaN or as an impossible infinity."""


class ProgramError(BayesVaeError, ValueError):
    """A pair of Pyro programs from which the terms cannot be read."""


class NotDefinedError(BayesVaeError, ValueError):
    """A quantity that does not exist for this pair, with the reason."""


class DataError(BayesVaeError, ValueError):
    """A data set that is missing, empty, damaged or unfit for its policy."""


class RunError(BayesVaeError, ValueError):
    """A run directory that cannot be written, read or trusted."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM or because its terminal closed: treated as Ctrl-C is.

    Args:
        number: of the signal.
        text: what a person should know.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text)
        self.number = number


class BayesVaeWarning(UserWarning):
    """Base of every warning that this library gives."""


class ScaledSiteWarning(BayesVaeWarning):
    """A site is scaled (KL annealing, say); its density is evaluated at weight 1."""


class GridWarning(BayesVaeWarning):
    """A grid over z misses a part of the prior, of q or of the posterior."""


class NetworkOutputWarning(BayesVaeWarning):
    """What a network returns looks like something else than it was said to be."""


class LeftoverWarning(BayesVaeWarning):
    """A process that was killed left temporary files of a run."""


class UnfinishedRunWarning(BayesVaeWarning):
    """A run whose training has not come to its end."""
