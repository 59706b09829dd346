"""Every prior: its shapes, its density against its draws, the integral of it, its weights stored and read."""

import copy
import itertools
import math

import pytest
import torch
from torch.distributions import constraints

import bayes_vae as bv
from bayes_vae.distributions import analytic_kl, diagonal_normal
from bayes_vae.errors import SettingsError
from bayes_vae.models import VAE
from bayes_vae.models.priors import StandardNormalPrior
from bayes_vae.models.priors.component_mixture import ComponentMixture
from bayes_vae.models.priors.prior import SCALE_FLOOR
from bayes_vae.parts.registry import build_part, names

LEARNED = [name for name in names("prior") if name != "standard-normal"]


def normal_log_density(z, loc, scale):
    """log N(z; loc, scale²) in plain arithmetic, summed over the last dimension."""
    return (-0.5 * ((z - loc) / scale) ** 2 - torch.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1)


@pytest.fixture(params=[(name, size) for name in LEARNED for size in (1, 2, 3)], ids=str)
def pair(request, pair_with_prior):
    return pair_with_prior(*request.param)


def test_a_prior_has_the_contracts_shapes(pair, isolated_globals):
    model, _ = pair
    prior, size = model.prior(), model.latent_dim
    assert (prior.batch_shape, prior.event_shape) == ((), (size,))
    with isolated_globals(seed=0):
        z = prior.sample((5, 4))
        assert prior.sample().shape == (size,)
        assert prior.expand((4,)).sample((5,)).shape == (5, 4, size)
    assert (z.shape, z.dtype) == ((5, 4, size), torch.float64)
    assert not z.requires_grad
    log_density = prior.log_prob(z)
    assert log_density.shape == (5, 4)
    for row, column in itertools.product(range(5), range(4)):
        torch.testing.assert_close(log_density[row, column], prior.log_prob(z[row, column]))
    torch.testing.assert_close(prior.expand((4,)).log_prob(z), log_density)
    assert prior.expand((4,)).log_prob(z[0, 0]).shape == (4,)
    assert constraints.independent(constraints.real, 1).check(z).all()
    assert torch.distributions.biject_to(prior.support)(z).equal(z)


def test_every_parameter_of_a_prior_gets_a_gradient(pair):
    model, guide = pair
    owners = [model.prior_family] + [guide] * (model.attached_guide is not None)
    model.prior().log_prob(torch.linspace(-1, 1, 10 * model.latent_dim).double().reshape(10, -1)).sum().backward()
    for parameter in itertools.chain(*(owner.parameters() for owner in owners)):
        assert parameter.grad.abs().max() > 0
        parameter.grad = None


def features(z):
    """Numbers of z whose means say where its density is, shape (*, F)."""
    pair = z[..., 0] * z[..., -1]
    return torch.cat([z, z**2, torch.cos(2 * z), torch.stack([pair, torch.sin(pair)], -1)], -1)


@pytest.mark.parametrize(("name", "size"), list(itertools.product(LEARNED, (1, 2))))
def test_a_density_is_that_of_the_draws_and_integrates_to_one(pair_with_prior, isolated_globals, within, name, size):
    prior = pair_with_prior(name, size)[0].prior()
    with isolated_globals(seed=1), torch.no_grad():
        drawn = features(prior.sample((20_000,)))
        axis = torch.linspace(-10, 10, 20_001 if size == 1 else 281, dtype=torch.float64)
        grid = torch.cartesian_prod(*[axis] * size).reshape(-1, size)
        mass = prior.log_prob(grid).exp() * (axis[1] - axis[0]) ** size
        truth = (mass.unsqueeze(-1) * features(grid)).sum(0)
    torch.testing.assert_close(mass.sum(), torch.ones(()).double(), rtol=0, atol=1e-4)
    within(drawn.mean(0), truth, drawn.std(0) / math.sqrt(len(drawn)))


@pytest.mark.parametrize("name", ["learned-normal", "mixture", "vamp"])
def test_mean_and_variance_are_those_of_the_draws(pair_with_prior, isolated_globals, within, name):
    prior = pair_with_prior(name, 3)[0].prior()
    with isolated_globals(seed=1), torch.no_grad():
        z = prior.sample((20_000,))
        mean, variance = prior.mean, prior.variance
    assert prior.expand((4,)).mean.shape == (4, 3)
    assert prior.expand((4,)).variance.shape == (4, 3)
    within(z.mean(0), mean, z.std(0) / math.sqrt(len(z)))
    squares = (z - mean) ** 2
    within(squares.mean(0), variance, squares.std(0) / math.sqrt(len(z)))


