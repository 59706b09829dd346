"""R̂ and effective sample sizes, by either ArviZ."""

import pytest
import torch

from bayes_vae.errors import ShapeError
from bayes_vae.posterior.chain_diagnostics import chain_sample_size, r_hat

pytestmark = pytest.mark.libraries


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_independent_draws_count_in_full(within):
    draws = normal(4, 1000, 3)
    assert (r_hat(draws) < 1.01).all()
    for of in ("bulk", "tail", "mean"):
        sizes = chain_sample_size(draws, of)
        assert sizes.shape == (3,)
        assert ((sizes > 3000) & (sizes < 5500)).all()


def test_correlated_draws_count_less():
    """An autoregression of coefficient ρ has N (1 − ρ) / (1 + ρ) effective draws for its mean."""
    noise, rho = normal(4, 5000, 2), 0.8
    rows = [noise[:, 0] / (1 - rho**2) ** 0.5]
    for t in range(1, 5000):
        rows.append(rho * rows[-1] + noise[:, t])
    sizes = chain_sample_size(torch.stack(rows, 1), "mean")
    torch.testing.assert_close(sizes, torch.full_like(sizes, 20_000 / 9), rtol=0.2, atol=0)


def test_each_number_has_its_own():
    """Chains first, draws second: the shifted chains are of the second quantity alone."""
    draws = normal(4, 200, 2, 3)
    draws[0, :, 1, 2] += 3
    found = r_hat(draws)
    assert found.shape == (2, 3)
    assert found[1, 2] > 1.2
    assert (found.flatten()[:-1] < 1.03).all()


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_of_a_chain_that_never_moved_nothing_is_known(bad):
    draws = normal(4, 100, 2)
    draws[1, :, 0] = bad
    for values in (r_hat(draws), chain_sample_size(draws, "bulk"), chain_sample_size(draws, "mean")):
        assert values.isnan().tolist() == [True, False]


def test_scalars_have_a_shape_too():
    assert r_hat(normal(2, 50)).shape == ()


@pytest.mark.parametrize("shape", [(1, 100), (4, 3), (100,)])
def test_too_few_chains_or_draws(shape):
    with pytest.raises(ShapeError, match="at least 2 chains of 4 draws, got"):
        r_hat(torch.zeros(shape))
