"""Every likelihood in one table: shapes, gradients, density against sampler, normalization, data, settings."""

import json
import math

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import RunError, SettingsError, SupportError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.models.likelihoods import Likelihood
from bayes_vae.pairs import build_program
from bayes_vae.parts.registry import build_part, names, rows

CASES = {
    "bernoulli": "bernoulli",
    "continuous-bernoulli": "continuous-bernoulli",
    "normal-fixed": {"name": "normal", "scale": 0.3},
    "normal-shared": {"name": "normal", "scale": 0.3, "noise": "shared"},
    "normal-per-pixel": {"name": "normal", "scale": 0.3, "noise": "per-pixel"},
    "discretized-logistic": "discretized-logistic",
    "categorical": {"name": "categorical", "num_categories": 5},
    "negative-binomial": "negative-binomial",
    "laplace-normal-options": {"name": "laplace", "scale": 0.3, "noise": "shared"},
    "poisson": "poisson",
    "zero-inflated-negative-binomial": "zero-inflated-negative-binomial",
}
SHAPE = (2, 3)
VALUES = {
    "bernoulli": torch.arange(2.0),
    "discretized-logistic": torch.arange(256.0) / 255,
    "categorical": torch.arange(5.0),
    "negative-binomial": torch.arange(400.0),
    "poisson": torch.arange(400.0),
    "zero-inflated-negative-binomial": torch.arange(400.0),
}
"""All values of a discrete number, up to a negligible rest."""


@pytest.fixture(params=CASES)
def case(request):
    return request.param


@pytest.fixture
def family(case):
    return build_part("likelihood", CASES[case], data_shape=SHAPE).double()


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
    """All but that of column groups, which has tests of its own."""
    found = {case if isinstance(case, str) else case["name"] for case in CASES.values()}
    assert found == set(names("likelihood")) - {"columns"}


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
        assert parameter.grad.abs().max() > 0, name


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
    family = build_part("likelihood", CASES[case], data_shape=(1,)).double()
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
    counted = dict.fromkeys(("negative-binomial", "poisson", "zero-inflated-negative-binomial"), 9.0)
    top = {"categorical": 4.0, **counted}.get(case, 1.0)
    mean = top * torch.tensor([[0.1, 0.2, 0.5], [0.8, 0.7, 0.3]], dtype=torch.float64)
    model.set_output_bias(mean)
    with torch.no_grad():
        for parameter in model.decoder[0].parameters():
            parameter.zero_()
        model.decoder[-1].weight.zero_()
    start = model.likelihood(torch.zeros(1, 2, dtype=torch.float64)).mean[0]
    torch.testing.assert_close(start, mean, rtol=1e-5, atol=1e-5)


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
    annealed = bv.annealed_log_evidence(model, guide, x, num_temperatures=5, seed=0)
    assert torch.isfinite(annealed.log_evidence).all()
    for mean in (True, False):
        assert model.reconstruct(x, guide, seed=0, mean=mean).shape == x.shape


OUTSIDE = {
    "bernoulli": (0.5, "a Bernoulli likelihood takes zeros and ones.*likelihood 'continuous-bernoulli'"),
    "continuous-bernoulli": (
        1.5,
        r"a continuous Bernoulli likelihood takes gray pixels in \[0, 1\], but .* range over \[1.5, 1.5\].*by 255",
    ),
    "discretized-logistic": (
        0.001,
        r"a discretized logistic likelihood takes multiples of 1/255 in \[0, 1\], but .* divided by 255",
    ),
    "categorical": (5.0, r"a categorical likelihood of 5 categories takes whole numbers from 0 to 4.*num_categories"),
    "negative-binomial": (0.5, r"a negative-binomial likelihood takes counts, whole numbers from 0, but .* in between"),
    "poisson": (0.5, r"a Poisson likelihood takes counts, whole numbers from 0, but .* in between"),
    "zero-inflated-negative-binomial": (
        1.5,
        r"a zero-inflated negative-binomial likelihood takes counts, .* in between",
    ),
}


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_values_outside_the_support_are_refused(name, source, isolated_globals):
    value, message = OUTSIDE[name]
    networks = {"latent_dim": 2, "data_shape": SHAPE, "hidden_dims": (5,)}
    with isolated_globals(seed=0):
        model, guide = VAE(**networks, likelihood=CASES[name]), AmortizedNormalGuide(**networks)
    with pytest.raises(SupportError, match=message):
        bv.log_terms(model, guide, torch.full((3, *SHAPE), value), source=source)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("gaussian", "unknown likelihood 'gaussian': choose one of bernoulli, continuous-bernoulli, normal"),
        ({"scale": 1.0}, "unknown likelihood None"),
        ({"name": "bernoulli", "scale": 1.0}, "the likelihood 'bernoulli' has no option 'scale': it takes none"),
        ({"name": "normal", "sigma": 1.0}, "has no option 'sigma': it takes scale, noise"),
        ({"name": "normal", "noise": "some"}, "unknown noise 'some': choose one of fixed, shared, per-pixel"),
        ({"name": "normal", "scale": 0.0}, "with noise 'fixed' must be above 0, got 0"),
        ({"name": "normal", "scale": 0.01, "noise": "shared"}, "with noise 'shared' must be above 0.01, got 0.01"),
        ({"name": "categorical", "num_categories": 1}, "needs num_categories, a whole number of at least 2, got 1"),
        ({"name": "categorical", "num_categories": 4.5}, r"a whole number of at least 2, got 4\.5"),
        ("categorical", "the likelihood 'categorical' needs the option 'num_categories'"),
        ({"name": "laplace", "scale": -1.0}, "the scale of a laplace likelihood with noise 'fixed' must be above 0"),
    ],
)
def test_what_cannot_be_built_is_refused(chosen, message):
    with pytest.raises(SettingsError, match=message):
        build_part("likelihood", chosen, data_shape=SHAPE)


def test_a_likelihood_is_no_model_of_a_run():
    for name in (kind.__name__ for kind in (Likelihood, *(part.cls for part in rows("likelihood")))):
        with pytest.raises(RunError, match=f"is of class '{name}', which bayes_vae.models lacks"):
            build_program("model", {"class": name, "settings": {"data_shape": [2]}})


def test_a_poisson_of_large_counts_keeps_its_digits():
    """At a rate of a million the three terms are of order 10⁷ and cancel to −8: float32 would lose all of it."""
    rate = torch.tensor([[1e6]])
    found = build_part("likelihood", "poisson", data_shape=(1,))(rate.log().unsqueeze(1)).log_prob(rate)
    exact = torch.distributions.Poisson(rate.log().double().exp()).log_prob(rate.double())[0]
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)


def test_extra_zeros_without_a_gate_are_a_negative_binomial():
    plain = build_part("likelihood", "negative-binomial", data_shape=(3,)).double()
    zeros = build_part("likelihood", "zero-inflated-negative-binomial", data_shape=(3,)).double()
    x, log_mean = torch.tensor([[0.0, 1.0, 4.0]]).double(), torch.tensor([[0.2, 0.5, 1.0]]).double()
    closed = torch.stack([log_mean, torch.full_like(log_mean, -40.0)], 1)
    torch.testing.assert_close(zeros(closed).log_prob(x), plain(log_mean.unsqueeze(1)).log_prob(x))
    half = torch.stack([log_mean, torch.zeros_like(log_mean)], 1)
    r = zeros.log_dispersion.detach().exp()
    each = (r / (r + log_mean.exp())) ** r
    found = zeros(half).log_prob(torch.zeros_like(x))
    torch.testing.assert_close(found, (0.5 + 0.5 * each).log().sum(1))
