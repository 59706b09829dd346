"""Quadrature against exact evidence, a grid in plain torch, and a posterior with two modes."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.distributions import BernoulliLogits
from bayes_vae.errors import NotDefinedError, NumericalError, SettingsError
from bayes_vae.estimators import quadrature
from bayes_vae.estimators.latent_space import LatentSpace
from bayes_vae.estimators.quadrature_nodes import GaussHermite, TrapezoidGrid, product_indices
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE, LinearGaussianVAE

SOURCES = ("distributions", "traces")
METHODS = ("gauss-hermite", "grid")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("latent_dim", [1, 2, 3])
@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_linear_gaussian_evidence_is_exact(rescaled_guide, isolated_globals, method, latent_dim, factor):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(latent_dim, (5,), noise_scale=0.7).double()
        x = model.sample(4, seed=1)
    found = bv.quadrature_log_evidence(model, rescaled_guide(model, factor), x, method=method)
    truth = model.log_evidence(x).detach()
    torch.testing.assert_close(found.log_evidence, truth, rtol=0, atol=1e-8)
    assert found.converged.all()
    assert (found.refinement_error <= 1e-6).all()
    assert (found.num_dimensions, found.num_observations, found.method) == (latent_dim, 4, method)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", METHODS)
def test_nonlinear_model_against_the_reference_grid(small_vae, method, source):
    model, guide, x = small_vae
    decoder = lambda z: model.decoder(z).detach()  # noqa: E731
    truth = torch.tensor([reference.log_evidence_by_grid(row, decoder) for row in x.flatten(1)], dtype=torch.float64)
    found = bv.quadrature_log_evidence(model, guide, x, method=method, source=source, tolerance=1e-9)
    torch.testing.assert_close(found.log_evidence, truth, rtol=0, atol=1e-9)
    assert found.provenance.source == source


@pytest.mark.parametrize("method", METHODS)
def test_the_error_of_the_coarser_level_is_the_one_stated(linear_gaussian, rescaled_guide, method):
    """Stopped early, the finest level lies within its stated error of the truth, and says that it did not converge."""
    model, x = linear_gaussian
    found = bv.quadrature_log_evidence(
        model, rescaled_guide(model, 2.5), x, method=method, num_points=4, tolerance=1e-12, max_nodes=8**2
    )
    assert found.num_points.tolist() == [8] * len(x)
    assert not found.converged.any()
    actual = (found.log_evidence - model.log_evidence(x)).abs()
    assert (actual > 1e-9).all()
    assert (actual < found.refinement_error).all()


def test_a_program_that_is_not_defined_over_the_prior_is_integrated_about_the_guide():
    """The square root has no value below −3, where the grid that looks for other modes has nodes, and the rule none."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
            pyro.sample("x", dist.Normal((z + 3).sqrt(), 0.1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.square() - 3, 0.3))

    x = torch.tensor([2.0, 2.2], dtype=torch.float64)
    found = bv.quadrature_log_evidence(model, guide, x)
    z = torch.linspace(-3, 9, 200_001, dtype=torch.float64).unsqueeze(-1)
    joint = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal((z + 3).sqrt(), 0.1).log_prob(x)
    torch.testing.assert_close(found.log_evidence, joint.logsumexp(0) + math.log(12 / 200_000), rtol=0, atol=1e-4)
    assert found.converged.all()


