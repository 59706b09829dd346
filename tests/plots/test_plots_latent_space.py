"""Pictures side by side, the latent dimensions, and the parts of the gap and of the KL."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import bayes_vae as bv
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.plots import (
    aggregate_figure,
    draw_aggregate_parts,
    draw_gap_parts,
    draw_kl_per_dimension,
    draw_latent_means,
    draw_manifold,
    draw_pictures,
    draw_traversals,
    gap_figure,
    kl_per_dimension_figure,
    manifold_figure,
    save_figure,
    traversal_figure,
)
from bayes_vae.plots.images import BETWEEN, mosaic


@pytest.fixture
def axes():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def pair(isolated_globals):
    with isolated_globals(seed=0):
        networks = {"latent_dim": 3, "data_shape": (3, 3), "hidden_dims": (5,)}
        return VAE(**networks), AmortizedNormalGuide(**networks)


def test_a_mosaic_puts_pictures_row_by_row_with_ink_black():
    pictures = np.zeros((3, 48, 48))
    pictures[1] = 1.0
    image = mosaic(pictures, 2)
    assert image.shape == (100, 100, 3)
    middles = [image[25, 25, 0], image[25, 75, 0], image[75, 25, 0], image[75, 75, 0]]
    assert middles == [255, 0, 255, 255]
    assert image[0, 0, 0] == round(255 * BETWEEN)
    assert image[99, 99, 0] == 255
    assert mosaic(np.zeros((1, 8, 8, 3)), 1).shape == (50, 50, 3)
    assert mosaic(np.zeros((1, 8, 8, 3)), 1)[25, 25].tolist() == [0, 0, 0]


def test_pictures_take_and_return_axes(axes):
    x = torch.arange(6.0)[:, None, None].expand(6, 4, 4) / 5
    assert draw_pictures(axes, x, 3) is axes
    image = axes.images[0].get_array()
    rows, columns = (int(size) // parts for size, parts in zip(image.shape[:2], (2, 3), strict=True))
    shades = [
        image[row * rows + rows // 2, column * columns + columns // 2, 0] for row in (0, 1) for column in range(3)
    ]
    assert shades == sorted(shades, reverse=True)
    assert (shades[0], shades[-1]) == (255, 0)


def test_traversals_run_to_the_right_and_are_named(axes):
    means = torch.zeros(2, 3, 4, 4)
    means[1, 2] = 1.0
    assert draw_traversals(axes, means, [0.1, 0.5, 0.9], ["$z_7$", "$z_2$"]) is axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["$z_7$", "$z_2$"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.5", "0.9"]
    image = axes.images[0].get_array()
    assert image[-image.shape[0] // 4, -image.shape[1] // 6, 0] == 0
    assert save_figure(traversal_figure(means, [0.1, 0.5, 0.9], ["a", "b"], data_policy="static"))


def test_the_manifold_has_its_second_dimension_upwards(axes):
    means = torch.zeros(3, 3, 4, 4)
    means[0, 2] = 1.0  # low in the first, high in the second: the upper left
    assert draw_manifold(axes, means, [0.1, 0.5, 0.9], ["$z_1$", "$z_2$"]) is axes
    image = axes.images[0].get_array()
    sixth = image.shape[0] // 6
    assert image[sixth, sixth, 0] == 0
    assert image[-sixth, -sixth, 0] == 255
    labels = {tick.get_text(): place for tick, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    assert labels == {"0.1": 2, "0.5": 1, "0.9": 0}
    assert axes.get_ylabel() == "$z_2$, quantile of the prior"
    assert save_figure(manifold_figure(means, [0.1, 0.5, 0.9], ["a", "b"], data_policy="static"))


def test_kl_by_dimension_falls_and_idle_ones_are_hollow(axes):
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.3, 4.0, 0.0]])
    assert draw_kl_per_dimension(axes, kl, torch.tensor([True, True, False])) is axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([3.0, 0.2, 0.0])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["$z_{1}$", "$z_{0}$", "$z_{2}$"]
    assert [to_hex(bar.get_facecolor()) == "#ffffff" for bar in axes.patches] == [False, False, True]


def test_the_parts_of_the_kl_add_up_to_the_first_bar(axes, pair):
    model, guide = pair
    terms = bv.aggregate_posterior_terms(model, guide, model.sample(12, seed=1), data_policy="static")
    assert draw_aggregate_parts(axes, terms) is axes
    whole, *parts = axes.patches
    assert len(parts) == 3
    assert whole.get_width() == pytest.approx(terms.averages()["kl_to_prior"].value)
    assert sum(part.get_width() for part in parts) == pytest.approx(whole.get_width())
    ends = [part.get_x() + part.get_width() for part in parts]
    assert [part.get_x() for part in parts] == pytest.approx([0.0, *ends[:-1]])
    assert save_figure(aggregate_figure(terms))
    assert save_figure(kl_per_dimension_figure(terms))


def test_the_parts_of_the_gap_add_up_to_the_first_bar(axes, pair):
    model, guide = pair
    gap = bv.inference_gap(model, guide, model.sample(2, seed=1), 50, num_temperatures=2, max_steps=50)
    assert draw_gap_parts(axes, gap) is axes
    whole, *parts = axes.patches
    assert whole.get_width() == pytest.approx(gap.averages()["inference_gap"].value)
    assert sum(part.get_width() for part in parts) == pytest.approx(whole.get_width())
    assert save_figure(gap_figure(gap))


def test_names_of_labels_stand_in_the_legend_and_are_no_formulas(axes):
    draw_latent_means(axes, torch.eye(4)[:, :2], torch.tensor([0, 1, 1, 7]), ["$a$", "b"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [r"\$a\$", "b", "7"]
    assert save_figure(axes.figure)
