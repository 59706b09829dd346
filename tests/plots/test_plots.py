"""The figures: what they show, what stands beside it, and that they touch no global state."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import bayes_vae as bv
from bayes_vae.errors import ShapeError
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.plots import (
    COLOURS,
    ladder_figure,
    latent_figure,
    prior_sample_figure,
    reconstruction_figure,
    save_figure,
    training_figure,
)
from bayes_vae.plots.colours import GREY, LABEL_COLOURS
from bayes_vae.plots.images import as_pictures
from bayes_vae.plots.latents import principal_components

TERMS = ("elbo", "expected_log_likelihood", "kl_to_prior")


def words(figure):
    """Every text of a figure: titles, labels, annotations, legends."""
    save_figure(figure)
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def history(count, kl_weight=1.0):
    rows = []
    for epoch in range(1, count + 1):
        values = {"elbo": -30.0 + epoch, "expected_log_likelihood": -27.0 + epoch, "kl_to_prior": 3.0}
        row = {f"{split}_{name}": value for split in ("train", "validation") for name, value in values.items()}
        rows.append({"epoch": float(epoch), "kl_weight": kl_weight, **row})
    return rows


def training(count=4, kl_weight=1.0):
    rows = history(count, kl_weight)
    return training_figure(rows, num_particles=1, num_observations="40 (validation 5)", data_policy="static")


@pytest.fixture(scope="module")
def pair(isolated_globals):
    with isolated_globals(seed=0):
        networks = {"latent_dim": 2, "data_shape": (3, 3), "hidden_dims": (5,)}
        return VAE(**networks), AmortizedNormalGuide(**networks)


@pytest.fixture(scope="module")
def linear(isolated_globals):
    with isolated_globals(seed=0):
        return LinearGaussianVAE(2, (4,)).double()


def test_each_term_has_a_colour_of_its_own():
    assert set(COLOURS) == {
        "prior",
        "likelihood",
        "variational_posterior",
        "exact_posterior",
        "evidence",
        "elbo",
        "kl",
    }
    assert len({*COLOURS.values(), GREY}) == len(COLOURS) + 1
    assert len(set(LABEL_COLOURS)) == 10


def test_figures_load_no_pyplot():
    source = """
import sys
import torch
from bayes_vae.plots import latent_figure, save_figure
save_figure(latent_figure(torch.zeros(3, 2), data_policy="none"))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True, timeout=120)


def test_a_figure_becomes_the_same_png_twice():
    contents = [save_figure(training()) for _ in range(2)]
    assert contents[0].startswith(b"\x89PNG")
    assert contents[0] == contents[1]


def test_training_shows_three_terms_in_their_colours():
    figure = training()
    assert [axes.get_ylabel() for axes in figure.axes] == ["nats per observation"] * 3
    colours = [to_hex(axes.lines[1].get_color()).upper() for axes in figure.axes]
    assert colours == [COLOURS[name] for name in ("elbo", "likelihood", "kl")]
    assert [axes.lines[1].get_ydata()[-1] for axes in figure.axes] == [-26.0, -23.0, 3.0]
    assert "K = 1 · N = 40 (validation 5) · data policy: static · KL weight 1" in words(figure)
    assert "best epoch: −26.00" in words(figure)
    assert "stopped" not in words(figure)


def test_training_says_why_it_ended_early():
    options = {"num_particles": 1, "num_observations": 40, "data_policy": "static"}
    figure = training_figure(history(4), **options, ending="patience")
    assert "KL weight 1 · stopped early: the validation ELBO no longer rose" in words(figure)
    assert "stopped by a callback" in words(training_figure(history(4), **options, ending="callback"))


def test_training_shows_a_kl_weight_that_is_not_one():
    figure = training(kl_weight=0.5)
    assert list(figure.axes[3].lines[0].get_ydata()) == [0.5] * 4
    assert "KL weight in training as shown, 1 in validation" in words(figure)


