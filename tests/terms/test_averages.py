"""The mean over a data set and its two errors."""

import math

import pytest
import torch

from bayes_vae.terms.averages import average, log_mean_bias
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


def test_the_bias_of_a_log_mean_weight_is_half_its_squared_error():
    """K weights of 1 + a or 1 − a, each with probability 1/2: log E w = 0, and E log mean w is a finite sum."""
    count, spreads = 64, (0.3, 0.6)
    biases = [
        -sum(math.comb(count, up) / 2**count * math.log1p(a * (2 * up / count - 1)) for up in range(count + 1))
        for a in spreads
    ]
    errors = torch.tensor(spreads) / count**0.5
    assert log_mean_bias(errors) == pytest.approx(sum(biases) / 2, rel=0.01)


def test_an_error_that_all_observations_share_does_not_average_out():
    values, errors = torch.tensor([1.0, 3.0, 2.0, 2.0]), torch.full((4,), 0.6)
    figure = average("log_evidence", values, errors, 10, bias=0.4)
    assert figure.monte_carlo_error == pytest.approx(0.5)
    assert figure.data_error == average("log_evidence", values, errors, 10).data_error
