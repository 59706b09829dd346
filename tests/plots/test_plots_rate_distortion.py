"""The figure of rate–distortion curves."""

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.estimators.rate_distortion_curve import RateDistortion
from bayes_vae.plots import rate_distortion_figure, save_figure
from bayes_vae.terms import Provenance


@pytest.fixture
def curve():
    """A curve whose chains agree at β = 0.5 and disagree at β = 1."""
    weights = torch.zeros(3, 4, 5, dtype=torch.float64)
    weights[2, 0] = 50.0
    likelihood = torch.linspace(-9, -3, 60, dtype=torch.float64).reshape(3, 4, 5)
    origin = Provenance(3, "distributions", "vectorized", "per observation", "static")
    betas, none = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), torch.zeros(3, 5)
    return RateDistortion(betas, weights, likelihood, weights[:, :2] - 60, none.bool(), none, 20, origin)


def markers(axes):
    """The fill of each point's marker."""
    return [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]


def test_points_whose_chains_disagree_are_hollow(curve):
    (axes,) = rate_distortion_figure({"a": curve}).axes
    fills = markers(axes)
    assert len(fills) == 3
    assert [fill == "white" for fill in fills] == [False, False, True]
    assert [text.get_text() for text in axes.texts] == ["β = 1", "β = 0.5", "β = 0"]


def test_several_curves_and_the_place_of_q(curve, linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    terms = bv.elbo_terms(model, rescaled_guide(model, 1.0), x, num_particles=4)
    figure = rate_distortion_figure({"a": curve, "b": curve}, {"b": terms})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "b, its q"]
    (square,) = [line for line in axes.lines if line.get_marker() == "s"]
    averages = terms.averages()
    assert square.get_xdata()[0] == pytest.approx(averages["kl_to_prior"].value)
    assert square.get_ydata()[0] == pytest.approx(-averages["expected_log_likelihood"].value)
    said = " ".join(text.get_text() for text in figure.texts)
    assert "N = 5 · data policy: static · seed 3" in said
    assert "squares: the model's own q" in said


def test_no_curve_is_refused():
    with pytest.raises(SettingsError, match="a figure of curves needs at least one"):
        rate_distortion_figure({})


def test_a_name_is_no_formula(curve):
    figure = rate_distortion_figure({"$\\frac{$": curve, "$x_1$": curve})
    save_figure(figure)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines if line.get_linestyle() == "-"][:1] == ["\\$\\frac{\\$"]
