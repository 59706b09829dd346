"""The split of the mean KL, against loops, quadrature and cases whose answer is known."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.distributions import diagonal_normal
from bayes_vae.distributions.mixture import NormalMixture
from bayes_vae.errors import NotDefinedError, NumericalError, SettingsError
from bayes_vae.estimators.aggregate_terms import PARTS
from bayes_vae.guides import ExactLinearGaussianGuide, SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms.randomness import KeyedNoise

FIVE = ("kl_to_prior", "marginal_kl_to_prior", *PARTS)


class TableGuide(SingleLatentGuide):
    """q(z given x) read from a table: the observation is the row number."""

    def __init__(self, loc, scale):
        super().__init__()
        self.loc, self.scale = loc, scale.expand_as(loc)

    def variational_posterior(self, x):
        rows = x[:, 0].long()
        return diagonal_normal(self.loc[rows], self.scale[rows])


@pytest.fixture
def table_pair(isolated_globals):
    """``table_pair(loc, scale)``: model, guide and observations whose posteriors are the rows given."""

    def build(loc, scale):
        loc, scale = (torch.as_tensor(values, dtype=torch.float64) for values in (loc, scale))
        with isolated_globals(seed=0):
            model = LinearGaussianVAE(latent_dim=loc.shape[1], data_shape=(1,)).double()
        return model, TableGuide(loc, scale), torch.arange(len(loc), dtype=torch.float64).unsqueeze(-1)

    return build


CORRELATED = ([[-1.5, -1.0], [0.0, 0.3], [1.2, 1.6]], [[0.5, 0.7], [0.4, 0.3], [0.6, 0.4]])
"""Three posteriors along a diagonal: every part is well above zero."""


def test_parts_are_those_of_the_loops(table_pair):
    """Same draws, one density at a time."""
    model, guide, x = table_pair(*CORRELATED)
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=3, seed=5)
    loc, scale = guide.loc, guide.scale
    z = loc + scale * KeyedNoise(5).normal("z", torch.arange(3), range(3), (2,), loc)

    def log_mean(values):
        return math.log(sum(math.exp(value) for value in values) / len(values))

    for n in range(3):
        shares = []
        for draw in z[:, n]:
            own = reference.normal_log_density(draw, loc[n], scale[n])
            joint = log_mean([reference.normal_log_density(draw, loc[m], scale[m]) for m in range(3)])
            product = sum(
                log_mean(
                    [
                        reference.normal_log_density(draw[d : d + 1], loc[m, d : d + 1], scale[m, d : d + 1])
                        for m in range(3)
                    ]
                )
                for d in range(2)
            )
            shares.append([own - joint, joint - product, product - reference.log_standard_normal(draw)])
        shares = torch.tensor(shares, dtype=torch.float64)
        for i, part in enumerate(PARTS):
            torch.testing.assert_close(getattr(terms, part)[n], shares[:, i].mean(), rtol=0, atol=1e-12)
            error = shares[:, i].std() / 3**0.5
            torch.testing.assert_close(terms.standard_error(part)[n], error, rtol=1e-10, atol=0)
        for name, values in (("kl_to_prior", shares.sum(1)), ("marginal_kl_to_prior", shares[:, 1:].sum(1))):
            torch.testing.assert_close(terms.standard_error(name)[n], values.std() / 3**0.5, rtol=1e-10, atol=0)


def test_figures_cover_the_quadrature(table_pair, within):
    """On a fine grid over z the four integrals are sums."""
    model, guide, x = table_pair(*CORRELATED)
    averages = bv.aggregate_posterior_terms(model, guide, x, num_particles=4000).averages()
    axis = torch.linspace(-7, 7, 1401, dtype=torch.float64)
    cell = float(axis[1] - axis[0])
    by_dimension = torch.distributions.Normal(guide.loc, guide.scale).log_prob(axis[:, None, None])  # (G, N, D)
    own = by_dimension[:, None, :, 0] + by_dimension[None, :, :, 1]  # (G, G, N)
    joint, marginal = own.logsumexp(-1) - math.log(3), by_dimension.logsumexp(1) - math.log(3)
    product = marginal[:, None, 0] + marginal[None, :, 1]
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(axis)
    prior = log_prior[:, None] + log_prior[None, :]
    truth = {
        "index_code_mutual_information": (own.exp() * (own - joint.unsqueeze(-1))).sum() / 3 * cell**2,
        "total_correlation": (joint.exp() * (joint - product)).sum() * cell**2,
        "dimensionwise_kl": (product.exp() * (product - prior)).sum() * cell**2,
        "marginal_kl_to_prior": (joint.exp() * (joint - prior)).sum() * cell**2,
        "kl_to_prior": torch.distributions.kl_divergence(
            torch.distributions.Normal(guide.loc, guide.scale), torch.distributions.Normal(0.0, 1.0)
        ).sum()
        / 3,
    }
    assert truth.keys() == averages.keys()
    for name, average in averages.items():
        within(average.value, truth[name], average.monte_carlo_error)
        assert 0 < average.monte_carlo_error < 0.03 < average.value


@pytest.mark.statistical
def test_errors_are_as_large_as_the_scatter(table_pair):
    """The reported error against the deviation of 400 repeats, which knows it to 3.5 %."""
    model, guide, x = table_pair(*CORRELATED)
    repeats = [bv.aggregate_posterior_terms(model, guide, x, num_particles=20, seed=s).averages() for s in range(400)]
    for name in FIVE:
        scatter = torch.tensor([run[name].value for run in repeats]).std()
        stated = torch.tensor([run[name].monte_carlo_error for run in repeats]).square().mean().sqrt()
        assert abs(math.log(scatter / stated)) < 5 / math.sqrt(2 * 399)


def test_equal_posteriors_tell_nothing_of_the_observation(table_pair, within):
    model, guide, x = table_pair([[0.7, -0.2]] * 6, [0.5, 1.3])
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=200)
    zero = torch.zeros(6, dtype=torch.float64)
    for name in ("index_code_mutual_information", "total_correlation"):
        torch.testing.assert_close(getattr(terms, name), zero, rtol=0, atol=1e-12)
    exact = reference.normal_kl(guide.loc[0], guide.scale[0])
    within(terms.dimensionwise_kl, exact, terms.standard_error("dimensionwise_kl"))
    assert terms.active_units == 0


def test_separated_posteriors_tell_all_of_it(table_pair):
    """Far apart in both dimensions: mutual information log N, and total correlation (D − 1) log N."""
    far = 100.0 * torch.arange(7, dtype=torch.float64)
    terms = bv.aggregate_posterior_terms(*table_pair(torch.stack([far, -far], 1), [1.0, 1.0]), num_particles=5)
    full = torch.full((7,), math.log(7), dtype=torch.float64)
    assert terms.largest_mutual_information == math.log(7)
    for name in ("index_code_mutual_information", "total_correlation"):
        torch.testing.assert_close(getattr(terms, name), full, rtol=0, atol=1e-9)


def test_total_correlation_is_zero_where_one_dimension_varies(table_pair):
    far = torch.tensor([[0.0, 0.3], [50.0, 0.3], [100.0, 0.3]])
    terms = bv.aggregate_posterior_terms(*table_pair(far, [1.0, 0.4]), num_particles=5)
    torch.testing.assert_close(terms.total_correlation, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    assert terms.active.tolist() == [True, False]
    assert terms.active_units == 1


def test_mutual_information_never_exceeds_its_cap(small_vae, linear_gaussian, rescaled_guide):
    """Draw by draw q(z) is at least q(z given x_n) / N, so no estimate can."""
    linear, observations = linear_gaussian
    for model, guide, x in (small_vae, (linear, rescaled_guide(linear, 0.01), observations)):
        terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=50)
        assert (terms.index_code_mutual_information <= terms.largest_mutual_information + 1e-12).all()
        reading = terms.averages()["index_code_mutual_information"].reading
        assert str(reading) == f"at most log N = {math.log(len(x)):.3f}"


def test_the_parts_telescope(small_vae):
    model, guide, x = small_vae
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=70, seed=3)
    torch.testing.assert_close(terms.kl_to_prior, terms.index_code_mutual_information + terms.marginal_kl_to_prior)
    torch.testing.assert_close(terms.marginal_kl_to_prior, terms.total_correlation + terms.dimensionwise_kl)
    sampled = bv.elbo_terms(model, guide, x, num_particles=70, seed=3, kl="sampled")
    torch.testing.assert_close(terms.kl_to_prior, sampled.kl_to_prior, rtol=0, atol=1e-10)
    torch.testing.assert_close(terms.standard_error("kl_to_prior"), sampled.kl_to_prior_error, rtol=1e-8, atol=0)
    averages = {name: average.value for name, average in terms.averages().items()}
    assert math.isclose(averages["kl_to_prior"], sum(averages[part] for part in PARTS), rel_tol=1e-12)


def test_closed_form_by_dimension(small_vae, within):
    model, guide, x = small_vae
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=500)
    exact = bv.elbo_terms(model, guide, x, num_particles=2).kl_per_dimension
    torch.testing.assert_close(terms.kl_per_dimension, exact)
    torch.testing.assert_close(terms.mean_kl_per_dimension, exact.mean(0))
    within(terms.kl_to_prior, exact.sum(1), terms.standard_error("kl_to_prior"))
    means = guide.variational_posterior(x).mean
    torch.testing.assert_close(terms.posterior_mean_variance, (means - means.mean(0)).square().mean(0))


@pytest.mark.parametrize(("batch_size", "chunk_size"), [(1, 1), (2, 3), (5, 2), (3, None), (None, 4)])
def test_batch_and_chunk_change_nothing(linear_gaussian, rescaled_guide, monkeypatch, batch_size, chunk_size):
    model, x = linear_gaussian
    pair = model, rescaled_guide(model, 1.2), x
    whole = bv.aggregate_posterior_terms(*pair, num_particles=9)
    monkeypatch.setattr("bayes_vae.estimators.aggregate_posterior.DRAWS_AT_ONCE", 4)
    calls = []
    progress = lambda done, total: calls.append((done, total))  # noqa: E731
    cut = bv.aggregate_posterior_terms(
        *pair, num_particles=9, batch_size=batch_size, chunk_size=chunk_size, progress=progress
    )
    for name in (*FIVE, "covariance", "kl_per_dimension", "posterior_mean_variance"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=0, atol=1e-12)
    assert calls[-1] == (7, 7)


def test_work_at_once_is_bounded(table_pair, monkeypatch):
    """Draws times components times dimensions in one pass stay under the limit, whatever K and N."""
    largest = []

    def watched(self, z, components=slice(None)):
        density = original(self, z, components)
        largest.append(density.numel())
        return density

    original = NormalMixture.log_density
    monkeypatch.setattr("bayes_vae.distributions.mixture.NormalMixture.log_density", watched)
    monkeypatch.setattr("bayes_vae.estimators.aggregate_posterior.DRAWS_AT_ONCE", 10)
    monkeypatch.setattr("bayes_vae.distributions.mixture.DENSITIES_AT_ONCE", 200)
    bv.aggregate_posterior_terms(*table_pair(torch.arange(80.0).reshape(40, 2), [1.0, 1.0]), num_particles=33)
    assert max(largest) == 200


def test_noise_goes_with_the_index(table_pair):
    model, guide, x = table_pair(*CORRELATED)
    order = torch.tensor([2, 0, 1])
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=4)
    turned = bv.aggregate_posterior_terms(model, guide, x[order], num_particles=4, index=order)
    for name in FIVE:
        torch.testing.assert_close(getattr(turned, name), getattr(terms, name)[order], rtol=0, atol=1e-12)
    other = bv.aggregate_posterior_terms(model, guide, x, num_particles=4, seed=1)
    assert (other.kl_to_prior != terms.kl_to_prior).all()


def test_one_particle_has_no_error(small_vae):
    terms = bv.aggregate_posterior_terms(*small_vae, num_particles=1, data_policy="static")
    assert all(terms.standard_error(name).isnan().all() for name in FIVE)
    assert terms.provenance.data_policy == "static"
    assert (terms.num_particles, terms.num_observations) == (1, 5)


def test_programs_of_no_normals_are_refused():
    def program(x):
        with pyro.plate("rows", len(x)):
            return pyro.sample("z", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    with pytest.raises(NotDefinedError, match="aggregate_posterior_terms needs .* does not expose its distributions"):
        bv.aggregate_posterior_terms(model, program, torch.ones(3, 2))


class OtherGuide(SingleLatentGuide):
    """The posteriors of a table guide, told as another distribution."""

    def __init__(self, table, tell):
        super().__init__()
        self.table, self.tell = table, tell

    def variational_posterior(self, x):
        return self.tell(self.table.variational_posterior(x))


def full_covariance(q):
    return dist.MultivariateNormal(q.mean, scale_tril=q.stddev.diag_embed(), validate_args=False)


def sheared(q):
    """A flow: the second number is moved by the first, so that the marginals are no longer those of the normal."""
    return dist.TransformedDistribution(q, [Shear()], validate_args=False)


class Shear(torch.distributions.transforms.Transform):
    domain = codomain = torch.distributions.constraints.real_vector
    bijective = True

    def __eq__(self, other):
        return isinstance(other, Shear)

    def _call(self, z):
        return torch.stack([z[..., 0], z[..., 1] + 0.7 * z[..., 0] ** 2], -1)

    def _inverse(self, z):
        return torch.stack([z[..., 0], z[..., 1] - 0.7 * z[..., 0] ** 2], -1)

    def log_abs_det_jacobian(self, z, moved):
        return torch.zeros_like(z[..., 0])


class OneWay(Shear):
    def _inverse(self, z):
        raise NotImplementedError


def test_a_full_covariance_that_happens_to_factorize_has_the_same_parts(table_pair):
    """Same noise, same draws: the path for any guide agrees with the one for factorized normals."""
    model, guide, x = table_pair(*CORRELATED)
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=5)
    other = bv.aggregate_posterior_terms(model, OtherGuide(guide, full_covariance), x, num_particles=5)
    for name in (*FIVE, "covariance", "posterior_mean_variance"):
        torch.testing.assert_close(getattr(other, name), getattr(terms, name), rtol=0, atol=1e-10)
    assert other.names == terms.names
    with pytest.raises(NotDefinedError, match="kl_per_dimension is not defined here: .* MultivariateNormal"):
        _ = other.kl_per_dimension


def test_correlated_posteriors_cover_the_quadrature(linear_gaussian, within):
    """The exact posterior of seven observations, on a fine grid."""
    model, x = linear_gaussian
    guide = ExactLinearGaussianGuide(model)
    averages = bv.aggregate_posterior_terms(model, guide, x, num_particles=3000).averages()
    q = guide.variational_posterior(x)
    reach = float((q.mean.abs() + 8 * q.variance.sqrt()).detach().max())
    axis = torch.linspace(-reach, reach, 801, dtype=torch.float64)
    cell = float(axis[1] - axis[0])
    z = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    own = q.log_prob(z.unsqueeze(2)).detach()  # (G, G, N)
    joint = own.logsumexp(-1) - math.log(7)
    by_dimension = torch.distributions.Normal(q.mean, q.variance.sqrt()).log_prob(axis[:, None, None]).detach()
    marginal = by_dimension.logsumexp(1) - math.log(7)
    product = marginal[:, None, 0] + marginal[None, :, 1]
    prior = model.prior().log_prob(z)
    truth = {
        "index_code_mutual_information": (own.exp() * (own - joint.unsqueeze(-1))).sum() / 7 * cell**2,
        "total_correlation": (joint.exp() * (joint - product)).sum() * cell**2,
        "dimensionwise_kl": (joint.exp() * (product - prior)).sum() * cell**2,
        "marginal_kl_to_prior": (joint.exp() * (joint - prior)).sum() * cell**2,
    }
    for name, value in truth.items():
        within(averages[name].value, value, averages[name].monte_carlo_error)


def test_a_flow_has_the_parts_that_need_no_marginals(table_pair, within):
    """The mutual information is that of the base, since the same map acts on every posterior."""
    model, guide, x = table_pair(*CORRELATED)
    base = bv.aggregate_posterior_terms(model, guide, x, num_particles=500)
    flow = bv.aggregate_posterior_terms(model, OtherGuide(guide, sheared), x, num_particles=500)
    torch.testing.assert_close(
        flow.index_code_mutual_information, base.index_code_mutual_information, rtol=0, atol=1e-10
    )
    moved = Shear()(guide.loc + guide.scale * KeyedNoise(0).normal("z", torch.arange(3), range(500), (2,), guide.loc))
    original = moved.clone()
    original[..., 1] -= 0.7 * moved[..., 0] ** 2
    own = diagonal_normal(guide.loc, guide.scale).log_prob(original)
    kl = (own - model.prior().log_prob(moved)).mean(0)
    torch.testing.assert_close(flow.kl_to_prior, kl, rtol=0, atol=1e-10)
    assert list(flow.averages()) == ["kl_to_prior", "index_code_mutual_information", "marginal_kl_to_prior"]
    sums = flow.index_code_mutual_information + flow.marginal_kl_to_prior
    torch.testing.assert_close(sums, flow.kl_to_prior)
    for name in ("total_correlation", "dimensionwise_kl", "kl_per_dimension", "posterior_mean_variance"):
        with pytest.raises(NotDefinedError, match=f"{name} is not defined here: .* TransformedDistribution"):
            getattr(flow, name)


@pytest.mark.parametrize(("batch_size", "chunk_size"), [(1, 1), (2, 3), (None, 2)])
def test_batch_and_chunk_change_nothing_for_any_guide(table_pair, monkeypatch, batch_size, chunk_size):
    model, guide, x = table_pair(*CORRELATED)
    pair = model, OtherGuide(guide, full_covariance), x
    whole = bv.aggregate_posterior_terms(*pair, num_particles=9)
    monkeypatch.setattr("bayes_vae.distributions.mixture.DRAWS_AT_ONCE", 4)
    cut = bv.aggregate_posterior_terms(*pair, num_particles=9, batch_size=batch_size, chunk_size=chunk_size)
    for name in (*FIVE, "covariance"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=0, atol=1e-12)


def test_a_density_at_own_draws_only_is_refused(table_pair):
    model, guide, x = table_pair(*CORRELATED)
    one_way = OtherGuide(guide, lambda q: dist.TransformedDistribution(q, [OneWay(cache_size=1)], validate_args=False))
    with pytest.raises(NotDefinedError, match="is known at its own draws only"):
        bv.aggregate_posterior_terms(model, one_way, x)


@pytest.mark.parametrize("name", ["num_particles", "batch_size", "chunk_size"])
def test_numbers_below_one_are_refused(small_vae, name):
    with pytest.raises(SettingsError, match=f"{name} must be a whole number of at least 1, got 0"):
        bv.aggregate_posterior_terms(*small_vae, **{name: 0})


def test_unknown_error_is_refused(small_vae):
    terms = bv.aggregate_posterior_terms(*small_vae, num_particles=2)
    with pytest.raises(SettingsError, match="name must be one of .*kl_to_prior.*, got 'elbo'"):
        terms.standard_error("elbo")


def test_a_scale_of_zero_is_reported(table_pair):
    with pytest.raises(NumericalError, match="a scale that reached zero"):
        bv.aggregate_posterior_terms(*table_pair([[0.0], [1.0]], [0.0]))
