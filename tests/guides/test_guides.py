"""The guides: their programs, their draws, their settings."""

import pyro
import pytest
import torch

from bayes_vae.errors import ShapeError
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide

SIZES = {"latent_dim": 2, "data_shape": (2, 3)}


@pytest.fixture
def guide(isolated_globals):
    with isolated_globals(seed=0):
        return AmortizedNormalGuide(**SIZES)


def test_variational_posterior_has_the_contracts_shape(guide):
    q = guide.variational_posterior(torch.zeros(4, 2, 3))
    assert (q.batch_shape, q.event_shape) == ((4,), (2,))


def test_program_samples_the_variational_posterior(guide, clean_globals):
    x = torch.ones(4, 2, 3)
    trace = pyro.poutine.trace(guide).get_trace(x)
    trace.compute_log_prob()
    node = trace.nodes["z"]
    torch.testing.assert_close(node["log_prob"], guide.variational_posterior(x).log_prob(node["value"]))


def test_scales_start_near_one_and_never_reach_zero(guide):
    q = guide.variational_posterior(torch.zeros(1, 2, 3)).base_dist
    torch.testing.assert_close(q.scale, torch.ones(1, 2), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        guide.encoder[-1].bias.fill_(-1e4)
    assert (guide.variational_posterior(torch.zeros(1, 2, 3)).base_dist.scale >= 1e-5).all()


def test_wrong_shape_is_refused(guide):
    with pytest.raises(ShapeError, match=r"observations of shape \(N, 2, 3\), got \(4, 6\)"):
        guide.variational_posterior(torch.zeros(4, 6))


def test_integer_observations_are_taken(guide):
    torch.testing.assert_close(
        guide.variational_posterior(torch.ones(1, 2, 3, dtype=torch.uint8)).mean,
        guide.variational_posterior(torch.ones(1, 2, 3)).mean,
    )


def test_every_parameter_gets_a_gradient(guide):
    guide.variational_posterior(torch.ones(3, 2, 3)).log_prob(torch.zeros(3, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in guide.parameters())


def test_settings_rebuild_the_guide(guide, isolated_globals):
    with isolated_globals(seed=1):
        twin = AmortizedNormalGuide(**guide.settings)
    twin.load_state_dict(guide.state_dict())
    x = torch.ones(1, 2, 3)
    torch.testing.assert_close(twin.variational_posterior(x).mean, guide.variational_posterior(x).mean)


def test_exact_guide_follows_its_model(linear_gaussian):
    model, x = linear_gaussian
    guide = ExactLinearGaussianGuide(model)
    assert list(guide.parameters()) == []
    torch.testing.assert_close(guide.variational_posterior(x).mean, model.exact_posterior(x).mean)
