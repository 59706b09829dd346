"""The guide of two stochastic layers."""

import pyro
import pytest
import torch

from bayes_vae.errors import ShapeError
from bayes_vae.guides import TwoLayerNormalGuide

SIZES = {"latent_dim": 3, "top_latent_dim": 2, "data_shape": (2, 3), "hidden_dims": (5,), "top_hidden_dims": (4,)}


@pytest.fixture
def guide(isolated_globals):
    with isolated_globals(seed=0):
        return TwoLayerNormalGuide(**SIZES)


def test_program_samples_bottom_up(guide, clean_globals):
    x = torch.ones(4, 2, 3)
    trace = pyro.poutine.trace(guide).get_trace(x)
    trace.compute_log_prob()
    assert [name for name in trace.nodes if name.startswith("z")] == ["z1", "z2"]
    z1, z2 = (trace.nodes[name]["value"] for name in ("z1", "z2"))
    torch.testing.assert_close(trace.nodes["z1"]["log_prob"], guide.first_layer(x).log_prob(z1))
    torch.testing.assert_close(trace.nodes["z2"]["log_prob"], guide.top_layer(z1).log_prob(z2))


def test_scales_start_near_one(guide):
    with torch.no_grad():
        for network in (guide.encoder, guide.top_encoder):
            network[-1].weight.zero_()
    for q in (guide.first_layer(torch.ones(1, 2, 3)), guide.top_layer(torch.ones(1, 3))):
        torch.testing.assert_close(q.base_dist.scale, torch.ones_like(q.base_dist.scale), rtol=1e-4, atol=1e-4)


def test_every_parameter_gets_a_gradient(guide, clean_globals):
    x = torch.ones(4, 2, 3)
    trace = pyro.poutine.trace(guide).get_trace(x)
    trace.log_prob_sum().backward()
    assert all(parameter.grad is not None for parameter in guide.parameters())


def test_wrong_shape_is_refused(guide):
    with pytest.raises(ShapeError, match=r"TwoLayerNormalGuide takes observations of shape \(N, 2, 3\), got \(4, 6\)"):
        guide(torch.zeros(4, 6))


def test_settings_rebuild_the_guide(guide, isolated_globals):
    with isolated_globals(seed=1):
        twin = TwoLayerNormalGuide(**guide.settings)
    twin.load_state_dict(guide.state_dict())
    x = torch.ones(1, 2, 3)
    torch.testing.assert_close(twin.first_layer(x).mean, guide.first_layer(x).mean)