def test_training_of_one_epoch_can_be_drawn():
    assert isinstance(training(1), Figure)


def test_reconstructions_stand_below_their_observations():
    x = (torch.arange(27).reshape(3, 3, 3) % 2).float()
    figure = reconstruction_figure(x, x / 2, data_policy="static")
    [image] = figure.axes[0].images
    cells = image.get_array().reshape(2, 50, 3, 50, 3).swapaxes(1, 2)  # pictures of 3 × 3, 16 dots each, and a frame
    np.testing.assert_array_equal(cells[0, 1, 9:-1:16, 9:-1:16, 0], 255 - 255 * x[1])
    np.testing.assert_array_equal(cells[1, 1, 9:-1:16, 9:-1:16, 0], (255 - 127.5 * x[1]).round())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x", "mean of\np(x|z)"]
    assert "K = 1 · N = 3 · data policy: static" in words(figure)
    assert "one z drawn from q(z|x)" in words(figure)


def test_a_reconstruction_for_each_observation_is_asked_for():
    with pytest.raises(ShapeError, match=r"each observation needs its reconstruction: x is \(3, 2, 2\), means \(2, 2"):
        reconstruction_figure(torch.zeros(3, 2, 2), torch.zeros(2, 2, 2), data_policy="none")


def test_prior_samples_fill_a_grid():
    means = torch.rand(5, 3, 3, generator=torch.Generator().manual_seed(0))
    figure = prior_sample_figure(means, data_policy="static")
    cells = figure.axes[0].images[0].get_array().reshape(2, 50, 3, 50, 3).swapaxes(1, 2)  # two rows of three
    shown = cells.reshape(6, 50, 50, 3)[:, 9:-1:16, 9:-1:16, 0]
    np.testing.assert_array_equal(shown[:5], (255 * (1 - means)).round())
    assert (cells[1, 2] == 255).all()
    assert "N = 5 · data policy: static" in words(figure)
    assert "drawn from the prior p(z)" in words(figure)


@pytest.mark.parametrize(
    ("event", "picture"),
    [
        ((4, 5), (4, 5)),
        ((1, 4, 5), (4, 5)),
        ((4, 5, 1), (4, 5)),
        ((3, 4, 5), (4, 5, 3)),
        ((4, 5, 3), (4, 5, 3)),
        ((6,), (1, 6)),
        ((2, 4, 5), (2, 20)),
        ((), (1, 1)),
    ],
)
def test_observations_of_any_shape_become_pictures(event, picture):
    assert as_pictures(torch.zeros(2, *event)).shape == (2, *picture)
    figure = prior_sample_figure(torch.zeros(2, *event), data_policy="none")
    assert save_figure(figure)


def test_latent_means_of_two_dimensions_stay_as_they_are():
    means = torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, -1.0]])
    figure = latent_figure(means, data_policy="static")
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), means)
    assert [axes.get_xlabel(), axes.get_ylabel()] == ["$z_{0}$", "$z_{1}$"]
    assert [patch.radius for patch in axes.patches] == [1, 2]
    assert to_hex(axes.collections[0].get_facecolor()[0]).upper() == COLOURS["variational_posterior"]
    assert "N = 3 · data policy: static" in words(figure)


def test_more_dimensions_are_shown_by_principal_components():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(200, 4, generator=generator, dtype=torch.float64) * torch.tensor([0.1, 3.0, 1.0, 0.1])
    points, shares = principal_components(means)
    assert points.shape == (200, 2)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-12)
    assert shares == pytest.approx((points.var(0) / means.numpy().var(0).sum()).tolist())
    assert abs(np.corrcoef(points[:, 0], means[:, 1])[0, 1]) > 0.99
    text = words(latent_figure(means, data_policy="static"))
    assert f"first principal component of the means ({shares[0]:.0%} of their variance)" in text
    assert f"second principal component of the means ({shares[1]:.0%} of their variance)" in text


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (5, 1), (1, 1)])
def test_few_points_and_one_dimension_can_be_drawn(shape):
    assert save_figure(latent_figure(torch.zeros(shape), torch.zeros(shape[0]), data_policy="none"))


