"""The pure functions of log weights."""

import math

import pytest
import torch

from bayes_vae.errors import NumericalError, ShapeError
from bayes_vae.estimators import (
    effective_sample_size,
    grouped_bound,
    importance_weighted_bound,
)
from bayes_vae.estimators.importance.accumulator import WeightAccumulator


@pytest.fixture
def log_weights():
    return torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3


def test_bound_is_the_log_mean(log_weights):
    torch.testing.assert_close(importance_weighted_bound(log_weights), log_weights.exp().mean(0).log())


def test_bound_of_one_particle_is_its_weight(log_weights):
    torch.testing.assert_close(importance_weighted_bound(log_weights[:1]), log_weights[0])


def test_equal_weights_give_themselves_whatever_k():
    for num_particles in (1, 5, 1000):
        weights = torch.full((num_particles, 2), -90.0, dtype=torch.float64)
        torch.testing.assert_close(importance_weighted_bound(weights), weights[0], rtol=0, atol=1e-11)
        torch.testing.assert_close(
            effective_sample_size(weights), torch.full((2,), float(num_particles), dtype=torch.float64)
        )


def test_groups_are_consecutive_and_rise(log_weights):
    pairs = grouped_bound(log_weights, 2)
    assert pairs.shape == (6, 4)
    torch.testing.assert_close(pairs[1], importance_weighted_bound(log_weights[2:4]))
    means = torch.stack([grouped_bound(log_weights, size).mean(0) for size in (1, 2, 6, 12)])
    assert (means.diff(dim=0) >= 0).all()


def test_groups_must_divide(log_weights):
    with pytest.raises(ShapeError, match="groups of 5 do not divide the 12 particles"):
        grouped_bound(log_weights, 5)


def test_effective_sample_size_of_one_large_weight():
    weights = torch.tensor([[0.0], [-800.0], [-800.0]], dtype=torch.float64)
    assert effective_sample_size(weights).item() == pytest.approx(1)


@pytest.mark.parametrize("chunk", [1, 5, 7, 12])
def test_accumulator_agrees_with_the_whole(log_weights, chunk):
    sums = WeightAccumulator(12)
    for part in log_weights.split(chunk):
        sums.update(part)
    torch.testing.assert_close(sums.bound(), importance_weighted_bound(log_weights))
    torch.testing.assert_close(sums.effective_sample_size(), effective_sample_size(log_weights))
    halves = grouped_bound(log_weights, 6).mean(0)
    torch.testing.assert_close(sums.doubling_step(), importance_weighted_bound(log_weights) - halves)


def test_doubling_step_of_an_odd_number_weighs_its_halves(log_weights):
    sums = WeightAccumulator(7)
    sums.update(log_weights[:7])
    bounds = [importance_weighted_bound(part) for part in (log_weights[:3], log_weights[3:7], log_weights[:7])]
    torch.testing.assert_close(sums.doubling_step(), bounds[2] - (3 * bounds[0] + 4 * bounds[1]) / 7)


def test_doubling_step_of_one_particle_is_unknown():
    sums = WeightAccumulator(1)
    sums.update(torch.zeros(1, 2, dtype=torch.float64))
    assert sums.doubling_step().isnan().all()


def test_memory_of_the_accumulator_is_bounded(monkeypatch):
    monkeypatch.setattr("bayes_vae.estimators.importance.accumulator.KEPT_FOR_PARETO_K", 100)
    sums = WeightAccumulator(1000)
    weights = torch.randn(1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for part in weights.split(64):
        sums.update(part)
    assert sum(len(part) for part in sums._kept) == 100
    assert math.isfinite(sums.pareto_k().item())
    torch.testing.assert_close(sums.bound(), importance_weighted_bound(weights))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (torch.zeros(3), ShapeError, r"shape \(K, N\), particles first, got \(3,\)"),
        (torch.zeros(0, 3), ShapeError, "particles first"),
        (torch.tensor([[0.0], [math.nan]]), NumericalError, "NaN or \\+infinity"),
        (torch.tensor([[0.0], [math.inf]]), NumericalError, "NaN or \\+infinity"),
        (torch.tensor([[0.0, -math.inf]]), NumericalError, "every weight of observation 1 is zero"),
    ],
)
def test_bad_weights_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        importance_weighted_bound(weights)


def test_accumulator_refuses_weights_that_are_all_zero():
    sums = WeightAccumulator(2)
    sums.update(torch.full((2, 1), -math.inf, dtype=torch.float64))
    with pytest.raises(NumericalError, match="every importance weight of an observation is zero"):
        sums.bound()
