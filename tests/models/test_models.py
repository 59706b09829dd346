"""The models: their programs, their draws, their settings."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from bayes_vae.errors import NotDefinedError, ShapeError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.models.model import SingleLatentModel

SIZES = {"latent_dim": 2, "data_shape": (2, 3)}


@pytest.fixture(params=[VAE, LinearGaussianVAE])
def model(request, isolated_globals):
    with isolated_globals(seed=0):
        return request.param(**SIZES)


def test_distributions_have_the_contracts_shapes(model):
    assert (model.prior().batch_shape, model.prior().event_shape) == ((), (2,))
    for batch in ((4,), (5, 4)):
        likelihood = model.likelihood(torch.zeros(*batch, 2))
        assert (likelihood.batch_shape, likelihood.event_shape) == (batch, (2, 3))


def test_program_is_prior_times_likelihood(model, clean_globals):
    x = model.sample(4, seed=0)
    trace = pyro.poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], model.prior().log_prob(z))
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], model.likelihood(z).log_prob(x))


def test_forward_without_observations_samples(model, clean_globals):
    assert model().shape == (1, 2, 3)
    draws = pyro.infer.Predictive(model, num_samples=5)()
    assert draws["x"].shape == (5, 1, 2, 3)


def test_sample_is_repeatable_and_leaves_the_random_state(model):
    torch.testing.assert_close(model.sample(3, seed=7), model.sample(3, seed=7))
    assert not torch.equal(model.sample(3, seed=7), model.sample(3, seed=8))
    assert model.sample(3, seed=7, mean=True).shape == (3, 2, 3)


def test_a_model_without_parameters_samples_too():
    class Plain(SingleLatentModel):
        data_shape = torch.Size((3,))

        def prior(self):
            return dist.Normal(torch.zeros(2), 1.0).to_event(1)

        def likelihood(self, z):
            return dist.Normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 3), 1.0).to_event(1)

    class PlainGuide(torch.nn.Module):
        def variational_posterior(self, x):
            return dist.Normal(x[:, :2], 1.0).to_event(1)

    model = Plain()
    x = model.sample(4, seed=0)
    assert torch.equal(x, model.sample(4, seed=0))
    assert torch.equal(model.reconstruct(x, PlainGuide(), seed=0), model.reconstruct(x, PlainGuide(), seed=0))
    assert model.register_buffer("offset", torch.zeros(1, dtype=torch.float64)) is None
    assert model.check_observations(x).dtype == torch.float64


def test_sample_without_seed_draws_from_the_global_state(model, clean_globals):
    assert not torch.equal(model.sample(3), model.sample(3))


def test_reconstruct_draws_z(model, isolated_globals):
    with isolated_globals(seed=1):
        guide = AmortizedNormalGuide(**SIZES)
    x = model.sample(3, seed=0)
    first, again, other = (model.reconstruct(x, guide, seed=seed) for seed in (0, 0, 1))
    assert first.shape == x.shape
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)
    assert model.reconstruct(x, guide, seed=0, mean=False).shape == x.shape


@pytest.mark.parametrize("shape", [(4, 6), (2, 3), (4, 3, 2), (4, 1, 2, 3)])
def test_wrong_shapes_are_refused(model, shape):
    with pytest.raises(ShapeError, match=r"observations of shape \(N, 2, 3\), got"):
        model.check_observations(torch.zeros(shape))


def test_settings_rebuild_the_model(model, isolated_globals):
    with isolated_globals(seed=1):
        twin = type(model)(**model.settings)
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin.sample(3, seed=0), model.sample(3, seed=0))


def test_every_parameter_gets_a_gradient(model):
    likelihood = model.likelihood(torch.ones(3, 2)).log_prob(model.sample(3, seed=0))
    likelihood.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_output_bias_is_the_logit_of_the_mean(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(**SIZES, hidden_dims=())
    mean = torch.tensor([[0.0, 0.2, 0.5], [0.9, 1.0, 0.3]])
    model.set_output_bias(mean)
    bias = model.decoder[-1].bias.sigmoid().reshape(2, 3)
    torch.testing.assert_close(bias, mean.clamp(0.01, 0.99))


def test_exact_elbo_needs_a_normal(linear_gaussian):
    model, x = linear_gaussian
    q = pyro.distributions.StudentT(3.0).expand((len(x), 2)).to_event(1)
    with pytest.raises(NotDefinedError, match="known for a normal q, got Independent"):
        model.elbo(x, q)


def test_linear_gaussian_covers_image_shapes(isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (2, 3)).double()
    x = model.sample(4, seed=0)
    flat = LinearGaussianVAE.log_evidence(model, x)
    assert flat.shape == (4,)
    covariance = (model.weight @ model.weight.T + torch.eye(6)).detach()
    truth = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance).log_prob(x.flatten(1))
    torch.testing.assert_close(flat.detach(), truth)
