"""Draws of one observation's posterior by Pyro's NUTS, and draws from the closed form."""

import logging

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, ScaledSiteWarning, SettingsError, ShapeError
from bayes_vae.guides import ExactLinearGaussianGuide

FEW = {"num_draws": 60, "num_warmup": 40, "num_chains": 2}


def test_nuts_on_a_conjugate_program(programs, counts, conjugate_posterior, within, capfd):
    """Two sites, one constrained, in a plate at dim −2; quiet, and Pyro's logger is as it was."""
    logger = logging.getLogger("pyro.infer.mcmc")
    before, seen = (list(logger.handlers), logger.propagate), []
    x = counts[2:]
    draws = bv.nuts_draws(programs["counts and levels"], x, progress=lambda *told: seen.append(told), **FEW)
    assert draws.latents["rate"].shape == (2, 60, 1, 1)
    assert draws.latents["shift"].shape == (2, 60, 1, 1, 2)
    for name, exact in conjugate_posterior(x).items():
        within(draws.mean[name], exact.mean, draws.mean_error[name])
        within(draws.sd[name], exact.variance.sqrt(), draws.sd_error[name])
    assert 0.5 < draws.acceptance.item() <= 1
    assert draws.step_size.item() > 0
    assert draws.sampler == "NUTS"
    assert str(draws.reading) == "chains not converged for 1 of 1"
    assert seen[-1] == (200, 200)
    assert capfd.readouterr() == ("", "")
    assert (logger.handlers, logger.propagate) == before


@pytest.mark.statistical
def test_both_samplers_and_the_closed_form_agree(linear_gaussian, within):
    model, x = linear_gaussian
    exact = model.exact_posterior(x[3:4])
    runs = [
        bv.nuts_draws(model, x[3:4], num_draws=500, num_warmup=200),
        bv.posterior_draws(model, None, x[3:4], start="prior", index=torch.tensor([3])),
        bv.exact_posterior_draws(model, x[3:4]),
    ]
    for draws in runs:
        within(draws.mean["z"], exact.mean, draws.mean_error["z"])
        within(draws.sd["z"], exact.variance.sqrt(), draws.sd_error["z"])
        assert draws.failures == ()
    mean_log_joint = [draws.log_joint.mean() for draws in runs]
    errors = [draws.log_joint.std() / 400**0.5 for draws in runs]
    within(mean_log_joint[0], mean_log_joint[1], torch.hypot(errors[0], errors[1]))
    within(mean_log_joint[0], mean_log_joint[2], torch.hypot(errors[0], errors[2]))


def test_nuts_log_joint_and_repeatability(linear_gaussian):
    model, x = linear_gaussian
    few = {"num_draws": 5, "num_warmup": 5, "num_chains": 2}
    draws, again, other = (bv.nuts_draws(model, x[:1], seed=seed, **few) for seed in (0, 0, 1))
    z = draws.latents["z"]
    log_joint = model.prior().log_prob(z) + model.likelihood(z).log_prob(x[:1])
    torch.testing.assert_close(draws.log_joint, log_joint.detach())
    assert torch.equal(z, again.latents["z"])
    assert (z != other.latents["z"]).all()
    assert (z[0] != z[1]).all()


def test_a_scaled_latent_has_weight_one(within):
    """KL annealing left in a program: its posterior is that of weight 1, with the usual warning."""

    def model(x):
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=1e-3):
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
            pyro.sample("x", dist.Normal(z, 2.0), obs=x)

    x = torch.tensor([5.0], dtype=torch.float64)
    with pytest.warns(ScaledSiteWarning, match="'z'"):
        draws = bv.nuts_draws(model, x, **FEW)
    within(draws.mean["z"], 1.0, draws.mean_error["z"])


def test_a_plate_within_the_observation():
    """The plate over observations is not the first dim: three numbers of one observation stay in its rest."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("parts", 3, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(3, len(x)).double(), 1.0))
            pyro.sample("x", dist.Normal(z, 0.1), obs=x.T)

    x = torch.tensor([[-1.0, 0.0, 2.0]], dtype=torch.float64)
    few = {"num_draws": 10, "num_warmup": 20, "num_chains": 2}
    draws = bv.nuts_draws(model, x, **few)
    assert draws.latents["z"].shape == (2, 10, 1, 3)
    many = bv.posterior_draws(model, None, x.repeat(2, 1), start="prior", num_draws=10, num_warmup=20)
    assert many.latents["z"].shape == (4, 10, 2, 3)
    for found in (draws.mean["z"], many.mean["z"]):
        torch.testing.assert_close(found, x.expand(len(found), 3), rtol=0, atol=0.3)


def test_nuts_takes_one_observation(linear_gaussian, programs):
    model, x = linear_gaussian
    with pytest.raises(ShapeError, match=r"nuts_draws takes one observation, got 7: pass x\[n : n \+ 1\]"):
        bv.nuts_draws(model, x)
    with pytest.raises(NotDefinedError, match="latent site 'z' is discrete"):
        bv.nuts_draws(programs["discrete"], torch.zeros(1))
    with pytest.raises(SettingsError, match="num_chains must be a whole number of at least 2"):
        bv.nuts_draws(model, x[:1], num_chains=1)


def test_draws_from_the_closed_form(linear_gaussian, within):
    model, x = linear_gaussian
    draws = bv.exact_posterior_draws(model, x)
    exact = model.exact_posterior(x)
    within(draws.mean["z"], exact.mean, draws.mean_error["z"])
    within(draws.sd["z"], exact.variance.sqrt(), draws.sd_error["z"])
    guide = ExactLinearGaussianGuide(model)
    log_posterior = guide.variational_posterior(x).log_prob(draws.latents["z"])
    evidence = model.log_evidence(x).expand(4, 1000, 7)
    torch.testing.assert_close((draws.log_joint - log_posterior).detach(), evidence.detach())
    assert draws.failures == ()
    assert draws.sampler == "closed form"


def test_a_model_without_a_closed_form(small_vae):
    model, _, x = small_vae
    with pytest.raises(NotDefinedError, match=r"VAE knows no exact_posterior\(x\)"):
        bv.exact_posterior_draws(model, x)
