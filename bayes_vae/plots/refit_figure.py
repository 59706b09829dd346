"""Draws from a model under its old prior and under the refitted one, side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.images import draw_pictures, value_range
from bayes_vae.plots.style import new_figure
from bayes_vae.training import RefittedPrior
from bayes_vae.training.refitted_prior import NEW, OLD
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, estimate_text

__all__ = ["refitted_prior_figure"]

COLUMNS, INCHES, TITLE = 8, 3.4, 0.75


def refitted_prior_figure(refitted: RefittedPrior, *, num_samples: int = 64, seed: int = 0) -> Figure:
    """Means of p(x given z) for z drawn from the old prior at the left, from the new one at the right.

    Args:
        refitted: what :func:`bayes_vae.refit_prior` returned.
        num_samples: draws of each.
        seed: of the draws.
    """
    comparison = refitted.comparison
    drawn = [model.sample(num_samples, seed=seed, mean=True) for model in (refitted.old_model, refitted.new_model)]
    limits = min(value_range(x)[0] for x in drawn), max(value_range(x)[1] for x in drawn)
    lines = [
        conditions(None, comparison.num_observations, comparison.data_policy, unit=capitalized(PER_OBSERVATION)),
        "means of p(x|z), one z each, drawn from the prior; the same decoder on both sides",
        refitted.sentence(),
    ]
    figure = new_figure(2 * INCHES + 0.6, INCHES + TITLE, "The prior, refitted to the codes", "\n".join(lines))
    axes = np.asarray(figure.subplots(1, 2, squeeze=False))[0]
    marginal = dict(zip((OLD, NEW), refitted.marginal_kl(), strict=False))
    for place, name, x in zip(axes, (OLD, NEW), drawn, strict=True):
        draw_pictures(place, x, min(COLUMNS, num_samples), limits)
        evidence = next(each for each in comparison.contenders if each.name == name).average
        text = f"{name}\nlog p(x) {estimate_text(evidence.value, evidence.known_error)}"
        if name in marginal:
            text += f"\nmarginal KL {estimate_text(marginal[name].value, marginal[name].known_error)}"
        place.set_title(text, fontsize=9.5, loc="left", color=COLOURS["prior" if name == OLD else "exact_posterior"])
    return figure
