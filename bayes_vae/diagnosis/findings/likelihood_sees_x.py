"""A likelihood that sees the numbers that it is the likelihood of: nothing can be measured of such a pair."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, fault

__all__ = ["likelihood_sees_x"]


@fault(
    "likelihood-sees-x",
    needs=("numbers_that_see_themselves",),
    why="p(x|z) is then not a density of x: the loss can fall to zero without a code, and log p(x) means nothing.",
    advice="Remove every path from x to the likelihood that bypasses z, such as a skip connection from the encoder, "
    "and pass what is computed from x, such as a total or a mask, as a covariate.",
    first=True,
)
def likelihood_sees_x(seen: Examined) -> Iterator[Case]:
    """Parameters of the likelihood that move with the very numbers that they are of, at a fixed z."""
    few, of = seen.value("numbers_that_see_themselves"), seen.value("numbers_looked_at")
    yield Case(
        f"At a fixed z the likelihood's parameters for {few:.0f} of {of:.0f} numbers of x change with these numbers.",
        [seen.above("numbers_that_see_themselves", 0.0)],
        ("numbers_looked_at",),
    )
