"""Two stochastic layers: the program, its draws, and a case whose evidence is known."""

import pyro
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import ShapeError
from bayes_vae.guides import TwoLayerNormalGuide
from bayes_vae.models import TwoLayerVAE

SIZES = {"latent_dim": 3, "top_latent_dim": 2, "data_shape": (2, 3), "hidden_dims": (5,), "top_hidden_dims": (4,)}


@pytest.fixture
def pair(isolated_globals):
    with isolated_globals(seed=0):
        return TwoLayerVAE(**SIZES).double(), TwoLayerNormalGuide(**SIZES).double()


@pytest.fixture
def linear_pair(isolated_globals):
    """Both layers linear with fixed scales, so that x is normal; a guide that is wider than the posterior."""
    linear = {"latent_dim": 2, "top_latent_dim": 1, "data_shape": (3,), "hidden_dims": (), "top_hidden_dims": ()}
    with isolated_globals(seed=4):
        model = TwoLayerVAE(**linear, likelihood={"name": "normal", "scale": 0.8}).double()
        guide = TwoLayerNormalGuide(**linear).double()
        with torch.no_grad():
            for layer in (model.decoder[0], model.top_decoder[0]):
                layer.bias.copy_(torch.randn_like(layer.bias) / 3)
            model.top_decoder[0].weight[2:] = 0.0
            guide.encoder[0].weight.mul_(0.3)
            guide.top_encoder[0].weight[:1].mul_(0.3)
            guide.top_encoder[0].weight[1:] = 0.0
            guide.encoder[0].weight[2:] = 0.0
            guide.encoder[0].bias[2:] = 1.5
            guide.top_encoder[0].bias[1:] = 0.5
        return model, guide, model.sample(5, seed=1)


def exact_log_evidence(model, x):
    r"""x is normal: mean W1 c + b, covariance W1 (W2 W2ᵀ + diag s²) W1ᵀ + σ²I."""
    first, top = model.decoder[0], model.top_decoder[0]
    size = model.latent_dim
    scale = torch.nn.functional.softplus(top.bias[size:] + torch.tensor(1.0).expm1().log()) + 1e-5
    covariance = top.weight[:size] @ top.weight[:size].T + scale.square().diag()
    covariance = first.weight @ covariance @ first.weight.T + 0.8**2 * torch.eye(len(first.weight))
    mean = first.weight @ top.bias[:size] + first.bias
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).detach()


def test_program_is_prior_times_layer_times_likelihood(pair, clean_globals):
    model, _ = pair
    x = model.sample(4, seed=0)
    trace = pyro.poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    z1, z2 = (trace.nodes[name]["value"] for name in ("z1", "z2"))
    assert (z1.shape, z2.shape) == ((4, 3), (4, 2))
    torch.testing.assert_close(trace.nodes["z2"]["log_prob"], model.prior().log_prob(z2))
    torch.testing.assert_close(trace.nodes["z1"]["log_prob"], model.layer_prior(z2).log_prob(z1))
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], model.likelihood(z1).log_prob(x))


def test_particles_are_an_outer_plate(pair):
    model, guide = pair
    x = model.sample(4, seed=0)
    terms = bv.log_terms(model, guide, x, 6, seed=1, keep_latents=True)
    assert terms.provenance.particles == "plate"
    assert terms.provenance.randomness == "per observation"
    z1, z2 = (terms.latents[name].double() for name in ("z1", "z2"))
    assert (z1.shape, z2.shape) == ((6, 4, 3), (6, 4, 2))
    guide_terms = guide.first_layer(x).log_prob(z1) + guide.top_layer(z1).log_prob(z2)
    torch.testing.assert_close(terms.log_guide, guide_terms.detach())
    torch.testing.assert_close(
        terms.log_prior, (model.prior().log_prob(z2) + model.layer_prior(z2).log_prob(z1)).detach()
    )


def test_importance_weights_know_the_evidence(linear_pair, within):
    model, guide, x = linear_pair
    estimate = bv.estimate_log_evidence(model, guide, x, 2000, seed=0)
    assert bool(estimate.converged.all())
    within(estimate.log_evidence, exact_log_evidence(model, x), estimate.standard_error)


def test_annealing_knows_the_evidence(linear_pair, within):
    model, guide, x = linear_pair
    estimate = bv.annealed_log_evidence(model, guide, x, num_temperatures=20, num_chains=64, seed=0)
    within(estimate.log_evidence, exact_log_evidence(model, x), estimate.standard_error)


def test_draws_come_from_the_top_down(linear_pair, within):
    """The mean and the variance of many draws are those of the normal that x is."""
    model, _, _ = linear_pair
    x = model.sample(20_000, seed=3).detach()
    first, top = model.decoder[0], model.top_decoder[0]
    mean = first.weight @ top.bias[:2] + first.bias
    within(x.mean(0), mean, x.std(0) / len(x) ** 0.5)
    log_density = exact_log_evidence(model, x)
    entropy = -exact_log_evidence(model, mean.unsqueeze(0)) + 0.5 * x.shape[1]
    within(-log_density.mean(), entropy, log_density.std() / len(x) ** 0.5)


def test_sample_is_repeatable_and_leaves_the_random_state(pair):
    model, _ = pair
    torch.testing.assert_close(model.sample(3, seed=7), model.sample(3, seed=7))
    assert not torch.equal(model.sample(3, seed=7), model.sample(3, seed=8))
    assert bool(((model.sample(3, seed=7, mean=True) % 1) > 0).all())


def test_reconstruct_goes_through_z1(pair, clean_globals):
    """The mean that is shown is that of p(x given z1) for the z1 that the guide drew, whatever z2 is."""
    model, guide = pair
    x = model.sample(4, seed=0)
    found = model.reconstruct(x, guide, seed=5)
    with pyro.poutine.trace() as tracer:
        torch.manual_seed(5)
        guide(x)
    z1 = tracer.trace.nodes["z1"]["value"]
    torch.testing.assert_close(found, model.likelihood(z1).mean.detach())
    torch.testing.assert_close(found, model.reconstruct(x, guide, seed=5))
    assert set(model.reconstruct(x, guide, mean=False).unique().tolist()) <= {0.0, 1.0}


def test_forward_without_observations_samples(pair, clean_globals):
    assert pair[0]().shape == (1, 2, 3)


def test_wrong_shape_is_refused(pair):
    with pytest.raises(ShapeError, match=r"TwoLayerVAE takes observations of shape \(N, 2, 3\), got \(4, 6\)"):
        pair[0](torch.zeros(4, 6))


def test_the_decoder_starts_at_the_data(pair):
    model, _ = pair
    mean = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).reshape(2, 3)
    model.set_output_bias(mean)
    with torch.no_grad():
        model.decoder[-1].weight.zero_()
    torch.testing.assert_close(model.likelihood(torch.zeros(3, dtype=torch.float64)).mean, mean)


def test_settings_rebuild_the_model(pair, isolated_globals):
    model, _ = pair
    with isolated_globals(seed=1):
        twin = TwoLayerVAE(**model.settings).double()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin.sample(3, seed=0, mean=True), model.sample(3, seed=0, mean=True))
