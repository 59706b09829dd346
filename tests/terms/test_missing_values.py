"""Missing values: every term is of what was observed, for any likelihood and by both ways of reading a pair."""

import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.distributions import missing_in, observed_log_prob, observed_part
from bayes_vae.distributions.negative_binomial_log_mean import NegativeBinomialLogMean
from bayes_vae.errors import MissingValuesWarning, NotDefinedError
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.parts.registry import build_part

N, P = 7, 5


@pytest.fixture
def linear(isolated_globals):
    """A linear-Gaussian model, observations with gaps, and log p of what was observed from the marginal normal."""
    with isolated_globals(seed=0), torch.no_grad():
        model = LinearGaussianVAE(2, (P,)).double()
        model.bias.normal_()
        model.log_scale.fill_(-0.5)
        x = model.sample(N, seed=1)
        missing = torch.rand(N, P) < 0.4
        missing[:, 0] = False
        missing[0] = False
        covariance = model.weight @ model.weight.T + (2 * model.log_scale).exp() * torch.eye(P).double()
        truth = torch.stack(
            [
                torch.distributions.MultivariateNormal(model.bias[kept], covariance[kept][:, kept]).log_prob(row[kept])
                for row, kept in zip(x, ~missing, strict=True)
            ]
        )
    return model, torch.where(missing, torch.nan, x), truth


def test_the_exact_evidence_is_the_marginal_of_what_was_observed(linear):
    model, x, truth = linear
    torch.testing.assert_close(model.log_evidence(x).detach(), truth)
    torch.testing.assert_close(model.elbo(x, model.exact_posterior(x)).detach(), truth)


@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_with_the_exact_posterior_every_weight_is_the_evidence_of_what_was_observed(linear, source):
    model, x, truth = linear
    terms = bv.log_terms(model, ExactLinearGaussianGuide(model), x, 5, source=source)
    torch.testing.assert_close(terms.log_importance_weights, truth.expand(5, N))
    assert terms.provenance.missing_share == pytest.approx(float(x.isnan().double().mean()))


class Wide(ExactLinearGaussianGuide):
    """The exact posterior, its deviations half as large again."""

    def variational_posterior(self, x):
        exact = super().variational_posterior(x)
        return dist.MultivariateNormal(exact.loc, scale_tril=1.5 * exact.scale_tril)


@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_annealing_and_importance_agree_with_the_marginal(linear, source, within):
    """Annealing follows gradients, which would be NaN where a masked NaN has a finite density."""
    model, x, truth = linear
    annealed = bv.annealed_log_evidence(model, Wide(model), x, num_temperatures=10, source=source)
    estimate = bv.estimate_log_evidence(model, Wide(model), x, 2000, source=source)
    assert annealed.converged.all()
    for found in (annealed, estimate):
        within(found.log_evidence, truth, found.standard_error)


def test_quadrature_and_the_posterior_of_what_was_observed(linear):
    model, x, truth = linear
    torch.testing.assert_close(bv.quadrature_log_evidence(model, Wide(model), x).log_evidence, truth, atol=1e-3, rtol=0)
    draws = bv.posterior_draws(model, Wide(model), x, num_draws=400, num_warmup=200)
    exact = model.exact_posterior(x)
    off = (draws.mean["z"] - exact.mean).abs() / draws.mean_error["z"]
    assert off.max() < 4.5


