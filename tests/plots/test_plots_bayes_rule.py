"""The row of pictures that says Bayes' rule."""

import math

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Text

import bayes_vae as bv
from bayes_vae.errors import ShapeError
from bayes_vae.estimators.grid import BayesRuleOnGrid
from bayes_vae.plots import COLOURS, bayes_rule_figure, save_figure
from bayes_vae.plots.bayes_rule import highest_density_levels
from bayes_vae.terms import Provenance
from bayes_vae.vocabulary.number_text import signed


@pytest.fixture(scope="module")
def observations(linear_gaussian):
    return linear_gaussian[1]


@pytest.fixture(scope="module")
def rule(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    return bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.3), x, num_points=61, data_policy="none")


@pytest.fixture(scope="module")
def figure(rule, observations):
    drawn = bayes_rule_figure(rule, 2, observations[2])
    save_figure(drawn)
    return drawn


def panels(figure):
    """The panels by title, without the signs between them."""
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def words(figure):
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_row_reads_as_bayes_rule(figure):
    names = [axes.get_title() or axes.texts[0].get_text() for axes in figure.axes]
    assert names == [
        "prior p(z)",
        "×",
        "likelihood p(x|z)",
        "÷",
        "evidence p(x)",
        "=",
        "exact posterior p(z|x)",
        "≈",
        "guide q(z|x)",
    ]


def test_each_panel_shows_its_term_in_its_colour(figure, rule):
    terms = {
        "prior p(z)": ("prior", rule.log_prior),
        "likelihood p(x|z)": ("likelihood", rule.log_likelihood[2]),
        "exact posterior p(z|x)": ("exact_posterior", rule.log_posterior[2]),
        "guide q(z|x)": ("variational_posterior", rule.log_guide[2]),
    }
    for title, (term, log_density) in terms.items():
        axes = panels(figure)[title]
        mesh = axes.collections[0]
        expected = (log_density - log_density.max()).exp().T
        np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(61, 61), expected, atol=1e-12)
        assert to_hex(mesh.cmap(1.0)).upper() == COLOURS[term]
        assert to_hex(mesh.cmap(0.0)) == "#ffffff"
        assert to_hex(axes.title.get_color()).upper() == COLOURS[term]


def test_numbers_at_the_dot_add_up(figure, rule):
    first, second = np.unravel_index(int(rule.log_posterior[2].argmax()), (61, 61))
    values = [rule.log_prior, rule.log_likelihood[2], rule.log_posterior[2], rule.log_guide[2]]
    titles = ("prior p(z)", "likelihood p(x|z)", "exact posterior p(z|x)", "guide q(z|x)")
    for title, log_density in zip(titles, values, strict=True):
        axes = panels(figure)[title]
        assert axes.texts[0].get_text() == f"log at the dot: {signed(float(log_density[first, second]))}"
        assert axes.lines[0].get_xdata()[0] == rule.first_axis[first]
        assert axes.lines[0].get_ydata()[0] == rule.second_axis[second]
    assert f"{signed(float(rule.log_evidence[2]))} nats" in words(figure)


def test_the_guide_carries_the_posteriors_lines_dashed(figure):
    contours = panels(figure)["guide q(z|x)"].collections[1:]
    assert len(contours) == 2
    assert to_hex(contours[1].get_edgecolor()[0]).upper() == COLOURS["exact_posterior"]
    assert contours[1].get_linestyle()[0][1] is not None
    assert contours[0].get_linestyle()[0][1] is None


def test_lines_follow_their_densities(figure, rule, linear_gaussian, rescaled_guide):
    """Along a line the density is what it is supposed to be: its own value for 50 % or 95 % of the mass."""
    model, x = linear_gaussian
    q, exact = rescaled_guide(model, 1.3).variational_posterior(x[2:3]), model.exact_posterior(x[2:3])
    drawn = {
        ("prior p(z)", 1): (model.prior(), rule.log_prior),
        ("exact posterior p(z|x)", 1): (exact, rule.log_posterior[2]),
        ("guide q(z|x)", 1): (q, rule.log_guide[2]),
        ("guide q(z|x)", 2): (exact, rule.log_posterior[2]),
    }
    for (title, place), (density, log_density) in drawn.items():
        paths = panels(figure)[title].collections[place].get_paths()
        for path, level in zip(paths, highest_density_levels(log_density), strict=True):
            heights = density.log_prob(torch.from_numpy(path.vertices.copy())).detach()
            torch.testing.assert_close(heights, torch.full_like(heights, level), rtol=0, atol=0.1)


def test_the_picture_is_cropped_to_where_the_densities_are():
    """A narrow normal at (6, −3) in a wide grid: the frame is a square around it."""
    axis = torch.linspace(-10, 10, 201, dtype=torch.float64)
    log_density = -0.5 * ((axis[:, None] - 6).square() + (axis + 3).square()) - math.log(2 * math.pi)
    each = log_density.unsqueeze(0)
    origin = Provenance(0, "distributions", "vectorized", "per observation")
    drawn = bayes_rule_figure(BayesRuleOnGrid(axis, axis, log_density, 0 * each, each, origin))
    axes = panels(drawn)["prior p(z)"]
    assert axes.get_xlim() == pytest.approx((6 - 3.75, 6 + 3.75), abs=0.2)
    assert axes.get_ylim() == pytest.approx((-3 - 3.75, -3 + 3.75), abs=0.2)


def test_the_caption_says_grid_policy_and_gap(figure, rule):
    text = words(figure)
    assert "K = 0 (a grid of 61 × 61) · N = 1 · data policy: none" in text
    assert f"KL(q(z|x) ‖ p(z|x)) = {float(rule.inference_gap[2]):.3f} nats" in text


def test_all_panels_share_their_limits_and_hold_the_guide(figure, rule, linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    q = rescaled_guide(model, 1.3).variational_posterior(x[2:3])
    limits = {(axes.get_xlim(), axes.get_ylim()) for title, axes in panels(figure).items() if "evidence" not in title}
    assert len(limits) == 1
    (horizontal, vertical) = limits.pop()
    for (low, high), mean, deviation in zip((horizontal, vertical), q.mean[0], q.stddev[0], strict=True):
        assert low < mean - 3 * deviation
        assert high > mean + 3 * deviation
    assert horizontal[1] - horizontal[0] == pytest.approx(vertical[1] - vertical[0])


def test_without_the_observation_the_evidence_is_a_number(rule):
    drawn = bayes_rule_figure(rule)
    axes = panels(drawn)["evidence p(x)"]
    assert not axes.images
    assert axes.texts[0].get_text() == f"log p(x) =\n{signed(float(rule.log_evidence[0]))} nats"
    assert save_figure(drawn).startswith(b"\x89PNG")


def test_levels_hold_their_mass():
    """Of a standard normal in the plane: the disc of radius √(−2 log(1 − mass))."""
    axis = torch.linspace(-6, 6, 401, dtype=torch.float64)
    squared = axis[:, None].square() + axis.square()
    levels = highest_density_levels(-0.5 * squared, (0.95, 0.5))
    assert levels == pytest.approx([math.log(0.05), math.log(0.5)], abs=0.01)


@pytest.mark.parametrize("row", [-1, 7])
def test_a_row_that_the_grid_lacks_is_refused(rule, row):
    with pytest.raises(ShapeError, match=f"row must be one of the 7 observations of the grid, got {row}"):
        bayes_rule_figure(rule, row)
