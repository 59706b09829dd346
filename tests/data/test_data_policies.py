"""How pixels become zeros and ones: the probability of a one, and what the noise may depend on."""

import pytest
import torch

from bayes_vae.data import POLICIES, Split, load_data
from bayes_vae.data.policies import binarize_anew, binarize_by_index, binarize_once, threshold
from bayes_vae.errors import DataError

COPIES = 4000
LEVELS = torch.tensor([0, 1, 64, 127, 128, 200, 254, 255], dtype=torch.uint8)


def split_of(policy, values, start=0):
    index = torch.arange(start, start + len(values))
    return Split(values, None, index, policy)


@pytest.fixture
def gray():
    generator = torch.Generator().manual_seed(0)
    return torch.empty(50, 6, 6, dtype=torch.uint8).random_(0, 256, generator=generator)


def check_probability(within, binary):
    """Compare the frequency of ones with v / 255, pixel by pixel; 0 and 255 leave nothing to chance."""
    probability = LEVELS.double() / 255
    error = (probability * (1 - probability) / len(binary)).sqrt()
    within(binary.double().mean(0), probability, error)


def test_the_probability_of_a_one_in_training_is_v_over_255(within):
    generator = torch.Generator().manual_seed(1)
    check_probability(within, binarize_anew(LEVELS.expand(COPIES, -1), generator))


def test_the_probability_of_a_one_in_evaluation_is_v_over_255(within):
    check_probability(within, binarize_by_index(LEVELS.expand(COPIES, -1), torch.arange(COPIES), seed=2))


def test_the_probability_of_a_one_in_the_static_data_is_v_over_255(within):
    check_probability(within, binarize_once(LEVELS.expand(COPIES, -1), torch.arange(COPIES)))


def test_threshold_is_strictly_above_one_half():
    assert threshold(torch.tensor([0, 127, 128, 255], dtype=torch.uint8)).tolist() == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("policy", ["stochastic", "static"])
@pytest.mark.parametrize("batch", [1, 7, 16, 50])
def test_evaluation_does_not_depend_on_the_batch(gray, policy, batch):
    split = split_of(policy, gray)
    batches = [split.observations(rows, seed=3) for rows in torch.arange(50).split(batch)]
    assert torch.equal(torch.cat(batches), split.observations(seed=3))


@pytest.mark.parametrize("policy", POLICIES)
def test_evaluation_does_not_depend_on_the_order(gray, policy):
    split = split_of(policy, gray)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(4))
    assert torch.equal(split.observations(order, seed=3), split.observations(seed=3)[order])


def test_evaluation_noise_is_keyed_by_the_observation_not_the_row(gray):
    later = split_of("stochastic", gray[20:], start=20)
    assert torch.equal(later.observations(seed=3), split_of("stochastic", gray).observations(seed=3)[20:])


def test_evaluation_noise_depends_on_seed_and_observation():
    split = split_of("stochastic", torch.full((2, 100), 128, dtype=torch.uint8))
    x = split.observations(seed=3)
    assert not torch.equal(x, split.observations(seed=4))
    assert not torch.equal(x[0], x[1])


def test_static_is_the_same_whatever_the_seed_and_in_training(gray):
    split = split_of("static", gray)
    x = split.observations(seed=0)
    assert torch.equal(x, split.observations(seed=1))
    assert torch.equal(x, split.training_batch(torch.arange(50), torch.Generator().manual_seed(0)))
    assert not torch.equal(x, split_of("stochastic", gray).observations(seed=0))


def test_static_is_the_same_as_ever():
    x = load_data("digits", policy="static").test.observations([0])[0]
    assert ["".join("#" if pixel else "." for pixel in row) for row in x] == [
        "...#....",
        "..####..",
        ".....#..",
        "...##...",
        "........",
        "..#..##.",
        "..#...#.",
        "...###..",
    ]


def test_training_is_binarized_anew_and_repeats_with_the_generator(gray):
    split, rows = split_of("stochastic", gray), torch.arange(50)
    generator = torch.Generator().manual_seed(5)
    first, second = split.training_batch(rows, generator), split.training_batch(rows, generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, split.training_batch(rows, torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("policy", POLICIES)
def test_both_ways_give_float32_in_the_range_of_the_policy(gray, policy):
    split = split_of(policy, gray)
    for x in (split.observations(), split.training_batch(torch.arange(50), torch.Generator())):
        assert x.dtype == torch.float32
        assert x.shape == gray.shape
        assert torch.equal(x, gray / 255) if policy == "none" else ((x == 0) | (x == 1)).all()


def test_the_training_batch_takes_the_rows_that_it_is_asked_for():
    split = split_of("stochastic", torch.eye(5, dtype=torch.uint8) * 255)
    rows = torch.tensor([3, 0, 3])
    assert torch.equal(split.training_batch(rows, torch.Generator()), torch.eye(5)[rows])


@pytest.mark.parametrize("policy", ["static", "threshold"])
def test_zeros_and_ones_of_the_fixed_policies_are_made_once(gray, policy, monkeypatch):
    split = split_of(policy, gray)
    first = split.training_batch(torch.arange(10), torch.Generator())
    monkeypatch.setattr("bayes_vae.data.split.binarize_once", None)
    monkeypatch.setattr("bayes_vae.data.split.threshold", None)
    assert torch.equal(split.training_batch(torch.arange(10), torch.Generator()), first)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_mean_is_the_mean_of_the_observations(within, gray, policy):
    split = split_of(policy, gray.repeat(40, 1, 1))
    x = split.training_batch(torch.arange(2000), torch.Generator().manual_seed(6))
    chance = (gray / 255 * (1 - gray / 255)).mean(0) if policy == "stochastic" else torch.tensor(1e-12)
    within(x.double().mean(0), split.mean(), (chance / 2000).sqrt() + 1e-7)
    assert split.mean().shape == split.data_shape
    assert split.mean().dtype == torch.float32


def test_the_mean_of_real_values():
    split = split_of("none", torch.tensor([[-1.0, 2.0], [-3.0, 4.0]]))
    assert split.mean().tolist() == [-2.0, 3.0]


@pytest.mark.parametrize("rows", [slice(2, 5), [2, 3, 4], torch.tensor([2, 3, 4]), range(2, 5)])
def test_rows_can_be_given_in_any_way(gray, rows):
    split = split_of("stochastic", gray)
    assert torch.equal(split.observations(rows), split.observations()[2:5])


def test_to_moves_the_values(gray):
    moved = split_of("stochastic", gray).to("meta")
    assert moved.values.device.type == "meta"
    assert (moved.policy, len(moved)) == ("stochastic", 50)


def test_an_unknown_policy_is_refused():
    with pytest.raises(DataError, match="unknown data policy 'dynamic': choose one of stochastic, static"):
        load_data("digits", policy="dynamic")