def test_labels_get_colours_names_and_a_legend():
    labels = torch.arange(30) % 10
    figure = latent_figure(torch.randn(30, 2, generator=torch.Generator().manual_seed(0)), labels, data_policy="static")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [str(label) for label in range(10)]
    assert [to_hex(dots.get_facecolor()[0]) for dots in axes.collections] == list(LABEL_COLOURS)


def test_labels_with_names_are_shown_by_them():
    figure = latent_figure(torch.eye(4)[:, :2], torch.tensor([0, 1, 1, 0]), names=("cat", "dog"), data_policy="none")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["cat", "dog"]


def test_more_labels_than_colours_get_a_scale():
    figure = latent_figure(torch.eye(20)[:, :2], torch.arange(20.0), data_policy="static")
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylabel() == "label"


def test_the_ladder_shows_every_rung_with_its_error(pair):
    model, guide = pair
    x = model.sample(8, seed=1)
    comparison = bv.compare(model, guide, x, (1, 5, 50), data_policy="static")
    figure = ladder_figure(comparison)
    (axes,) = figure.axes
    values = [rung.average.value for rung in comparison.rungs]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), values[:3])
    for rung, line in zip(comparison.rungs[3:], axes.lines[-2:], strict=True):
        assert list(line.get_ydata()) == [rung.average.value] * 2
        assert f"{rung.name} −{-rung.average.value:.2f}" in words(figure)
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "5", "50"]
    assert axes.get_ylabel() == "nats per observation"
    text = words(figure)
    assert "K = 50 · N = 8 · data policy: static · KL weight 1" in text
    assert "k̂ above 0.41 for" in text
    assert f"data error ± {comparison.rungs[0].average.data_error:.2g} nats" in text
    assert f"ELBO\n−{-values[0]:.2f}" in text
    bars = axes.containers[0].lines[2][0].get_segments()[0]
    assert bars[1, 1] - bars[0, 1] == pytest.approx(2 * comparison.rungs[0].average.monte_carlo_error)


def test_a_last_rung_that_has_not_converged_is_hollow_and_says_so(pair):
    model, guide = pair
    comparison = bv.compare(model, guide, model.sample(4, seed=1), (1, 5, 20))
    figure = ladder_figure(comparison)
    faces = [to_hex(bar.lines[0].get_markerfacecolor()) for bar in figure.axes[0].containers]
    assert faces == [COLOURS["elbo"].lower(), COLOURS["evidence"], "#ffffff"]
    assert "lower bound,\nnot converged" in words(figure)
    assert "too few particles for a k̂" in words(figure)


def test_the_exact_evidence_is_a_line(linear):
    guide = ExactLinearGaussianGuide(linear)
    figure = ladder_figure(bv.compare(linear, guide, linear.sample(6, seed=1), (1, 5, 50)))
    text = words(figure)
    assert "exact −" in text
    assert "lower bound" not in text
    assert figure.axes[0].lines[-1].get_linestyle() == "--"


def test_what_is_no_image_is_drawn_by_column():
    """A row of a table as dots with the decoder's mean as a line; no strip of gray."""
    x = torch.arange(10.0).reshape(2, 5)
    figure = reconstruction_figure(x, x + 0.5, data_policy="none")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 2
    assert not any(axes.images for axes in figure.axes)
    for axes, row in zip(panels, x, strict=True):
        mean, values = axes.lines
        assert list(values.get_ydata()) == row.tolist()
        assert list(mean.get_ydata()) == (row + 0.5).tolist()
        assert values.get_marker() == "o"
    (drawn,) = prior_sample_figure(x, data_policy="none").axes
    assert not drawn.images
    assert len(drawn.lines) == 2
