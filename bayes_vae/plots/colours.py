"""One colour for each term of Bayes' rule, and ten for labels."""

from __future__ import annotations

__all__ = ["COLOURS", "GREY", "LABEL_COLOURS"]

COLOURS = {
    "prior": "#56B4E9",
    "likelihood": "#009E73",
    "variational_posterior": "#E69F00",
    "exact_posterior": "#D55E00",
    "evidence": "#000000",
    "elbo": "#0072B2",
    "kl": "#CC79A7",
}
"""Term → colour, from a palette that is told apart with any colour vision.

Reference: Okabe, Ito (2008), "Color universal design".
"""

LABEL_COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#3b3d45",
    "#55b8bc",
)
"""Ten colours for labels; they stand for no term.

Reference: Petroff (2021), "Accessible color sequences for data visualization"; the two palest are darkened.
"""

GREY = "#6b6b6b"
"""Axes, captions and whatever stands for no term."""
