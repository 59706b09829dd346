"""The weight on the KL of discrete latents, where it is known exactly, and what is no such pair."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.diagnosis.measure.draws_balance import measure_draws_balance
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import DoesNotApplyError, NotDefinedError
from bayes_vae.terms.program import undisturbed

DATA = bv.load_data((torch.arange(600) % 16).unsqueeze(-1).bitwise_and(torch.tensor([1, 2, 4, 8])).ne(0).float())


class Tempered:
    """Five values of z, and the q that maximizes E log p(x|z) − β KL for each x.

    Args:
        weight: β; q is a point where it is 0.
        independent: two latents, each of which the likelihood reads alone.
    """

    def __init__(self, weight, independent=False):
        self.weight, self.count = weight, 2 if independent else 1
        self.logits = torch.linspace(-2, 2, 5).unsqueeze(-1) * torch.tensor([1.0, -0.5, 0.8, 0.3])
        self.prior = torch.tensor([0.1, 0.3, 0.2, 0.15, 0.25]).log()

    def log_likelihood(self, x):
        return dist.Bernoulli(logits=self.logits).log_prob(x.unsqueeze(-2)).sum(-1)

    def model(self, x):
        with pyro.plate("rows", len(x)):
            for place in range(self.count):
                z = pyro.sample(f"z{place}", dist.Categorical(logits=self.prior.expand(len(x), 5)))
                part = x if self.count == 1 else x[:, 2 * place : 2 * place + 2]
                at = self.logits[z] if self.count == 1 else self.logits[z][..., 2 * place : 2 * place + 2]
                pyro.sample(f"x{place}", dist.Bernoulli(logits=at).to_event(1), obs=part)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            for place in range(self.count):
                keep = slice(None) if self.count == 1 else slice(2 * place, 2 * place + 2)
                at = dist.Bernoulli(logits=self.logits[:, keep]).log_prob(x[:, keep].unsqueeze(-2)).sum(-1)
                logits = 1e6 * at if self.weight == 0 else self.prior + at / self.weight
                pyro.sample(f"z{place}", dist.Categorical(logits=logits))


def measured(pair):
    with undisturbed(pair.model, pair.guide):
        return measure_draws_balance(Subject(pair.model, pair.guide, DATA, most_train=100))


@pytest.mark.parametrize("weight", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("independent", [False, True])
def test_the_weight_of_a_tempered_posterior_is_its_temperature(weight, independent):
    """log p(x|z) = β r + a constant, so every draw says the same; of two latents up to the noise of draws."""
    found = measured(Tempered(weight, independent))["kl_weight_of_draws"]
    assert found.value == pytest.approx(weight, rel=1e-4)
    assert found.error < 1e-3 * weight


def test_a_point_has_no_balance_and_continuous_latents_another():
    with pytest.raises(NotDefinedError, match="one value of z for every observation"):
        measured(Tempered(0))

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Bernoulli(logits=z.unsqueeze(-1).expand(*z.shape, 4)).to_event(1), obs=x)

    pair = Tempered(1.0)
    pair.model, pair.guide = model, guide
    with pytest.raises(DoesNotApplyError, match="no latent is discrete"):
        measured(pair)


@pytest.mark.parametrize(("weight", "named"), [(0.2, True), (1.0, False), (4.0, False)])
def test_only_what_is_held_too_little_is_named(weight, named):
    """The draws of a relaxed objective come to rest at a larger number than the weight, so nothing is said above 1."""
    pair = Tempered(weight)
    found = bv.diagnose(pair.model, pair.guide, DATA, num_observations=100, seconds=3)
    assert ("discrete-kl-weight" in [finding.name for finding in found.findings]) is named
    for finding in found.findings:
        if finding.name == "discrete-kl-weight":
            assert finding.sureness == "likely"
            assert "weight 0.2 at most" in finding.summary
