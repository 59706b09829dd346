"""Errors and warnings: each says what was expected, what arrived and what to do."""

from __future__ import annotations

import re

__all__ = [
    "BayesVaeError",
    "BayesVaeWarning",
    "DataError",
    "DoesNotApplyError",
    "GridWarning",
    "LeftoverWarning",
    "LikelihoodSeesDataError",
    "LostProcessError",
    "NetworkOutputWarning",
    "NotDefinedError",
    "NumericalError",
    "ProcessesError",
    "ProgramError",
    "RunError",
    "ScaledSiteWarning",
    "SettingsError",
    "ShapeError",
    "SupportError",
    "Terminated",
    "ToleranceError",
    "UncheckedLikelihoodWarning",
    "UnfinishedRunWarning",
    "UnscaledDataWarning",
]


def printable(text: str) -> str:
    r"""Text without what a terminal obeys: control characters, but for line ends and tabs, and changes of direction.

    >>> printable("runs/\x1b[2Ja")
    'runs/\\x1b[2Ja'
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class BayesVaeError(Exception):
    """Base of every error that this library raises for bad input."""

    def __str__(self) -> str:
        """The message as it can be printed, whatever the names of files and sites in it hold."""
        return printable(super().__str__())


class SettingsError(BayesVaeError, ValueError):
    """A setting has a value that cannot work."""


class ToleranceError(SettingsError):
    """Two levels of an estimate did not come to agree within the tolerance, as far as it went."""


class ShapeError(BayesVaeError, ValueError):
    """A tensor has a shape that the operation cannot take."""


class SupportError(BayesVaeError, ValueError):
    """An observation lies outside the support of the likelihood: what was found, then what to do.

    Attributes:
        found: the first sentence.
        of_bernoulli: whether the likelihood is one of zeros and ones.
    """

    def __init__(self, found: str, remedy: str = "", *, of_bernoulli: bool = False) -> None:
        super().__init__(f"{found} {remedy}" if remedy else found)
        self.found, self.of_bernoulli = found, of_bernoulli


class NumericalError(BayesVaeError, ArithmeticError):
    """A term of Bayes' rule came out as NaN or as an impossible infinity."""


class ProcessesError(BayesVaeError, RuntimeError):
    """Processes that work together and cannot start, differ in what they work on, or have lost each other."""


class LostProcessError(ProcessesError):
    """Another of the processes that work together ended or failed, so that this one cannot go on."""


class ProgramError(BayesVaeError, ValueError):
    """A pair of Pyro programs from which the terms cannot be read."""


class UnrepeatableError(ProgramError):
    """A pair whose terms are others at each call, for the same x and the same latents.

    Attributes:
        terms: their names.
    """

    def __init__(self, terms: tuple[str, ...]) -> None:
        super().__init__(
            f"the pair gives something else at each call: {', '.join(terms)} change for the same x and the same noise, "
            "in evaluation mode, as where dropout is left on. Use nn.Dropout, which evaluation mode ends, or "
            "F.dropout(h, p, training=self.training)."
        )
        self.terms = terms


class LikelihoodSeesDataError(ProgramError):
    """A likelihood whose parameters move with the numbers that it is the likelihood of, at a fixed z.

    Attributes:
        sites: the observed sites, and latents whose prior sees x.
        circular, looked_at: of how many numbers it was found, of how many that were looked at.
        numbers: how many an observation has.
    """

    def __init__(self, sites: tuple[str, ...], circular: int, looked_at: int, numbers: int) -> None:
        super().__init__(
            f"the likelihood sees x: at a fixed z the parameters of {circular} of {looked_at} numbers that were looked "
            f"at (an observation has {numbers}) move with these numbers themselves (site "
            f"{', '.join(map(repr, sites))}), so p(x given z) is no density of x and log p(x) means nothing: remove "
            "what leads from x to the likelihood past z, such as a skip connection from the encoder, and pass what is "
            "computed from x, such as a total or a mask, as a covariate, model(x, covariate)."
        )
        self.sites, self.circular, self.looked_at, self.numbers = sites, circular, looked_at, numbers


class NotDefinedError(BayesVaeError, ValueError):
    """A quantity that does not exist for this pair, with the reason."""


class DoesNotApplyError(NotDefinedError):
    """A question about a part that this pair does not have, such as the deviation of a Bernoulli likelihood."""


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

    def __str__(self) -> str:
        """The message as it can be printed, whatever the names in it hold."""
        return printable(super().__str__())


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


class MissingValuesWarning(BayesVaeWarning):
    """Observations with missing values, and an encoder that is not told which."""


class UncheckedLikelihoodWarning(BayesVaeWarning):
    """Whether the likelihood sees the numbers that it is the likelihood of could not be checked."""


class UnscaledDataWarning(BayesVaeWarning):
    """Columns of real values of very different sizes, or far from 1, on which networks hardly train."""