def test_the_weights_of_a_prior_are_stored_and_read(pair, isolated_globals):
    model, guide = pair
    with isolated_globals(seed=9):
        twin = VAE(**model.settings).double()
    twin.attach_guide(guide)
    z = torch.linspace(-1, 1, 10 * model.latent_dim).double().reshape(10, -1)
    assert not torch.allclose(twin.prior().log_prob(z), model.prior().log_prob(z))
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.prior().log_prob(z), model.prior().log_prob(z))


def test_a_pair_is_copied_after_use_with_its_link(pair):
    model, guide = pair
    z = torch.zeros(3, model.latent_dim).double()
    used = model.prior()
    log_density = used.log_prob(z)
    other, other_guide = copy.deepcopy((model, guide))
    assert torch.equal(other.prior().log_prob(z), log_density)
    assert other.attached_guide is (None if model.attached_guide is None else other_guide)
    with torch.no_grad():
        for parameter in itertools.chain(other.parameters(), other_guide.parameters()):
            parameter.add_(0.3)
    assert not torch.allclose(other.prior().log_prob(z), log_density)
    assert torch.equal(model.prior().log_prob(z), log_density)


def test_a_fresh_prior_is_near_the_standard_normal(isolated_globals):
    for name in ("learned-normal", "flow"):
        with isolated_globals(seed=0):
            prior = build_part("prior", name, latent_dim=2, data_shape=())
            z = torch.randn(1000, 2)
        truth = StandardNormalPrior(2)().log_prob(z)
        assert (prior().log_prob(z) - truth).abs().max() < (1e-5 if name == "learned-normal" else 1.0)


def test_learned_normal_has_the_closed_form_kl(pair_with_prior, isolated_globals, within):
    model, guide = pair_with_prior("learned-normal", 3)
    x = model.sample(4, seed=1)
    with isolated_globals(seed=2), torch.no_grad():
        q, prior = guide.variational_posterior(x), model.prior()
        z = q.sample((20_000,))
        sampled = q.log_prob(z) - prior.log_prob(z)
        closed = analytic_kl(q, prior)
    within(sampled.mean(0), closed, sampled.std(0) / math.sqrt(len(z)))
    terms = bv.elbo_terms(model, guide, x, num_particles=5)
    torch.testing.assert_close(terms.kl_to_prior, closed)
    torch.testing.assert_close(terms.kl_per_dimension.sum(-1), closed)


@pytest.mark.parametrize("name", ["learned-normal", "mixture"])
def test_no_scale_reaches_zero(isolated_globals, name):
    with isolated_globals(seed=0), torch.no_grad():
        prior = build_part("prior", name, latent_dim=2, data_shape=())
        prior.raw_scale.fill_(-1e4)
        found = prior()
    scales = found.base_dist.scale if name == "learned-normal" else found.components.base_dist.scale
    assert (scales >= SCALE_FLOOR).all()


def test_mixture_is_the_log_of_a_weighted_sum(pair_with_prior):
    model, _ = pair_with_prior("mixture")
    family = model.prior_family
    z = torch.tensor([[0.3, -1.2], [2.0, 0.1], [40.0, -40.0]]).double()
    weights = family.logits.exp() / family.logits.exp().sum()
    scales = torch.log1p(family.raw_scale.exp()) + SCALE_FLOOR
    parts = [weights[c].log() + normal_log_density(z, family.loc[c], scales[c]) for c in range(4)]
    torch.testing.assert_close(model.prior().log_prob(z), torch.stack(parts).logsumexp(0))


def test_the_components_of_a_mixture_start_apart(isolated_globals):
    with isolated_globals(seed=0):
        loc = build_part("prior", {"name": "mixture", "num_components": 50}, latent_dim=2, data_shape=()).loc
    assert torch.pdist(loc).min() > 1e-3


