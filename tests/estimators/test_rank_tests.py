"""The three tests of uniform ranks: their false alarms, their numbers by hand, and what shapes are called."""

import math

import pytest
import torch

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.rank_tests import (
    TESTS,
    bin_counts,
    binomial_interval,
    choose_num_bins,
    holm,
    rank_p_values,
    read_shape,
)


def uniform_ranks(count, dims, num_draws, seed=0):
    return torch.randint(0, num_draws + 1, (count, dims), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("count", "num_draws", "num_bins"), [(1000, 199, 20), (200, 99, 10), (400, 3, 4)])
def test_false_alarms_are_as_many_as_the_level_says(within, count, num_draws, num_bins):
    """p values of 4,000 dimensions with uniform ranks are uniform, for each of the three tests."""
    p_values = rank_p_values(uniform_ranks(count, 4000, num_draws), num_draws, num_bins)
    assert p_values.shape == (len(TESTS), 4000)
    for level in (0.01, 0.05, 0.5, 0.9):
        share = (p_values <= level).double().mean(1)
        # the discreteness of counts moves a tail probability by up to a tenth
        error = math.hypot((level * (1 - level) / 4000) ** 0.5, 0.02 * level)
        within(share, level, error)


def test_numbers_are_those_by_hand():
    """Eight observations, ranks 0…3, two bins."""
    ranks = torch.tensor([[0], [0], [0], [0], [0], [1], [2], [3]])
    assert bin_counts(ranks, 3, 2).tolist() == [[6, 2]]
    chi_square = (6 - 4) ** 2 / 4 + (2 - 4) ** 2 / 4
    u = torch.tensor([0.125] * 5 + [0.375, 0.625, 0.875], dtype=torch.float64)
    first = (2 * 0.375**2 + 2 * 0.125**2) / 4
    second = (2 * 0.375**4 + 2 * 0.125**4) / 4 - first**2
    own = float(((u - 0.5) ** 2).mean() - (u.mean() - 0.5) ** 2)
    shift = float(u.mean() - 0.5) / math.sqrt(max(own, first) / 8)
    spread = (float(((u - 0.5) ** 2).mean()) - first) / math.sqrt(second / 8)
    expected = [math.erfc(math.sqrt(chi_square / 2))]  # one degree of freedom
    expected += [math.erfc(abs(z) / math.sqrt(2)) for z in (shift, spread)]
    torch.testing.assert_close(rank_p_values(ranks, 3, 2)[:, 0].tolist(), expected)


def test_counts_go_by_dimension():
    ranks = torch.tensor([[0, 9], [1, 8], [9, 7]])
    assert bin_counts(ranks, 9, 5).tolist() == [[2, 0, 0, 0, 1], [0, 0, 0, 1, 2]]


def test_holm_keeps_order_and_shape():
    p_values = torch.tensor([[0.04, 0.001], [0.03, 0.5]])
    torch.testing.assert_close(holm(p_values), torch.tensor([[0.09, 0.004], [0.09, 0.5]]))
    assert holm(torch.full((3, 2), 0.9)).max() == 1


def test_holm_rejects_a_true_family_as_rarely_as_it_says(within):
    """Of 2,000 families of six tests at 5 %, no more than 5 % hold a rejection."""
    p_values = torch.rand(2000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flagged = torch.tensor([bool((holm(row) <= 0.05).any()) for row in p_values]).double()
    within(flagged.mean(), 1 - (1 - 0.05 / 6) ** 6, flagged.std() / 2000**0.5)


def normal_ranks(loc, scale, count=4000):
    """Ranks, as parts of one, of a true z that is normal in units of q."""
    z = loc + scale * torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.special.ndtr(z).clamp(0.0025, 0.9975)


@pytest.mark.parametrize(
    ("loc", "scale", "rejected", "words"),
    [
        (0.0, 1.0, (False, False, False), "uniform"),
        (0.0, 2.0, (True, False, True), "too narrow"),
        (0.0, 0.5, (True, False, True), "too wide"),
        (0.5, 1.0, (True, True, True), "too low"),
        (-0.5, 1.0, (True, True, True), "too high"),
        (-0.8, 1.5, (True, True, True), "too narrow and too high"),
        (0.8, 0.5, (True, True, True), "too wide and too low"),
        (3.0, 1.0, (True, True, True), "too low"),
        (0.0, 1.0, (True, False, False), "of another shape"),
    ],
)
def test_shapes_have_names(loc, scale, rejected, words):
    shape = read_shape(normal_ranks(loc, scale), torch.tensor(rejected))
    assert (bool(shape), str(shape)) == (any(rejected), words)


def test_bins_divide_the_ranks_and_expect_ten():
    assert choose_num_bins(200, 1000) == 20
    assert choose_num_bins(100, 55) == 5
    assert choose_num_bins(17, 1000) == 17
    for ranks, count in ((101, 1000), (200, 19)):
        with pytest.raises(SettingsError, match=f"{ranks} ranks of {count} observations cannot be put into equal bins"):
            choose_num_bins(ranks, count)


@pytest.mark.parametrize(("count", "probability", "level"), [(1000, 0.05, 0.99), (30, 0.5, 0.9), (10, 0.01, 0.99)])
def test_binomial_interval_holds_what_it_says(count, probability, level):
    low, high = binomial_interval(count, probability, level)
    mass = [math.comb(count, k) * probability**k * (1 - probability) ** (count - k) for k in range(count + 1)]
    assert sum(mass[low : high + 1]) >= level - 1e-12
    assert sum(mass[:low]) < (1 - level) / 2
    assert sum(mass[high + 1 :]) <= (1 - level) / 2
    assert sum(mass[: low + 1]) >= (1 - level) / 2
    assert sum(mass[high:]) > (1 - level) / 2
