"""The calibration figure: its bars, its band, its coverage, and which dimensions it shows."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from bayes_vae.estimators.calibration import GuideCalibration
from bayes_vae.estimators.rank_tests import binomial_interval
from bayes_vae.plots import calibration_figure, save_figure
from bayes_vae.plots.calibration_figure import COLOUR, OUTSIDE
from bayes_vae.terms.containers import Provenance
from bayes_vae.vocabulary.symbols import dimension_symbol


def calibration(dims, num_observations=400, narrow=()):
    """Ranks uniform on 0…99; in the narrow dimensions most lie in the first and the last bin."""
    generator = torch.Generator().manual_seed(0)
    ranks = torch.randint(0, 100, (num_observations, dims), generator=generator)
    for dimension in narrow:
        ends = torch.randint(0, 2, (num_observations // 2,), generator=generator)
        ranks[: num_observations // 2, dimension] = 99 * ends
    names = tuple(dimension_symbol(d) for d in range(dims))
    origin = Provenance(7, "distributions", "vectorized", "per observation", "simulated")
    return GuideCalibration(ranks, names, 99, 20, (0.5, 0.8, 0.9), 0.01, origin)


def words(figure):
    save_figure(figure)
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_bars_are_the_counts_and_leave_the_band_in_dark():
    result = calibration(3, narrow=[1])
    figure = calibration_figure(result)
    *panels, coverage = figure.axes
    low, high = binomial_interval(400, 1 / 20, 0.99)
    for axes, counts in zip(panels, result.counts.tolist(), strict=True):
        bars = axes.containers[0].patches
        assert [bar.get_height() for bar in bars] == counts
        assert [bar.get_x() for bar in bars] == list(range(0, 100, 5))
        expected = [COLOUR.lower() if low <= count <= high else OUTSIDE for count in counts]
        assert [to_hex(bar.get_facecolor()) for bar in bars] == expected
    assert to_hex(panels[1].containers[0].patches[0].get_facecolor()) == OUTSIDE
    assert [axes.get_title(loc="left") for axes in panels] == [
        "$z_{0}$\nuniform",
        "$z_{1}$\ntoo narrow",
        "$z_{2}$\nuniform",
    ]
    pooled = coverage.containers[-1].lines[0]
    np.testing.assert_allclose(pooled.get_xdata(), result.levels)
    np.testing.assert_allclose(pooled.get_ydata(), result.pooled_coverage)
    text = words(figure)
    assert "L = 99 draws of q(z|x) · N = 400 · data policy: simulated · seed 7" in text
    assert "q is too narrow in 1 of 3 dimensions" in text
    assert "The guide is not calibrated" in text


def test_axes_are_labelled():
    *panels, coverage = calibration_figure(calibration(2)).axes
    assert panels[0].get_ylabel() == "observations in a bin"
    assert {axes.get_xlabel() for axes in panels} == {"rank of the true z"}
    assert coverage.get_xlabel() == "nominal coverage of q’s central interval (%)"
    assert coverage.get_ylabel() == "intervals that hold the true z (%)"


def test_of_many_dimensions_the_worst_are_shown_and_named():
    result = calibration(11, narrow=[9, 4])
    figure = calibration_figure(result)
    assert len(figure.axes) == 9
    first = {axes.get_title(loc="left") for axes in figure.axes[:2]}
    assert first == {"$z_{9}$\ntoo narrow", "$z_{4}$\ntoo narrow"}
    assert "shown: the 8 worst of 11 dimensions, the worst first" in words(figure)


@pytest.mark.parametrize(("dims", "panels"), [(1, 1), (4, 4), (5, 5), (8, 8), (50, 8)])
def test_any_number_of_dimensions_can_be_drawn(dims, panels):
    figure = calibration_figure(calibration(dims, num_observations=200))
    assert len(figure.axes) == panels + 1
    assert "The guide passes its calibration test" in words(figure)
