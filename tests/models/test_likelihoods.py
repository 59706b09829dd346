"""Every likelihood in one table: shapes, gradients, density against sampler, normalization, data, settings."""

import json
import math

import pytest
import torch
from torch.distributions import ContinuousBernoulli

import bayes_vae as bv
from bayes_vae.bits import bits_per_dimension
from bayes_vae.continuous_bernoulli import ContinuousBernoulliLogits, log_normalizer
from bayes_vae.discretized_logistic import DiscretizedLogistic
from bayes_vae.errors import NotDefinedError, SettingsError, SupportError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.models.likelihoods import LIKELIHOODS, make_likelihood

CASES = {
    "bernoulli": "bernoulli",
    "continuous-bernoulli": "continuous-bernoulli",
    "normal-fixed": {"name": "normal", "scale": 0.3},
    "normal-shared": {"name": "normal", "scale": 0.3, "noise": "shared"},
    "normal-per-pixel": {"name": "normal", "scale": 0.3, "noise": "per-pixel"},
    "discretized-logistic": "discretized-logistic",
    "categorical": {"name": "categorical", "num_categories": 5},
    "negative-binomial": "negative-binomial",
}
SHAPE = (2, 3)
VALUES = {
    "bernoulli": torch.arange(2.0),
    "discretized-logistic": torch.arange(256.0) / 255,
    "categorical": torch.arange(5.0),
    "negative-binomial": torch.arange(400.0),
}
"""All values of a discrete number, up to a negligible rest."""


@pytest.fixture(params=CASES)
def case(request):
    return request.param


@pytest.fixture
def family(case):
    return make_likelihood(CASES[case], SHAPE).double()


@pytest.fixture
def pair(case, isolated_globals):
    networks = {"latent_dim": 2, "data_shape": SHAPE, "hidden_dims": (5,)}
    with isolated_globals(seed=0):
        return VAE(**networks, likelihood=CASES[case]).double(), AmortizedNormalGuide(**networks).double()


@pytest.fixture
def parameters(family, isolated_globals):
    """Decoder outputs for two observations that give every number another distribution."""
    with isolated_globals(seed=1):
        return torch.randn(2, family.outputs_per_number, *SHAPE, dtype=torch.float64) * 0.5


def test_the_table_has_every_likelihood():
    names = {case if isinstance(case, str) else case["name"] for case in CASES.values()}
    assert names == set(LIKELIHOODS)


def test_shapes_and_program(pair, clean_globals):
    model, _ = pair
    for batch in ((4,), (5, 4), ()):
        likelihood = model.likelihood(torch.zeros(*batch, 2, dtype=torch.float64))
        assert (likelihood.batch_shape, likelihood.event_shape) == (batch, SHAPE)
        assert likelihood.mean.shape == (*batch, *SHAPE)
        assert likelihood.log_prob(likelihood.sample((3,))).shape == (3, *batch)
    assert model.sample(3, seed=0, mean=True).shape == (3, *SHAPE)