def square_model(noise_scale):
    """x is z² and noise: both roots explain it, and the guide knows one of them."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
            pyro.sample("x", dist.Normal(z.square(), noise_scale), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.sqrt(), noise_scale / (2 * x.sqrt())))

    return model, guide


def square_evidence(x, noise_scale):
    z = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    joint = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z.square(), noise_scale).log_prob(x.unsqueeze(-1))
    return joint.logsumexp(-1) + math.log(24 / 400_000)


def test_two_near_modes_are_flagged_by_gauss_hermite_and_right_on_the_grid():
    model, guide = square_model(0.6)
    x = torch.tensor([1.3, 1.6], dtype=torch.float64)
    truth = square_evidence(x, 0.6)
    short = bv.quadrature_log_evidence(model, guide, x, max_nodes=32)
    assert not short.converged.any()
    assert (short.refinement_error > 0.01).all()
    grid = bv.quadrature_log_evidence(model, guide, x, method="grid")
    torch.testing.assert_close(grid.log_evidence, truth, rtol=0, atol=1e-8)
    assert grid.converged.all()


def test_a_far_mode_is_unseen_by_gauss_hermite_and_found_by_the_grid():
    """The modes are 160 guide scales apart: the nodes see one of two equal halves, and agree with each other."""
    model, guide = square_model(0.1)
    x = torch.tensor([4.0, 3.0], dtype=torch.float64)
    truth = square_evidence(x, 0.1)
    blind = bv.quadrature_log_evidence(model, guide, x)
    torch.testing.assert_close(blind.log_evidence, truth - math.log(2), rtol=0, atol=1e-5)
    grid = bv.quadrature_log_evidence(model, guide, x, method="grid")
    torch.testing.assert_close(grid.log_evidence, truth, rtol=0, atol=1e-8)
    assert (grid.log_evidence - blind.log_evidence > 100 * grid.refinement_error).all()


def test_a_grid_too_coarse_for_the_guide_does_not_count_as_converged():
    """Both levels miss the narrow peaks, so that their agreement would mean nothing."""
    model, guide = square_model(0.01)
    x = torch.tensor([4.0], dtype=torch.float64)
    found = bv.quadrature_log_evidence(model, guide, x, method="grid", max_nodes=128, tolerance=1e3)
    assert not found.converged.any()


@pytest.mark.parametrize("method", METHODS)
def test_several_sites_and_constrained_supports(gamma_poisson, method):
    model, guide, x, truth = gamma_poisson
    found = bv.quadrature_log_evidence(model, guide, x, method=method, tolerance=1e-9)
    torch.testing.assert_close(found.log_evidence, truth, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_several_batches(rescaled_guide, isolated_globals, method):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(1, (2,)).double()
        x = model.sample(40, seed=1)
    found = bv.quadrature_log_evidence(model, rescaled_guide(model, 1.5), x, method=method)
    torch.testing.assert_close(found.log_evidence, model.log_evidence(x).detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_sources_agree(small_vae, method):
    model, guide, x = small_vae
    first, second = (bv.quadrature_log_evidence(model, guide, x, method=method, source=s) for s in SOURCES)
    torch.testing.assert_close(first.log_evidence, second.log_evidence, rtol=0, atol=1e-12)
    torch.testing.assert_close(first.num_points, second.num_points)


@pytest.mark.parametrize("method", METHODS)
def test_result_does_not_depend_on_the_batch_or_the_chunk(small_vae, monkeypatch, method):
    model, guide, x = small_vae
    whole = bv.quadrature_log_evidence(model, guide, x, method=method)
    rows = torch.tensor([3, 1])
    monkeypatch.setattr(quadrature, "ROWS_AT_ONCE", 14)
    some = bv.quadrature_log_evidence(model, guide, x[rows], method=method, index=rows)
    torch.testing.assert_close(some.log_evidence, whole.log_evidence[rows], rtol=0, atol=1e-12)
    torch.testing.assert_close(some.refinement_error, whole.refinement_error[rows], rtol=0, atol=1e-12)
    assert torch.equal(some.num_points, whole.num_points[rows])


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_bounded_by_chunks_of_nodes(small_vae, monkeypatch, method):
    model, guide, x = small_vae
    sizes = []

    def spy(z, decode=model.likelihood):
        sizes.append(z.shape[:-1].numel())
        return decode(z)

    monkeypatch.setattr(model, "likelihood", spy)
    monkeypatch.setattr(quadrature, "ROWS_AT_ONCE", 40)
    monkeypatch.setattr(quadrature, "PILOT_DRAWS", 8)
    bv.quadrature_log_evidence(model, guide, x, method=method)
    assert max(sizes) == 40


def test_single_precision_stops_at_its_own_rounding(isolated_globals):
    with isolated_globals(seed=0):
        networks = {"latent_dim": 2, "data_shape": (3, 3), "hidden_dims": (5,)}
        model, guide = VAE(**networks), AmortizedNormalGuide(**networks)
        x = model.sample(3, seed=1)
    found = bv.quadrature_log_evidence(model, guide, x, tolerance=1e-12)
    finer = bv.quadrature_log_evidence(model.double(), guide.double(), x.double(), tolerance=1e-12)
    assert found.log_evidence.dtype == torch.float64
    assert found.converged.all()
    assert ((found.log_evidence - finer.log_evidence).abs() <= found.refinement_error).all()
    assert (found.refinement_error > 1e-7).all()


def test_averages_add_refinement_errors_and_say_what_they_are(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    settings = {"num_points": 4, "tolerance": 1e-12, "max_nodes": 64, "data_policy": "none"}
    found = bv.quadrature_log_evidence(model, rescaled_guide(model, 1.5), x, **settings)
    figure = found.averages()["log_evidence"]
    assert figure.value == pytest.approx(found.log_evidence.mean().item())
    assert figure.monte_carlo_error == pytest.approx(found.refinement_error.mean().item())
    assert figure.data_error == pytest.approx(found.log_evidence.std().item() / 7**0.5)
    assert figure.num_particles == 0
    assert "the first error is from refinement, not Monte Carlo; not converged for 7 of 7" in str(figure)
    assert found.provenance.data_policy == "none"
    exact = bv.quadrature_log_evidence(model, rescaled_guide(model, 1.5), x)
    assert str(exact.reading) == "quadrature: the first error is from refinement, not Monte Carlo"


def test_progress_is_told(small_vae):
    model, guide, x = small_vae
    seen = []
    bv.quadrature_log_evidence(model, guide, x, method="grid", progress=lambda *done: seen.append(done))
    assert seen == [(5, 5)]


@pytest.mark.parametrize("points", [2, 16, 256])
def test_gauss_hermite_integrates_normal_moments(points):
    """A standard normal times v⁰ and v²: both integrals are one."""
    space = LatentSpace([], torch.zeros(1, 1), torch.ones(1, 1))
    v, log_weights = GaussHermite(space).nodes(product_indices(range(points), points, 1, "cpu"), points, 0)
    mass = (log_weights + dist.Normal(0.0, 1.0).log_prob(v[..., 0])).exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-12)
    assert (mass * v[..., 0].square()).sum().item() == pytest.approx(1, abs=1e-12)


def test_the_grid_covers_guide_and_prior_and_grows():
    """A guide at (1, 0) with scales (0.5, 2) and a standard-normal prior: the box in z, by hand."""
    zero, one = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
    space = LatentSpace([], torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.5, 2.0]]).double())
    grid = TrapezoidGrid(space, LatentSpace([], zero, one))
    which = product_indices(range(25), 5, 2, torch.device("cpu"))
    v, log_weights = grid.nodes(which, 5, 0)
    z = space.loc + space.scale * v
    expected_low, expected_high = torch.tensor([-5.0, -12.0]).double(), torch.tensor([5.0, 12.0]).double()
    torch.testing.assert_close(z.amin((0, 1)), expected_low)
    torch.testing.assert_close(z.amax((0, 1)), expected_high)
    volume = (expected_high - expected_low).prod() / space.scale.prod()
    torch.testing.assert_close(log_weights.exp().sum(), volume)
    corner = log_weights[0] - log_weights[12]  # of a node at the middle
    assert corner.item() == pytest.approx(math.log(1 / 4))
    wider = grid.nodes(which, 5, 2)[0]
    torch.testing.assert_close(wider.amax((0, 1)) - wider.amin((0, 1)), 1.25**2 * (v.amax((0, 1)) - v.amin((0, 1))))
    assert grid.resolves(42, 0).tolist() == [True]
    assert grid.resolves(20, 0).tolist() == [False]


def test_four_dimensions_are_refused(isolated_globals):
    with isolated_globals(seed=0):
        networks = {"latent_dim": 4, "data_shape": (3,), "hidden_dims": (4,)}
        model, guide = VAE(**networks), AmortizedNormalGuide(**networks)
    message = "at most 3 latent dimensions in all, and this pair has 4: .* Use annealed_log_evidence"
    with pytest.raises(NotDefinedError, match=message):
        bv.quadrature_log_evidence(model, guide, torch.zeros(2, 3))


def test_discrete_latents_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.3)))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.5)))

    with pytest.raises(NotDefinedError, match="latent site 'z' is discrete: quadrature integrates"):
        bv.quadrature_log_evidence(model, guide, torch.zeros(3))


class BrokenVAE(VAE):
    """A decoder whose logits are NaN far from the origin."""

    def likelihood(self, z):
        return BernoulliLogits(torch.where(z[..., :1].abs() > 3, torch.nan, self.decoder(z)))


def test_nan_at_a_node_is_an_error(isolated_globals):
    with isolated_globals(seed=0):
        networks = {"latent_dim": 1, "data_shape": (3,), "hidden_dims": (4,)}
        model, guide = BrokenVAE(**networks), AmortizedNormalGuide(**networks)
    message = r"NaN or \+infinity at a node for 2 observation\(s\), the first with index 5"
    with pytest.raises(NumericalError, match=message):
        bv.quadrature_log_evidence(model, guide, torch.zeros(2, 3), index=torch.tensor([5, 7]))


def test_zero_at_every_node_is_an_error():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.factor("impossible", torch.full_like(z, -torch.inf))

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 0.5))

    with pytest.raises(NumericalError, match=r"zero at every node for 2 observation\(s\), the first with index 5"):
        bv.quadrature_log_evidence(model, guide, torch.zeros(2), index=torch.tensor([5, 7]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "simpson"}, "method must be 'gauss-hermite' or 'grid', got 'simpson'"),
        ({"num_points": 1}, "num_points must be a whole number of at least 2, got 1"),
        ({"tolerance": float("nan")}, "tolerance must be positive, in nats, got nan"),
        ({"tolerance": 0.0}, "tolerance must be positive, in nats, got 0"),
        ({"num_points": 129}, "no room for a second level of 258 points in 2 dimensions, .* at most 256 points"),
        ({"max_nodes": 1000}, "and max_nodes=1000 nodes: take fewer points"),
    ],
)
def test_settings_are_checked(linear_gaussian, rescaled_guide, settings, message):
    model, x = linear_gaussian
    with pytest.raises(SettingsError, match=message):
        bv.quadrature_log_evidence(model, rescaled_guide(model, 1.0), x, **settings)
