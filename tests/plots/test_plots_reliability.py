"""The k̂ figure: where each observation stands, its reading, and the values that are no numbers."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.plots import pareto_k_figure, save_figure
from bayes_vae.plots.reliability_figures import CONVERGED, LOWER_BOUND
from bayes_vae.terms.containers import Provenance

pytestmark = pytest.mark.libraries

INFINITY = torch.inf


def estimate(pareto_k, particles=5000):
    pareto_k = torch.as_tensor(pareto_k, dtype=torch.float64)
    zero = torch.zeros_like(pareto_k)
    size = torch.arange(1, len(pareto_k) + 1, dtype=torch.float64)
    counts = torch.as_tensor(particles).expand(len(pareto_k)).clone()
    origin = Provenance(3, "distributions", "vectorized", "per observation", "static")
    return LogEvidenceEstimate(zero, size, pareto_k, zero, zero, zero, counts, "importance", origin)


def words(figure):
    save_figure(figure)
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def dots(axes):
    """(x, y) → colour of every dot."""
    found = {}
    for group in axes.collections:
        colour = to_hex(np.concatenate([group.get_facecolor(), group.get_edgecolor()])[0])
        found |= {(round(x), round(y, 6)): colour for x, y in group.get_offsets().tolist()}
    return found


def test_dots_are_sorted_by_k_and_coloured_by_reading():
    figure = pareto_k_figure(estimate([0.9, 0.2, 0.7, 0.71]))
    upper, lower = figure.axes
    black, red = CONVERGED.lower(), LOWER_BOUND.lower()
    assert dots(upper) == {(0, 0.2): black, (1, 0.7): black, (2, 0.71): red, (3, 0.9): red}
    assert dots(lower) == {(0, 2.0): black, (1, 3.0): black, (2, 4.0): red, (3, 1.0): red}
    assert [line.get_ydata()[0] for line in upper.lines] == [0.7, 0.5]
    assert [line.get_ydata()[0] for line in lower.lines] == [5000]
    text = words(figure)
    assert "K = 5,000 · N = 4 · data policy: static · seed 3" in text
    assert "k̂ above its threshold for 2 of 4 (50%): lower bounds, not converged · median k̂ 0.70" in text
    assert "threshold 0.70" in text
    assert "estimate (2)" in text
    assert "lower bound, not converged (2)" in text
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("k̂, tail index of the weights", "effective sample size")
    assert lower.get_xlabel() == "observations, sorted by k̂"


def test_the_order_given_can_be_kept():
    upper, lower = pareto_k_figure(estimate([0.9, 0.2, 0.7]), order="index").axes
    assert set(dots(upper)) == {(0, 0.9), (1, 0.2), (2, 0.7)}
    assert lower.get_xlabel() == "observations, in the order given"


def test_what_is_no_number_has_a_mark_of_its_own():
    figure = pareto_k_figure(estimate([INFINITY, 0.3, -INFINITY, float("nan"), -INFINITY]))
    text = words(figure)
    for label in ("−∞: equal weights (2)", "+∞: no tail to fit (1)", "no k̂ (1)", "estimate (1)"):
        assert label in text
    assert "for 2 of 5 (40%)" in text
    places = dict(tuple(dots(figure.axes[0])))
    low, high = figure.axes[0].get_ylim()
    assert places[0] == places[1] == pytest.approx(low, abs=0.05)
    assert places[3] == pytest.approx(high, abs=0.05)
    assert places[4] == pytest.approx(low, abs=0.05)
    assert set(places) == {0, 1, 2, 3, 4}


def test_a_threshold_that_differs_is_a_band():
    figure = pareto_k_figure(estimate([0.6, 0.6], particles=[100, 5000]))
    assert "threshold 0.50 to 0.70" in words(figure)
    assert "K = 100 to 5,000" in words(figure)
    colours = {x: colour for (x, _), colour in dots(figure.axes[0]).items()}
    assert colours == {0: LOWER_BOUND.lower(), 1: CONVERGED.lower()}


@pytest.mark.parametrize("count", [1, 2, 10_000])
def test_any_number_of_observations_can_be_drawn(count):
    k = torch.rand(count, generator=torch.Generator().manual_seed(0)) * 0.69
    figure = pareto_k_figure(estimate(k))
    assert len(dots(figure.axes[0])) == count
    assert f"k̂ at most its threshold for all {count:,}" in words(figure)


@pytest.mark.parametrize("value", [float("nan"), -INFINITY, INFINITY])
def test_nothing_finite_can_be_drawn(value):
    figure = pareto_k_figure(estimate([value] * 3, particles=20 if np.isnan(value) else 5000))
    expected = {"nan": "no k̂ (fewer than 30 particles", "-inf": "median k̂ −∞", "inf": "median k̂ ∞"}
    assert expected[str(value)] in words(figure)


def test_an_estimate_as_it_comes_can_be_drawn(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    found = bv.estimate_log_evidence(model, rescaled_guide(model, 0.4), x, num_particles=100)
    figure = pareto_k_figure(found)
    assert len(dots(figure.axes[1])) == 7


def test_another_order_is_refused():
    with pytest.raises(SettingsError, match="order must be 'sorted' or 'index', got 'size'"):
        pareto_k_figure(estimate([0.1]), order="size")
