"""The mean over a data set and its two errors."""

import math

import pytest
import torch

from bayes_vae.terms.averages import average
from bayes_vae.vocabulary.readings import Reading


def test_errors_are_kept_apart():
    """1,000 observations with spread 2 and a known Monte-Carlo error of 0.5 each."""
    generator = torch.Generator().manual_seed(0)
    truth = 2 * torch.randn(1000, dtype=torch.float64, generator=generator)
    noisy = truth + 0.5 * torch.randn(1000, dtype=torch.float64, generator=generator)
    figure = average("elbo", noisy, torch.full((1000,), 0.5), 10)
    assert figure.monte_carlo_error == pytest.approx(0.5 / 1000**0.5)
    assert figure.data_error == pytest.approx(2 / 1000**0.5, rel=4 / (2 * 1000) ** 0.5)
    assert figure.total_error == pytest.approx(noisy.std().item() / 1000**0.5)


def test_repeated_means_scatter_as_stated(within):
    generator = torch.Generator().manual_seed(1)
    means = [average("x", torch.randn(50, generator=generator), torch.ones(50), 3).value for _ in range(2000)]
    spread = torch.tensor(means).std()
    within(spread, 1 / 50**0.5, (1 / 50**0.5) / (2 * 2000) ** 0.5)


def test_unknown_error_is_blank_and_leaves_all_to_the_data():
    figure = average("elbo", torch.tensor([1.0, 3.0]), torch.full((2,), math.nan), 1)
    assert math.isnan(figure.monte_carlo_error)
    assert figure.data_error == pytest.approx(1.0)
    assert "± – (Monte Carlo) ± 1 (data)" in str(figure)


def test_one_observation_has_no_data_error():
    figure = average(
        "elbo",
        torch.tensor([1.0]),
        torch.tensor([0.1]),
        5,
        Reading("lower_bound_not_converged", 1, 1, "discrete_latents"),
    )
    assert math.isnan(figure.data_error)
    assert (
        str(figure)
        == "1.000 ± 0.1 (Monte Carlo) ± – (data) [lower bound, not converged: k̂ is not defined for discrete latents]"
    )