def test_a_mixtures_density_does_not_depend_on_how_it_is_cut(pair_with_prior, monkeypatch):
    prior = pair_with_prior("mixture")[0].prior()
    z = torch.linspace(-2, 2, 84).double().reshape(7, 6, 2)
    whole = prior.log_prob(z)
    monkeypatch.setattr("bayes_vae.models.priors.component_mixture.NUMBERS_AT_ONCE", 5 * 4 * 2)
    torch.testing.assert_close(prior.log_prob(z), whole)


def test_draws_of_a_mixture_come_from_each_component_by_its_weight(isolated_globals, within):
    weights = torch.tensor([0.7, 0.2, 0.1, 0.0])
    places = torch.tensor([0.0, 10.0, 20.0, 30.0]).unsqueeze(1)
    mixture = ComponentMixture(diagonal_normal(places, torch.ones(4, 1)), weights.log())
    with isolated_globals(seed=0):
        z = mixture.sample((10_000,)).squeeze(1)
    nearest = (z.unsqueeze(1) - places.T).abs().argmin(1)
    shares = nearest.bincount(minlength=4) / len(z)
    within(shares, weights, (weights * (1 - weights) / len(z)).sqrt())
    assert z.unique().numel() > 9_900
    assert abs(float(torch.corrcoef(torch.stack([z[:-1], z[1:]]))[0, 1])) < 0.06


@pytest.mark.parametrize("size", [1, 2, 3])
def test_flow_is_the_change_of_variables(pair_with_prior, isolated_globals, size):
    prior = pair_with_prior("flow", size)[0].prior()
    with isolated_globals(seed=0):
        noise = torch.randn(6, size).double()

    def bend(epsilon):
        for transform in prior.transforms:
            epsilon = transform(epsilon)
        return epsilon

    for epsilon in noise:
        jacobian = torch.autograd.functional.jacobian(bend, epsilon)
        truth = normal_log_density(epsilon, torch.zeros(()), torch.ones(())) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(prior.log_prob(bend(epsilon)), truth)


def test_a_flow_of_more_than_one_dimension_bends_each_of_them(pair_with_prior):
    prior = pair_with_prior("flow", 3)[0].prior()
    jacobian = torch.autograd.functional.jacobian(prior.transforms[0], torch.tensor([0.5, -0.4, 1.1]).double())
    assert (jacobian.abs() > 1e-6).all()


@pytest.mark.parametrize("size", [1, 2])
def test_a_flow_remembers_no_inverse(pair_with_prior, size):
    """A z that was drawn without gradients, or before the weights changed, gets the density of now."""
    model, _ = pair_with_prior("flow", size)
    prior = model.prior()
    with torch.random.fork_rng(), torch.no_grad():
        z = prior.sample((4,))
        before = prior.log_prob(z)
    log_density = prior.log_prob(z)
    torch.testing.assert_close(log_density, before)
    gradients = torch.autograd.grad(log_density.sum(), list(model.prior_family.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    with torch.no_grad():
        for parameter in model.prior_family.parameters():
            parameter.add_(0.2)
        after = model.prior().log_prob(z)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, model.prior().log_prob(z.clone()))


def test_unknown_options_are_refused():
    with pytest.raises(SettingsError, match="unknown prior 'spike': choose one of standard-normal, learned-normal"):
        build_part("prior", "spike", latent_dim=2, data_shape=(3,))
    with pytest.raises(SettingsError, match="the prior 'vamp' has no option 'rank': it takes num_components, values"):
        build_part("prior", {"name": "vamp", "rank": 1}, latent_dim=2, data_shape=(3,))
    with pytest.raises(SettingsError, match="the prior 'learned-normal' has no option 'scale': it takes none"):
        build_part("prior", {"name": "learned-normal", "scale": 1}, latent_dim=2, data_shape=(3,))
    for name, option in (("mixture", "num_components"), ("vamp", "num_components"), ("flow", "num_transforms")):
        with pytest.raises(SettingsError, match=f"{option} of the prior '{name}' must be a whole number of at least 1"):
            build_part("prior", {"name": name, option: 0}, latent_dim=2, data_shape=(3,))
    with pytest.raises(SettingsError, match="unknown values 'gray' of the prior 'vamp': choose one of pixels"):
        build_part("prior", {"name": "vamp", "values": "gray"}, latent_dim=2, data_shape=(3,))
