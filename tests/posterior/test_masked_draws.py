"""Draws of the exact posterior where latents are masked: what an observation has not stays where it is."""

import pytest
import torch

import bayes_vae as bv

NOISE = 0.5


def check(draws, x, mask, within):
    """Mean and deviation of what is not masked against the conjugate posterior; the rest constant."""
    z, free = draws.latents["z"], mask
    scale = NOISE / (1 + NOISE**2) ** 0.5
    within(draws.mean["z"][free], (x / (1 + NOISE**2))[free], draws.mean_error["z"][free])
    within(draws.sd["z"][free], torch.full_like(x, scale)[free], draws.sd_error["z"][free])
    assert torch.equal(draws.masked["z"], ~mask)
    assert (z == z[:1, :1]).all(0).all(0)[~mask].all()
    assert not (z == z[:1, :1]).all(0).all(0)[mask].any()


def test_hamiltonian_draws(masked_pair, within):
    pair = masked_pair("event_dims", 3)
    draws = bv.posterior_draws(pair.model, pair.guide, pair.x, num_draws=400, num_warmup=150)
    check(draws, *pair.x, within)
    assert draws.r_hat["z"][~pair.x[1]].isnan().all()
    assert draws.converged.all()
    assert draws.failures == ()


def test_draws_do_not_depend_on_the_other_rows(masked_pair):
    """A row that is alone in its batch has the draws that it has beside rows with other masks."""
    pair = masked_pair("event_dims", 4)
    together = bv.posterior_draws(pair.model, pair.guide, pair.x, num_draws=10, num_warmup=20)
    alone = bv.posterior_draws(pair.model, pair.guide, pair.x, num_draws=10, num_warmup=20, batch_size=1)
    torch.testing.assert_close(alone.latents["z"], together.latents["z"], rtol=1e-9, atol=1e-9)
    assert torch.equal(alone.masked["z"], together.masked["z"])


@pytest.mark.parametrize("style", ["event_dims", "two_sites"])
def test_nuts(style, masked_pair, within):
    pair = masked_pair(style, 1)
    draws = bv.nuts_draws(pair.model, pair.x, num_draws=150, num_warmup=100, num_chains=2)
    x, mask = pair.x
    if style == "event_dims":
        check(draws, x, mask, within)
    else:
        assert draws.masked["z2"].all()
        assert draws.sd["z2"].max() < 1e-9
        within(draws.mean["z1"], x[:, 0] / (1 + NOISE**2), draws.mean_error["z1"])
