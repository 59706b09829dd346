"""The distributions of our pairs, against torch's own."""

import pyro.distributions as dist
import pytest
import torch

from bayes_vae.distributions import (
    BernoulliLogits,
    analytic_kl,
    analytic_kl_per_dimension,
    check_support,
    diagonal_normal,
    draw_from_noise,
    has_normal_base,
    noise_shape,
)
from bayes_vae.errors import NotDefinedError, SupportError


def tensor(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("batch", "value"), [((), ()), ((4,), (4,)), ((6, 4), (4,)), ((6, 4), (6, 4))])
@pytest.mark.parametrize("event", [(5,), (2, 3)])
def test_bernoulli_logits_agree_with_torch(batch, value, event):
    logits, x = tensor(*batch, *event), (tensor(*value, *event, seed=1) > 0).double()
    ours, torchs = BernoulliLogits(logits, len(event)), dist.Bernoulli(logits=logits).to_event(len(event))
    torch.testing.assert_close(ours.log_prob(x), torchs.log_prob(x))
    torch.testing.assert_close(ours.mean, torchs.mean)
    torch.testing.assert_close(ours.variance, torchs.variance)
    assert (ours.batch_shape, ours.event_shape) == (torchs.batch_shape, torchs.event_shape)
    grown = ours.expand((7, *batch))
    assert grown.batch_shape == (7, *batch)
    torch.testing.assert_close(grown.log_prob(x), torchs.expand((7, *batch)).log_prob(x))


@pytest.mark.parametrize(("batch", "value"), [((), ()), ((4,), (4,)), ((6, 4), (4,)), ((4,), (6, 4)), ((6, 1), (4,))])
def test_bernoulli_gradients_agree_with_torch(batch, value):
    """In the logits and in relaxed pixels, broadcast either way, and once more in the gradients themselves."""
    logits, x = tensor(*batch, 2, 3).requires_grad_(), tensor(*value, 2, 3, seed=1).sigmoid().requires_grad_()
    ours = BernoulliLogits(logits, 2).log_prob(x)
    linear = (logits * x - torch.nn.functional.softplus(logits)).sum((-1, -2))
    torch.testing.assert_close(ours, linear)
    weights = tensor(*ours.shape, 1, seed=2).squeeze(-1)
    found, wanted = (torch.autograd.grad((y * weights).sum(), (logits, x), create_graph=True) for y in (ours, linear))
    torch.testing.assert_close(found, wanted)
    twice = [torch.autograd.grad(sum(g.square().sum() for g in pair), (logits, x)) for pair in (found, wanted)]
    torch.testing.assert_close(*twice)


def test_bernoulli_log_density_under_function_transforms():
    logits, x = tensor(4, 3), (tensor(4, 3, seed=1) > 0).double()
    found = torch.func.vmap(torch.func.grad(lambda row, value: BernoulliLogits(row).log_prob(value)))(logits, x)
    torch.testing.assert_close(found, x - logits.sigmoid())


def test_bernoulli_logits_draw_with_their_probability(isolated_globals, within):
    logits = torch.tensor([-2.0, 0.0, 1.0])
    with isolated_globals(seed=0):
        draws = BernoulliLogits(logits).sample((20_000,))
    p = logits.sigmoid()
    within(draws.mean(0), p, (p * (1 - p) / 20_000).sqrt())


def test_extreme_logits_stay_finite():
    x = torch.tensor([1.0, 0.0])
    assert BernoulliLogits(torch.tensor([200.0, -200.0])).log_prob(x).item() == 0
    assert BernoulliLogits(torch.tensor([-200.0, 200.0])).log_prob(x).item() == pytest.approx(-400)


def pairs_with_normal_base():
    scale_tril = torch.tensor([[1.0, 0.0], [0.7, 0.5]], dtype=torch.float64)
    loc = tensor(3, 2)
    return [
        diagonal_normal(loc, loc.exp()),
        dist.MultivariateNormal(loc, scale_tril=scale_tril),
        dist.LogNormal(loc, loc.exp()).to_event(1),
        dist.TransformedDistribution(diagonal_normal(loc, loc.exp()), [dist.transforms.TanhTransform()]),
    ]


@pytest.mark.parametrize("index", range(4))
def test_draws_from_noise_follow_the_distribution(index, isolated_globals, within):
    distribution = pairs_with_normal_base()[index]
    assert has_normal_base(distribution)
    assert noise_shape(distribution) == (3, 2)
    draws = draw_from_noise(distribution, tensor(20_000, 3, 2, seed=2))
    with isolated_globals(seed=0):
        own = distribution.sample((20_000,))
    for statistic in (
        torch.tanh,
        lambda z: torch.tanh(z).square(),
        lambda z: torch.tanh(z.prod(-1, keepdim=True)),
    ):
        left, right = statistic(draws), statistic(own)
        error = (left.var(0) + right.var(0)).div(20_000).sqrt()
        within(left.mean(0), right.mean(0), error)


def test_other_bases_are_not_keyed():
    assert not has_normal_base(dist.Gamma(torch.ones(2), torch.ones(2)).to_event(1))
    assert not has_normal_base(dist.Categorical(torch.ones(3)))


def test_full_covariance_kl_to_a_factorized_normal():
    scale_tril = torch.tensor([[1.0, 0.0], [0.7, 0.5]], dtype=torch.float64)
    q = dist.MultivariateNormal(tensor(3, 2), scale_tril=scale_tril)
    p = diagonal_normal(torch.zeros(2, dtype=torch.float64), torch.full((2,), 1.5, dtype=torch.float64))
    full = dist.MultivariateNormal(torch.zeros(2, dtype=torch.float64), 2.25 * torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(analytic_kl(q, p), torch.distributions.kl_divergence(q, full))


def test_kl_has_the_direction_q_to_p():
    q = diagonal_normal(torch.zeros(1), torch.full((1,), 0.1))
    p = diagonal_normal(torch.zeros(1), torch.ones(1))
    assert analytic_kl(q, p).item() == pytest.approx(0.5 * (0.01 - 1) + 2.302585, abs=1e-5)


def test_unknown_kl_is_none():
    assert (
        analytic_kl(dist.StudentT(3.0).expand((2,)).to_event(1), diagonal_normal(torch.zeros(2), torch.ones(2))) is None
    )


def test_kl_per_dimension_sums_and_refuses():
    loc = tensor(3, 2)
    q, p = diagonal_normal(loc, loc.exp()), diagonal_normal(torch.zeros(2).double(), torch.ones(2).double())
    torch.testing.assert_close(analytic_kl_per_dimension(q, p).sum(-1), analytic_kl(q, p))
    full = dist.MultivariateNormal(loc, torch.eye(2, dtype=torch.float64))
    with pytest.raises(NotDefinedError, match="the prior is MultivariateNormal"):
        analytic_kl_per_dimension(q, full)


def test_support_messages():
    with pytest.raises(SupportError, match=r"range over \[0, 0.5\].*continuous\s+Bernoulli"):
        check_support("x", BernoulliLogits(torch.zeros(2)), torch.tensor([[0.0, 0.5]]))
    with pytest.raises(SupportError, match="leave the support"):
        check_support("x", dist.Gamma(torch.ones(2), torch.ones(2)).to_event(1), torch.tensor([[-1.0, 0.5]]))
    check_support("x", BernoulliLogits(torch.zeros(2)), torch.tensor([[0.0, 1.0]]))
