"""The bound on the KL between codes and prior, where the KL is known."""

import math

import pytest
import torch

from bayes_vae.diagnosis.measure.codes_and_prior import bound_of_scores, density_ratio_bound


def bound_between(shift, scale, seed, size=2, count=4000):
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randn(count, size, generator=generator) for _ in range(4)]
    return density_ratio_bound(draws[0] * scale + shift, draws[1], draws[2] * scale + shift, draws[3])


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 0.5)])
def test_the_bound_is_next_to_the_kl_of_two_normals(isolated_globals, within, shift, scale):
    kl = 2 * (0.5 * (scale**2 + shift**2 - 1) - torch.log(torch.tensor(scale)).item())
    with isolated_globals(seed=0):
        found = bound_between(shift, scale, seed=0)
    assert found.value > 0.8 * kl
    within(min(found.value, kl), found.value, found.error)


def test_what_is_added_to_all_scores_changes_nothing():
    scores = torch.arange(8.0, dtype=torch.float64)
    alone, shifted = bound_of_scores(scores, -scores), bound_of_scores(scores + 5, 5 - scores)
    assert shifted.value == pytest.approx(alone.value)
    assert shifted.error == pytest.approx(alone.error)
    assert alone.value == pytest.approx(3.5 - torch.logsumexp(-scores, 0).item() + math.log(8))


def test_equal_distributions_have_no_bound_above_zero(isolated_globals, within):
    with isolated_globals(seed=0):
        found = bound_between(0.0, 1.0, seed=1)
    within(max(found.value, 0.0), 0.0, found.error)