FAMILIES = {
    "bernoulli": (lambda shape: torch.bernoulli(torch.full(shape, 0.4)), {}),
    "continuous-bernoulli": (lambda shape: torch.rand(shape), {}),
    "normal": (lambda shape: torch.randn(shape), {"noise": "per-pixel"}),
    "discretized-logistic": (lambda shape: (torch.rand(shape) * 255).round() / 255, {}),
    "categorical": (lambda shape: torch.randint(0, 4, shape).float(), {"num_categories": 4}),
    "negative-binomial": (lambda shape: torch.poisson(torch.full(shape, 3.0)), {}),
    "laplace": (lambda shape: torch.randn(shape), {"noise": "shared"}),
    "poisson": (lambda shape: torch.poisson(torch.full(shape, 3.0)), {}),
    "zero-inflated-negative-binomial": (lambda shape: torch.poisson(torch.full(shape, 1.0)), {}),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
def test_each_likelihood_drops_the_factors_of_missing_numbers(name, shape, isolated_globals):
    """log p(x_observed) is the sum over observed numbers, one event each; missing ones have a gradient of zero."""
    draw, options = FAMILIES[name]
    with isolated_globals(seed=0):
        likelihood = build_part("likelihood", {"name": name, **options}, data_shape=shape)
        outputs = torch.randn(3, likelihood.outputs_per_number, *shape, requires_grad=True)
        x, missing = draw((3, *shape)), torch.rand(3, *shape) < 0.4
    gaps = torch.where(missing, torch.nan, x)
    single = build_part("likelihood", {"name": name, **options}, data_shape=())
    single.load_state_dict({key: value.flatten()[0] for key, value in likelihood.state_dict().items()})
    numbers = outputs.movedim(1, -1).reshape(-1, likelihood.outputs_per_number)
    each = single(numbers).log_prob(x.flatten()).reshape(3, -1)
    found = observed_log_prob(likelihood(outputs), gaps)
    torch.testing.assert_close(found, (each * ~missing.flatten(1)).sum(1))
    (gradient,) = torch.autograd.grad(found.sum(), outputs)
    assert gradient.isfinite().all()
    assert not gradient.movedim(1, -1)[missing].any()
    torch.testing.assert_close(observed_log_prob(likelihood(outputs), x), likelihood(outputs).log_prob(x))


def test_where_zero_has_no_density_a_missing_number_is_some_value_that_has(isolated_globals):
    rate = torch.ones(2, 3, requires_grad=True)
    concentration = torch.full((2, 3), 2.0, requires_grad=True)
    likelihood = dist.Independent(dist.Gamma(concentration, rate, validate_args=True), 1)
    x = torch.tensor([[1.0, torch.nan, 2.0], [torch.nan, 1.0, 1.0]])
    with isolated_globals(seed=0):
        part = observed_part(likelihood, x, missing_in(x))
        gradient, other = torch.autograd.grad(part.log_prob.sum(), (rate, concentration))
    assert (part.x > 0).all()
    torch.testing.assert_close(gradient, torch.where(x.isnan(), 0.0, 2 - x))
    assert other.isfinite().all()


def test_numbers_that_hang_together_are_refused():
    likelihood = dist.MultivariateNormal(torch.zeros(2, 3), torch.eye(3))
    with pytest.raises(NotDefinedError, match="MultivariateNormal has no density of some of its numbers alone.*Pyro"):
        observed_log_prob(likelihood, torch.tensor([[1.0, torch.nan, 0.0], [0.0, 0.0, 0.0]]))


def test_a_count_per_number_keeps_its_own_dispersion():
    numbers = NegativeBinomialLogMean(torch.zeros(2, 3), torch.tensor([0.0, 1.0, 2.0])).numbers()
    assert (numbers.batch_shape, numbers.event_shape) == ((2, 3), ())


NETWORKS = {"latent_dim": 2, "data_shape": (P,), "hidden_dims": (8,)}


def test_an_encoder_without_the_mask_reads_zeros_and_says_so_once(isolated_globals):
    with isolated_globals(seed=0):
        guide = AmortizedNormalGuide(**NETWORKS)
    x = torch.tensor([[1.0, torch.nan, 2.0, 3.0, torch.nan]])
    with pytest.warns(MissingValuesWarning, match="AmortizedNormalGuide is not told which.*mask_input=True"):
        found = guide.variational_posterior(x)
    torch.testing.assert_close(found.mean, guide.variational_posterior(x.nan_to_num()).mean)
    guide.variational_posterior(x)  # warnings are errors here


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_an_encoder_with_the_mask_tells_a_missing_number_from_a_zero(network, isolated_globals):
    shape = (3, 4) if network == "conv" else (12,)
    with isolated_globals(seed=0):
        guide = AmortizedNormalGuide(2, shape, (8,), network=network, mask_input=True)
        x = torch.randn(3, *shape)
    gaps = x.clone().reshape(3, -1)
    gaps[:, 4] = torch.nan
    gaps = gaps.reshape(x.shape)
    missing, zero = guide.variational_posterior(gaps).mean, guide.variational_posterior(gaps.nan_to_num()).mean
    assert missing.isfinite().all()
    assert (missing - zero).abs().min() > 1e-6
    assert guide.settings["mask_input"]


def test_a_pair_of_networks_trains_on_data_with_gaps_and_every_term_is_finite(isolated_globals):
    """Gradients of every parameter are finite, and those of both readings agree."""
    with isolated_globals(seed=0):
        model = VAE(**NETWORKS, likelihood={"name": "normal", "noise": "shared"})
        guide = AmortizedNormalGuide(**NETWORKS, mask_input=True)
        x = torch.where(torch.rand(20, P) < 0.3, torch.nan, torch.randn(20, P))
        x[:, 0] = 1.0
    with isolated_globals(seed=1):
        bv.Elbo(5)(model, guide)(x).backward()
    for parameter in (*model.parameters(), *guide.parameters()):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    terms = [bv.log_terms(model, guide, x, 3, source=source) for source in ("distributions", "traces")]
    torch.testing.assert_close(terms[0].log_importance_weights, terms[1].log_importance_weights)


def test_the_hidden_value_of_a_missing_number_changes_nothing(isolated_globals):
    """Terms are a function of what was observed: columns that are always missing are as if they were not there."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (P,)).double()
        x = torch.randn(4, P).double()
        less = LinearGaussianVAE(2, (P - 1,)).double()
    less.load_state_dict({name: value[:-1] if value.dim() else value for name, value in model.state_dict().items()})
    gaps = torch.cat([x[:, :-1], torch.full((4, 1), torch.nan).double()], 1)
    torch.testing.assert_close(model.log_evidence(gaps), less.log_evidence(x[:, :-1]))
