"""The figure of several models: rows, their order, and what stands at each difference."""

from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from bayes_vae.estimators.contenders import Contender, design_of
from bayes_vae.estimators.model_comparison import compare_contenders
from bayes_vae.estimators.rate_distortion_curve import RateDistortion
from bayes_vae.plots import comparison_figure, draw_differences, draw_log_evidences, save_figure
from bayes_vae.terms import Provenance
from bayes_vae.vocabulary.readings import Reading


@pytest.fixture
def comparison():
    """Return a best design of two seeds, a worse model, one like the best, and one that has not converged."""
    x = torch.linspace(-1, 1, 40).double()
    noise, error = 0.1 * torch.cos(37 * x), torch.full((40,), 0.01).double()
    unsettled = Reading("lower_bound_not_converged", 3, 40)
    best = design_of("best", [Contender(f"best{s}", x + 0.001 * s, error, elbo=x - 1) for s in (0, 1)])
    others = [
        Contender("worse", x - 2 + noise, error, elbo=x - 4),
        Contender("alike", x - 0.001 + noise, error),
        Contender("open", x - 1 + noise, error * torch.nan, unsettled),
    ]
    return compare_contenders([*others, best])


def texts(figure):
    save_figure(figure)
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_the_best_is_at_the_top_and_each_difference_says_what_it_is_worth(comparison):
    figure = comparison_figure(comparison)
    told = texts(figure)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["best", "alike", "open", "worse"]
    assert left.get_ylim()[0] > left.get_ylim()[1]
    for words in ("−2.00", "−0.00 · cannot be told apart", "−1.00 · lower bound, not converged", "seeds"):
        assert words in told
    assert right.get_xlabel().startswith("log p(x) minus that of best")
    assert any(text.startswith("N = 40 · ") for text in told)  # no K, where nothing was drawn


@pytest.mark.parametrize("draw", [draw_differences, draw_log_evidences])
def test_each_part_alone_names_its_rows(comparison, draw):
    axes = draw(Figure().add_subplot(), comparison)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "alike", "open", "worse"]
    assert axes.get_ylim() == (3.5, -0.5)


def test_the_rate_distortion_curves_stand_below(comparison):
    weights = torch.zeros(3, 4, 5, dtype=torch.float64)
    likelihood = torch.linspace(-9, -3, 60, dtype=torch.float64).reshape(3, 4, 5)
    betas, none = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), torch.zeros(3, 5)
    origin = Provenance(3, "distributions", "vectorized", "per observation", "static")
    curve = RateDistortion(betas, weights, likelihood, weights, none.bool(), none, 20, origin)
    figure = comparison_figure(comparison, {"best": curve, "worse": curve})
    told = texts(figure)
    _, _, below = figure.axes
    assert below.get_xlabel() == "rate: KL to the prior, nats"
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["best", "worse"]
    assert any("below: what each decoder can do at each rate. K = 4 · N = 5" in text for text in told)
    assert len(comparison_figure(comparison).axes) == 2


def test_a_name_is_no_formula(comparison):
    names = ["$\\frac{$", "$x_1$", "a$", "b"]
    renamed = [replace(each, name=name) for each, name in zip(comparison.contenders, names, strict=True)]
    figure = comparison_figure(replace(comparison, contenders=tuple(renamed)))
    save_figure(figure)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [name.replace("$", "\\$") for name in names]
