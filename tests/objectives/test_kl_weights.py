"""The weight of the KL over the steps, and free bits."""

import pytest
import torch
from pyro.infer import SVI
from pyro.optim import Adam

from bayes_vae.distributions import analytic_kl_per_dimension
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.objectives import ConstantWeight, Cyclical, Elbo, StickingTheLandingObjective, WarmUp


def test_a_cycle_is_a_warm_up_again_and_again():
    weight = Cyclical(period=10, rise=4, weight=0.5)
    assert [weight(step) for step in range(10)] == [WarmUp(4, weight=0.5)(step) for step in range(10)]
    assert [weight(step) for step in range(10, 30)] == [weight(step) for step in range(10)] * 2
    assert {weight(step) for step in range(4, 10)} == {ConstantWeight(0.5)(3)} == {0.5}


@pytest.mark.parametrize("objective", [Elbo, StickingTheLandingObjective])
def test_the_weight_follows_the_steps_of_svi(objective, make_pair, x):
    """The loss of each step has the weight of the steps done before it."""
    pair, seen = make_pair(), []

    def schedule(step):
        seen.append(step)
        return WarmUp(4)(step)

    loss = objective(2, kl_weight=schedule)
    svi = SVI(*pair, Adam({"lr": 0.0}), loss=loss)
    loss.loss(*pair, x)
    seen.clear()
    for step in range(6):
        torch.manual_seed(step)
        value = svi.step(x)
        torch.manual_seed(step)
        terms = loss.terms(*pair, x)
        weighted = min(1.0, step / 4) * terms.kl_to_prior - terms.expected_log_likelihood
        assert value == pytest.approx(weighted.sum().item())
    assert seen[::2] == list(range(6))


def test_a_module_counts_its_steps_in_training_mode(make_pair, x):
    module = Elbo(kl_weight=WarmUp(4))(*make_pair())
    for _ in range(3):
        module(x).backward()
    with torch.no_grad():
        module(x)
    module.eval()
    module(x)
    assert module.objective.steps_done == 3
    assert module.objective.current_kl_weight == 0.75


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Elbo(kl_weight=-0.1), r"kl_weight must be at least 0, got -0\.1"),
        (lambda: ConstantWeight(-1.0), r"kl_weight must be at least 0, got -1\.0"),
        (lambda: StickingTheLandingObjective(kl_weight=float("nan")), "kl_weight must be at least 0, got nan"),
        (lambda: WarmUp(0), "steps must be above 0, got 0: without a warm-up use ConstantWeight"),
        (lambda: Cyclical(period=4, rise=4), "0 < rise < period, got rise=4 and period=4"),
        (lambda: Cyclical(period=4, rise=0), "0 < rise < period, got rise=0 and period=4"),
        (lambda: Elbo(free_bits=-0.5), r"free_bits must be at least 0, got -0\.5"),
        (lambda: Elbo(free_bits=0.5, kl="sampled"), r"closed-form KL of each latent dimension.*leave out kl='sampled'"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


# Free bits


def kl_of(model, guide, x):
    return analytic_kl_per_dimension(guide.variational_posterior(x), model.prior())


def test_free_bits_are_of_each_dimension_of_each_observation(make_ours, x):
    """Between the smallest and the largest KL of all, so that some pay and some do not, in one batch."""
    model, guide = make_ours()
    kl = kl_of(model, guide, x).detach()
    free = kl.median().item()
    for pair in ((model, guide), (model.forward, guide.forward)):
        torch.manual_seed(0)
        terms = Elbo(kl="analytic", kl_weight=0.5, free_bits=free).terms(*pair, x)
        charged = torch.stack([torch.stack([max(row[d], torch.tensor(free).double()) for d in range(2)]) for row in kl])
        torch.testing.assert_close(terms.loss, 0.5 * charged.sum(-1) - terms.expected_log_likelihood)
        torch.testing.assert_close(terms.kl_to_prior, kl.sum(-1))
    over_the_batch = kl.mean(0).clamp(min=free).sum()
    assert not torch.isclose(charged.sum(-1).mean(), over_the_batch)


def test_a_dimension_below_its_free_bits_has_no_gradient_of_the_kl(make_ours, x):
    """Where all lie below, the gradient is that of the likelihood alone; where all lie above, that of the ELBO."""
    model, guide = make_ours()
    kl = kl_of(model, guide, x)

    def gradients(**settings):
        torch.manual_seed(0)
        return torch.autograd.grad(Elbo(**settings).differentiable_loss(model, guide, x), list(guide.parameters()))

    above, below = 2 * kl.max().item(), 0.5 * kl.min().item()
    for free, other in ((above, {"kl_weight": 0.0}), (below, {"kl_weight": 1.0})):
        for found, expected in zip(gradients(free_bits=free), gradients(**other), strict=True):
            torch.testing.assert_close(found, expected)


def test_free_bits_need_dimensions_that_are_independent(linear_gaussian, clean_globals):
    model, x = linear_gaussian
    with pytest.raises(NotDefinedError, match=r"free_bits are for each latent dimension by itself, and .*factorize"):
        Elbo(free_bits=0.1).loss(model, ExactLinearGaussianGuide(model), x)
