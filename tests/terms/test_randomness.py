"""Keyed noise."""

import pytest
import torch

from bayes_vae.terms.randomness import PARTICLE_BLOCK, KeyedNoise, derived_seed, isolated_rng

LIKE = torch.zeros((), dtype=torch.float64)
INDEX = torch.tensor([5, 0, 1234567])


def noise(seed=0, site="z", index=INDEX, particles=range(200), shape=(3,)):
    return KeyedNoise(seed).normal(site, index, particles, shape, LIKE)


def test_shape_is_particles_observations_event():
    assert noise(shape=(2, 4)).shape == (200, 3, 2, 4)
    assert noise(shape=()).shape == (200, 3)


@pytest.mark.parametrize("start", [0, 1, PARTICLE_BLOCK - 1, PARTICLE_BLOCK, PARTICLE_BLOCK + 1, 150])
def test_any_range_is_a_part_of_the_whole(start):
    torch.testing.assert_close(noise(particles=range(start, 200)), noise()[start:])


def test_observation_index_is_the_key():
    alone = noise(index=torch.tensor([1234567]))
    torch.testing.assert_close(alone[:, 0], noise()[:, 2])


@pytest.mark.parametrize("other", [{"seed": 1}, {"site": "z2"}, {"index": INDEX + 1}])
def test_other_keys_give_other_noise(other):
    assert (noise(**other) - noise()).abs().min() > 0


def test_blocks_and_dimensions_do_not_repeat():
    values = noise(particles=range(4 * PARTICLE_BLOCK)).flatten()
    assert len(values.unique()) == len(values)


def test_noise_is_standard_normal(within):
    values = noise(particles=range(20_000)).flatten()
    count = len(values)
    within(values.mean(), 0, 1 / count**0.5)
    within(values.square().mean(), 1, (2 / count) ** 0.5)
    within(values.pow(4).mean(), 3, (96 / count) ** 0.5)
    pairs = noise(particles=range(20_000))
    within((pairs[:, 0] * pairs[:, 1]).mean(), 0, 1 / (3 * 20_000) ** 0.5)


def test_float32_noise_is_the_rounded_float64_noise():
    single = KeyedNoise(0).normal("z", INDEX, range(200), (3,), LIKE.float())
    torch.testing.assert_close(single, noise().float(), rtol=0, atol=0)


def test_uniform_bytes_make_exact_pixel_probabilities(within):
    values = KeyedNoise(0).uniform_bytes("pixels", torch.arange(200), 500)
    assert values.min() == 0
    assert values.max() == 254
    for pixel in (0, 1, 128, 254, 255):
        share = (values < pixel).double().mean()
        p = pixel / 255
        within(share, p, (p * (1 - p) / values.numel()) ** 0.5)


def test_isolated_rng_restores_the_callers_state():
    before = torch.get_rng_state()
    with isolated_rng(3):
        first = torch.randn(2)
    with isolated_rng(3):
        assert torch.equal(torch.randn(2), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_keys_are_fixed_forever():
    """Stored figures could not be repeated if these changed."""
    assert derived_seed(0, "z", 1) == 7799683278314106618
    drawn = KeyedNoise(0).normal("z", torch.tensor([3]), range(2), (2,), LIKE).flatten()
    expected = torch.tensor([0.2034, -0.6234, 0.8698, -0.6625], dtype=torch.float64)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=5e-5)