def test_a_gradient_reaches_every_parameter(pair):
    model, _ = pair
    z = torch.ones(3, 2, dtype=torch.float64)
    model.likelihood(z).log_prob(model.sample(3, seed=0)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_draws_have_the_mean_and_the_variance_of_the_density(case, family, parameters, isolated_globals, within):
    """Moments by the density, summed or integrated, against draws."""
    likelihood, count = family(parameters), 20_000
    with isolated_globals(seed=2):
        drawn = likelihood.sample((count,))
    values = VALUES.get(
        case, torch.linspace(-14, 14, 8001) if "normal" in case else torch.linspace(0, 1, 4001)
    ).double()
    mass = marginal_masses(family, parameters, values, continuous=case not in VALUES)
    first, second = ((mass * power).sum(0) for power in (values.reshape(-1, 1, 1, 1), values.reshape(-1, 1, 1, 1) ** 2))
    torch.testing.assert_close(likelihood.mean, first, rtol=2e-5, atol=2e-5)
    within(drawn.mean(0), first, drawn.std(0) / math.sqrt(count))
    within(drawn.square().mean(0), second, drawn.square().std(0) / math.sqrt(count))


def marginal_masses(family, parameters, values, continuous):
    """Mass of each value of each number alone, shape (V, 2, *SHAPE): the other numbers held, their factor taken out."""
    likelihood = family(parameters)
    base = values[len(values) // 2 if continuous else 0]
    held = torch.full((2, *SHAPE), float(base), dtype=torch.float64)
    reference = likelihood.log_prob(held)
    masses = torch.empty(len(values), 2, *SHAPE, dtype=torch.float64)
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            x = held.repeat(len(values), 1, 1, 1)
            x[:, :, row, column] = values[:, None]
            masses[:, :, row, column] = likelihood.log_prob(x) - reference
    masses = masses.exp()
    if continuous:
        weights = torch.full((len(values),), float(values[1] - values[0]), dtype=torch.float64)
        weights[[0, -1]] /= 2
        masses = masses * weights.reshape(-1, 1, 1, 1)
    return masses / masses.sum(0)


def test_the_density_of_one_number_is_normalized(case, isolated_globals):
    family = make_likelihood(CASES[case], (1,)).double()
    with isolated_globals(seed=3):
        parameters = torch.randn(7, family.outputs_per_number, 1, dtype=torch.float64)
    if case in VALUES:
        values = VALUES[case].double()
        total = family(parameters).log_prob(values.reshape(-1, 1, 1)).exp().sum(0)
    else:
        values = torch.linspace(*((-12, 12) if "normal" in case else (0, 1)), 40_001, dtype=torch.float64)
        total = torch.trapezoid(family(parameters).log_prob(values.reshape(-1, 1, 1)).exp(), values, dim=0)
    torch.testing.assert_close(total, torch.ones(7, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_the_decoder_starts_at_the_mean_of_the_data(case, pair):
    model, _ = pair
    top = {"categorical": 4.0, "negative-binomial": 9.0}.get(case, 1.0)
    mean = top * torch.tensor([[0.1, 0.2, 0.5], [0.8, 0.7, 0.3]], dtype=torch.float64)
    model.set_output_bias(mean)
    with torch.no_grad():
        for parameter in model.decoder[0].parameters():
            parameter.zero_()
        model.decoder[-1].weight.zero_()
    start = model.likelihood(torch.zeros(1, 2, dtype=torch.float64)).mean[0]
    torch.testing.assert_close(start, mean, rtol=0.04 if case == "discretized-logistic" else 1e-6, atol=0.03 * top)


def test_settings_are_json_and_rebuild_the_model(pair, clean_globals):
    model, _ = pair
    settings = json.loads(json.dumps(model.settings))
    twin = VAE(**settings).double()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin.sample(3, seed=0), model.sample(3, seed=0))


def test_the_estimators_agree_by_both_sources(pair):
    model, guide = pair
    x = model.sample(4, seed=0)
    read, traced = (bv.log_terms(model, guide, x, 3, seed=0, source=way) for way in ("distributions", "traces"))
    torch.testing.assert_close(read.log_likelihood, traced.log_likelihood)
    annealed = bv.annealed_log_evidence(model, x, guide, num_temperatures=5, seed=0)
    assert torch.isfinite(annealed.log_evidence).all()


OUTSIDE = {
    "bernoulli": (0.5, "a Bernoulli likelihood takes zeros and ones.*likelihood 'continuous-bernoulli'"),
    "continuous-bernoulli": (1.5, r"leave the support .* of ContinuousBernoulliLogits"),
    "discretized-logistic": (0.001, r"leave the support \{0, 1/255, …, 1\} of DiscretizedLogistic"),
    "categorical": (5.0, r"leave the support IntegerInterval"),
    "negative-binomial": (0.5, r"leave the support .* of NegativeBinomial"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_values_outside_the_support_are_refused(name, isolated_globals):
    value, message = OUTSIDE[name]
    networks = {"latent_dim": 2, "data_shape": SHAPE, "hidden_dims": (5,)}
    with isolated_globals(seed=0):
        model, guide = VAE(**networks, likelihood=CASES[name]), AmortizedNormalGuide(**networks)
    with pytest.raises(SupportError, match=message):
        bv.log_terms(model, guide, torch.full((3, *SHAPE), value))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("gaussian", "unknown likelihood 'gaussian': choose one of bernoulli, continuous-bernoulli, normal"),
        ({"scale": 1.0}, "unknown likelihood None"),
        ({"name": "bernoulli", "scale": 1.0}, "the likelihood 'bernoulli' has no option 'scale': it takes none"),
        ({"name": "normal", "sigma": 1.0}, "has no option 'sigma': it takes scale, noise"),
        ({"name": "normal", "noise": "some"}, "unknown noise 'some': choose one of fixed, shared, per-pixel"),
        ({"name": "normal", "scale": 0.0}, "must be above 0"),
        ({"name": "normal", "scale": 0.01, "noise": "shared"}, "with noise 'shared' must be above 0.01"),
        ({"name": "categorical", "num_categories": 1}, "needs at least 2 categories, got 1"),
        ("categorical", "the likelihood 'categorical' needs the option 'num_categories'"),
    ],
)
def test_what_cannot_be_built_is_refused(chosen, message):
    with pytest.raises(SettingsError, match=message):
        make_likelihood(chosen, SHAPE)


def test_a_learned_scale_never_falls_below_its_floor():
    shared = make_likelihood({"name": "normal", "noise": "shared"}, (1,))
    with torch.no_grad():
        shared.raw_scale.fill_(-1e4)
    assert shared(torch.zeros(1, 1, 1)).base_dist.scale.item() == pytest.approx(0.01)
    each = make_likelihood({"name": "normal", "noise": "per-pixel"}, (1,))
    assert each(torch.full((1, 2, 1), -1e4)).base_dist.scale.item() == pytest.approx(0.01)


def test_squared_error_is_a_normal_of_fixed_scale():
    x, mean = torch.tensor([[0.2, 0.9]]), torch.tensor([[[0.5, 0.4]]])
    family = make_likelihood({"name": "normal", "scale": 0.5}, (2,))
    error = ((x - mean[:, 0]) ** 2).sum() / (2 * 0.5**2)
    constant = 2 * (math.log(0.5) + 0.5 * math.log(2 * math.pi))
    assert family(mean).log_prob(x).item() == pytest.approx(-(error + constant).item())


@pytest.mark.parametrize("logit", [-300.0, -20.0, -0.051, -0.049, 0.0, 0.02, 3.0, 100.0])
def test_the_continuous_bernoulli_at_any_logit(logit, isolated_globals, within):
    """torch's loses its normalization beyond the logits at which it clamps the probability."""
    logits = torch.full((20_000, 1), logit, dtype=torch.float64)
    one = ContinuousBernoulliLogits(logits[:1].clone().requires_grad_())
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    density = (x * logit - log_normalizer(logits[0, 0])).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=2e-6)
    slope = torch.autograd.grad(one.log_prob(torch.tensor([[0.25]])).sum(), one.logits)[0]
    assert slope.item() == pytest.approx(0.25 - one.mean.item(), abs=1e-6)
    with isolated_globals(seed=0):
        drawn = ContinuousBernoulliLogits(logits).sample()
    within(drawn.mean(), one.mean.item(), one.variance.sqrt().item() / math.sqrt(len(drawn)))
    if abs(logit) < 10:
        torch_says = ContinuousBernoulli(logits=one.logits.detach()).log_prob(torch.tensor([[0.25]]))
        torch.testing.assert_close(one.log_prob(torch.tensor([[0.25]])).detach(), torch_says[0], atol=1e-6, rtol=1e-6)


def test_a_wide_discretized_logistic_is_nearly_its_density():
    """A bin's mass is the density at its middle times its width."""
    loc, scale, x = torch.tensor([[0.4]]).double(), torch.tensor([[0.2]]).double(), torch.tensor([[153 / 255]]).double()
    t = (x - loc) / scale
    density = (-t - 2 * torch.log1p(torch.exp(-t)) - scale.log()).exp()
    mass = DiscretizedLogistic(loc, scale).log_prob(x).exp()
    assert mass.item() == pytest.approx(density.item() / 255, rel=1e-4)


def test_a_narrow_discretized_logistic_has_finite_gradients():
    loc = torch.tensor([[0.9]], requires_grad=True)
    log_mass = DiscretizedLogistic(loc, torch.tensor([[1e-3]])).log_prob(torch.tensor([[0.0]]))
    log_mass.sum().backward()
    assert math.isfinite(log_mass.item())
    assert math.isfinite(loc.grad.item())


def test_the_negative_binomial_has_the_stated_variance():
    family = make_likelihood("negative-binomial", (1,)).double()
    with torch.no_grad():
        family.log_dispersion.fill_(math.log(2.5))
    likelihood = family(torch.full((1, 1, 1), math.log(4.0), dtype=torch.float64))
    assert likelihood.mean.item() == pytest.approx(4.0)
    assert likelihood.variance.item() == pytest.approx(4.0 + 4.0**2 / 2.5)
    assert math.isfinite(likelihood.log_prob(torch.full((1, 1), 1e6, dtype=torch.float64)).item())


def test_bits_per_dimension_of_a_uniform_pixel_are_eight(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(2, (2, 3), (4,), likelihood="discretized-logistic")
        density = VAE(2, (2, 3), (4,), likelihood="normal")
        linear = LinearGaussianVAE(2, (2, 3))
    uniform = -6 * math.log(256)
    assert bits_per_dimension(uniform, model) == pytest.approx(8.0)
    torch.testing.assert_close(bits_per_dimension(torch.tensor([uniform, 0.0]), model), torch.tensor([8.0, 0.0]))
    with pytest.raises(
        NotDefinedError, match="the likelihood 'normal' is a density: its logarithm depends on the unit"
    ):
        bits_per_dimension(uniform, density)
    with pytest.raises(NotDefinedError, match="LinearGaussianVAE has no likelihood_family"):
        bits_per_dimension(uniform, linear)


def test_a_likelihood_is_no_model_of_a_run():
    from bayes_vae.errors import RunError
    from bayes_vae.runs.pairs import build_program

    with pytest.raises(RunError, match="is of class 'BernoulliLikelihood', which bayes_vae.models lacks"):
        build_program("model", {"class": "BernoulliLikelihood", "settings": {"data_shape": [2]}})
