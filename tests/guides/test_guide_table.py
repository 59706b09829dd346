"""Every single-latent guide in one table: shapes, gradients, density against sampler, closed form, noise, settings."""

import copy
import json
import math

import pytest
import torch

import bayes_vae as bv
from bayes_vae.distributions import analytic_kl, draw_from_noise, has_normal_base, noise_shape
from bayes_vae.errors import NotDefinedError, SettingsError, ShapeError
from bayes_vae.guides import (
    AmortizedNormalGuide,
    AutoregressiveFlowGuide,
    ExactLinearGaussianGuide,
    FullCovarianceGuide,
    LocalNormalGuide,
    LowRankGuide,
    PriorGuide,
    SemiAmortizedGuide,
    SplineFlowGuide,
)
from bayes_vae.models import VAE, LinearGaussianVAE

D, SHAPE = 3, (2, 3)
NETWORKS = {"latent_dim": D, "data_shape": SHAPE, "hidden_dims": (6,)}
CASES = {
    "normal": lambda model: AmortizedNormalGuide(**NETWORKS),
    "full-covariance": lambda model: FullCovarianceGuide(**NETWORKS),
    "low-rank": lambda model: LowRankGuide(**NETWORKS, rank=2),
    "autoregressive-flow": lambda model: AutoregressiveFlowGuide(**NETWORKS, context_dim=4),
    "spline-flow": lambda model: SplineFlowGuide(**NETWORKS, context_dim=4),
    "local": lambda model: LocalNormalGuide(D, 20),
    "semi-amortized": lambda model: SemiAmortizedGuide(model, **NETWORKS, num_refinements=2),
    "prior": PriorGuide,
}
FLOWS = ("autoregressive-flow", "spline-flow")
INDEX = torch.tensor([7, 3, 11, 2])


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def pair(name, isolated_globals):
    """Model, guide with its parameters moved off their start, and four observations."""
    with isolated_globals(seed=5):
        model = VAE(**NETWORKS).double()
        guide = CASES[name](model).double()
        with torch.no_grad():
            for parameter in guide.parameters():
                parameter.add_((0.01 if name == "local" else 0.15) * torch.randn_like(parameter))
        if name == "local":
            guide.fitted.fill_(True)
    return model, guide.eval(), model.sample(4, seed=1)


def posterior(guide, x):
    return guide.variational_posterior(x, **({"index": INDEX} if guide.needs_index else {}))


def test_shapes(pair):
    _, guide, x = pair
    q = posterior(guide, x)
    assert (q.batch_shape, q.event_shape) == ((4,), (D,))


def test_a_gradient_reaches_every_parameter(pair, isolated_globals):
    model, guide, x = pair
    with isolated_globals(seed=0):
        q = posterior(guide, x)
        z = q.rsample((2,))
        (model.likelihood(z).log_prob(x) + q.log_prob(z)).sum().backward()
    for parameter_name, parameter in guide.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


def test_the_density_is_that_of_the_draws(pair, isolated_globals, within):
    """The mean of h(z) / q(z) over draws from q is one for every density h inside q; wrong scales or signs show."""
    _, guide, x = pair
    count = 20_000
    with isolated_globals(seed=3), torch.no_grad():
        q = posterior(guide, x)
        z = q.sample((count,))
        inner = torch.distributions.MultivariateNormal(
            z.mean(0), 0.5 * torch.stack([torch.cov(z[:, n].T) for n in range(4)])
        )
        ratios = (inner.log_prob(z) - q.log_prob(z)).exp()
    within(ratios.mean(0), 1.0, ratios.std(0) / math.sqrt(count))


def test_the_density_is_normalized_on_a_grid(name, isolated_globals):
    networks = {**NETWORKS, "latent_dim": 2}
    with isolated_globals(seed=5):
        model = VAE(**networks).double()
        kind = type(CASES[name](VAE(**NETWORKS)))
        first = (model,) if name in ("semi-amortized", "prior") else ()
        sizes = {"local": {"latent_dim": 2, "num_observations": 20}, "prior": {}}.get(name, networks)
        guide = kind(*first, **sizes).double().eval()
        with torch.no_grad():
            for parameter in guide.parameters():
                parameter.add_((0.01 if name == "local" else 0.1) * torch.randn_like(parameter))
    if name == "local":
        guide.fitted.fill_(True)
    line = torch.linspace(-7, 7, 225 if name == "spline-flow" else 113, dtype=torch.float64)  # a spline has kinks
    index = {"index": INDEX[:1]} if guide.needs_index else {}
    with torch.no_grad(), isolated_globals(seed=6):
        q = guide.variational_posterior(model.sample(1, seed=1), **index)
        drawn = q.sample((500,))
        middle, width = drawn.mean((0, 1)), drawn.std((0, 1))
        density = q.log_prob((middle + width * torch.cartesian_prod(line, line)).unsqueeze(1)).exp()
    cell = width.prod() * (line[1] - line[0]) ** 2
    assert (density.sum() * cell).item() == pytest.approx(1, abs=3e-4)


def test_the_closed_form_kl_is_the_sampled_one(name, pair, within):
    model, guide, x = pair
    about = {"index": INDEX, "seed": 2}
    sampled = bv.elbo_terms(model, guide, x, 4000, kl="sampled", **about)
    if name in FLOWS:
        assert bv.elbo_terms(model, guide, x, 2, **about).kl == "sampled"
        with pytest.raises(NotDefinedError, match="no closed-form KL from TransformedDistribution"):
            bv.elbo_terms(model, guide, x, 2, kl="analytic", **about)
        return
    closed = bv.elbo_terms(model, guide, x, 2, kl="analytic", **about)
    assert bv.elbo_terms(model, guide, x, 2, **about).kl == "analytic"
    within(sampled.kl_to_prior, closed.kl_to_prior, sampled.kl_to_prior_error.clamp(min=1e-9))


def test_both_sources_give_the_same_terms(pair):
    model, guide, x = pair
    read, traced = (
        bv.log_terms(model, guide, x, 3, seed=0, index=INDEX, source=way) for way in ("distributions", "traces")
    )
    for term in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(getattr(read, term), getattr(traced, term))


def test_noise_is_keyed_by_observation(pair):
    """A result depends neither on the batch nor on the order."""
    model, guide, x = pair
    whole = bv.log_terms(model, guide, x, 3, seed=0, index=INDEX)
    assert whole.provenance.randomness == "per observation"
    order = torch.tensor([2, 0, 3, 1])
    moved = bv.log_terms(model, guide, x[order], 3, seed=0, index=INDEX[order], batch_size=1)
    torch.testing.assert_close(moved.log_importance_weights, whole.log_importance_weights[:, order])


def test_keyed_noise_draws_by_the_same_law(pair, isolated_globals, within):
    _, guide, x = pair
    count = 20_000
    with isolated_globals(seed=4), torch.no_grad():
        q = posterior(guide, x)
        assert has_normal_base(q)
        keyed = draw_from_noise(q, torch.randn(count, *noise_shape(q), dtype=torch.float64))
        drawn = q.sample((count,))
    for power in (1, 2):
        ours, theirs = keyed**power, drawn**power
        within(ours.mean(0), theirs.mean(0), torch.hypot(ours.std(0), theirs.std(0)) / math.sqrt(count))
    products = [part[..., :1] * part[..., 1:] for part in (keyed, drawn)]
    error = torch.hypot(products[0].std(0), products[1].std(0)) / math.sqrt(count)
    within(products[0].mean(0), products[1].mean(0), error)


def test_settings_are_json_and_rebuild_the_guide(name, pair, clean_globals):
    model, guide, x = pair
    settings = json.loads(json.dumps(guide.settings))
    follows = {"model": model} if name in ("semi-amortized", "prior") else {}
    twin = type(guide)(**follows, **settings).double().eval()
    twin.load_state_dict(guide.state_dict())
    terms = [bv.log_terms(model, one, x, 2, seed=0, index=INDEX).log_guide for one in (guide, twin)]
    torch.testing.assert_close(*terms)


def test_a_copy_is_on_its_own(pair):
    model, guide, x = pair
    before = bv.log_terms(model, guide, x, 2, seed=0, index=INDEX).log_guide
    twin = copy.deepcopy(guide)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(bv.log_terms(model, guide, x, 2, seed=0, index=INDEX).log_guide, before)


def test_a_step_of_each_objective_runs(name, pair, isolated_globals):
    model, guide, x = pair
    for objective in (bv.Elbo(), bv.StickingTheLandingObjective(), bv.DoublyReparameterizedObjective(3)):
        with isolated_globals(seed=0):
            module = objective(model, guide)
            module(x, index=INDEX).backward()
        grads = [parameter.grad for parameter in guide.parameters()]
        assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_annealing_from_each_guide_reaches_the_exact_evidence(name, isolated_globals, within):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(D, SHAPE, noise_scale=0.9).double()
        guide = CASES[name](model).double().eval()
    if name == "local":
        guide.fitted.fill_(True)
    x = model.sample(4, seed=1)
    annealed = bv.annealed_log_evidence(model, guide, x, num_temperatures=60, num_chains=40, index=INDEX, seed=0)
    with torch.no_grad():
        truth = model.log_evidence(x)
    within(annealed.log_evidence.mean(), truth.mean(), annealed.standard_error.square().sum().sqrt() / 4)


def test_full_covariance_can_be_the_exact_posterior(linear_gaussian, isolated_globals):
    """The sharpest test there is: then every log weight is log p(x)."""
    model, x = linear_gaussian
    exact = model.exact_posterior(x)
    with isolated_globals(seed=0):
        guide = FullCovarianceGuide(2, (5,), hidden_dims=()).double()
    with torch.no_grad():
        mean = torch.linalg.solve(model._precision(), model.weight.T * (-2 * model.log_scale).exp())
        factor = exact.scale_tril[0]
        layer = guide.encoder[0]
        layer.weight.zero_()
        layer.weight[:2], layer.bias[:2] = mean, -mean @ model.bias
        layer.bias[2:4] = torch.expm1(factor.diagonal() - 1e-5).log() - math.log(math.e - 1)
        layer.bias[4] = factor[1, 0]
        evidence = model.log_evidence(x)
    weights = bv.log_terms(model, guide, x, 5, seed=0).log_importance_weights
    torch.testing.assert_close(weights, evidence.expand_as(weights), rtol=0, atol=1e-8)
    same = bv.log_terms(model, ExactLinearGaussianGuide(model), x, 5, seed=0).log_importance_weights
    torch.testing.assert_close(weights, same, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", [AutoregressiveFlowGuide, SplineFlowGuide])
def test_the_density_of_a_flow_is_the_change_of_variables(kind, isolated_globals):
    """By autograd's Jacobian; at a draw (remembered) and at a copy of it (inverted)."""
    with isolated_globals(seed=1):
        guide = kind(3, SHAPE, (4,), context_dim=4).double()
        with torch.no_grad():
            for parameter in guide.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        q = guide.variational_posterior(torch.randn(1, *SHAPE).double())
        epsilon = torch.randn(1, 3, dtype=torch.float64)
    flow = q.transforms[0]
    jacobian = torch.autograd.functional.jacobian(lambda e: flow(e.unsqueeze(0))[0], epsilon[0])
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(epsilon).sum() - torch.linalg.slogdet(jacobian).logabsdet
    z = draw_from_noise(q, epsilon)
    torch.testing.assert_close(q.log_prob(z)[0], expected)
    torch.testing.assert_close(q.log_prob(z.clone())[0], expected)
    elsewhere = q.log_prob(z + 0.3)  # of the same shape as the draw that is remembered
    epsilon = flow._inverse(z + 0.3)
    jacobian = torch.autograd.functional.jacobian(lambda e: flow(e.unsqueeze(0))[0], epsilon[0])
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(epsilon).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(flow(epsilon), z + 0.3)
    torch.testing.assert_close(elsewhere[0], expected)


@pytest.mark.parametrize("kind", [AutoregressiveFlowGuide, SplineFlowGuide])
def test_a_draw_without_gradients_is_not_reused_where_they_are_wanted(kind, isolated_globals):
    with isolated_globals(seed=1):
        guide = kind(3, SHAPE, (4,), context_dim=4).double()
        q = guide.variational_posterior(torch.ones(2, *SHAPE).double())
        with torch.no_grad():
            z = q.sample()
        gradients = []
        for value in (z, z.clone()):
            guide.zero_grad()
            guide.variational_posterior(torch.ones(2, *SHAPE).double()).log_prob(value).sum().backward()
            gradients.append([parameter.grad.clone() for parameter in guide.parameters()])
        guide.zero_grad()
        q.log_prob(z).sum().backward()
        gradients.append([parameter.grad for parameter in guide.parameters()])
    for first, second, third in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)
        torch.testing.assert_close(first, third)


def test_flow_guides_start_as_the_normal_guide(isolated_globals):
    x = torch.zeros(2, *SHAPE)
    for kind in (AutoregressiveFlowGuide, SplineFlowGuide):
        with isolated_globals(seed=1):
            guide = kind(3, SHAPE, (4,))
            q = guide.variational_posterior(x)
            z = torch.randn(50, 2, 3)
        flow = q.transforms[0]
        normal = torch.distributions.Normal(flow.loc, flow.scale).log_prob(z).sum(-1)
        assert (q.log_prob(z) - normal).abs().mean() < 0.25


def test_one_latent_dimension(isolated_globals):
    with isolated_globals(seed=0):
        q = SplineFlowGuide(1, SHAPE, (4,)).variational_posterior(torch.ones(2, *SHAPE))
        z = q.rsample((3,))
        torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()), rtol=1e-4, atol=1e-4)
        with pytest.raises(SettingsError, match="an autoregressive flow needs at least 2 latent dimensions"):
            AutoregressiveFlowGuide(1, SHAPE)


def test_a_low_rank_covariance_is_a_product_and_squared_deviations(isolated_globals):
    with isolated_globals(seed=0):
        guide = LowRankGuide(3, SHAPE, (), rank=2).double()
        output = torch.randn(12, dtype=torch.float64)
    with torch.no_grad():
        guide.encoder[0].weight.zero_()
        guide.encoder[0].bias.copy_(output)
        q = guide.variational_posterior(torch.zeros(1, *SHAPE))
    factor, scale = output[6:].reshape(3, 2), torch.nn.functional.softplus(output[3:6] + math.log(math.e - 1)) + 1e-5
    torch.testing.assert_close(q.loc[0], output[:3])
    torch.testing.assert_close(q.covariance_matrix[0], factor @ factor.T + scale.square().diag())


def test_the_noise_within_a_refinement_has_the_moments_of_a_normal(isolated_globals):
    with isolated_globals(seed=0):
        noise = SemiAmortizedGuide(None, **NETWORKS).noise
    torch.testing.assert_close(noise.mean(0), torch.zeros(1, D))
    torch.testing.assert_close(noise.square().mean(0), torch.ones(1, D))


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_does_not_fit_is_refused(rank):
    with pytest.raises(SettingsError, match=f"rank must be at least 1 and at most latent_dim = 3, got {rank}"):
        LowRankGuide(**NETWORKS, rank=rank)


def test_sizes_of_flows_are_checked():
    with pytest.raises(SettingsError, match="num_transforms must be at least 1, got 0"):
        SplineFlowGuide(**NETWORKS, num_transforms=0)


def test_the_prior_as_guide_has_no_kl_and_no_hope(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(**NETWORKS).double()
    x = model.sample(3, seed=1)
    guide = PriorGuide(model)
    assert list(guide.parameters()) == []
    terms = bv.elbo_terms(model, guide, x, 50, seed=0)
    assert torch.equal(terms.kl_to_prior, torch.zeros(3).double())
    draws = bv.log_terms(model, guide, x, 50, seed=0)
    torch.testing.assert_close(draws.log_importance_weights, draws.log_likelihood)


def test_gaps_and_the_aggregate_of_each_guide(name, pair):
    model, guide, x = pair
    gap = bv.inference_gap(model, guide, x, 50, num_temperatures=5, num_chains=2, max_steps=50, index=INDEX)
    if name in ("normal", "local", "semi-amortized", "prior"):
        assert set(gap.names) == {"inference_gap", "approximation_gap", "amortization_gap"}
    else:
        assert gap.names == ("inference_gap",)
        assert "must be a normal" in gap.why_not_split
    if guide.needs_index:
        return
    parts = bv.aggregate_posterior_terms(model, guide, x, 20, index=INDEX).averages()
    whole = parts["index_code_mutual_information"].value + parts["marginal_kl_to_prior"].value
    assert whole == pytest.approx(parts["kl_to_prior"].value)


def test_unknown_rows_of_a_local_guide(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(**NETWORKS).double()
    guide, x = LocalNormalGuide(D, 10).double().eval(), model.sample(2, seed=1)
    with pytest.raises(ShapeError, match="must be told which these are: pass index="):
        guide.variational_posterior(x)
    with pytest.raises(ShapeError, match=r"one integer for each of the 2 observations, got 3"):
        guide.variational_posterior(x, index=torch.tensor([0, 1, 2]))
    with pytest.raises(ShapeError, match=r"room for the indices 0…9, got 10"):
        guide.variational_posterior(x, index=torch.tensor([0, 10]))
    message = "no parameters for the observation with index 4, which was not trained on"
    with pytest.raises(SettingsError, match=message):
        bv.elbo_terms(model, guide, x, 5, index=torch.tensor([4, 5]))
    guide.fit_to(model, x, index=torch.tensor([4, 5]), num_steps=2)
    bv.elbo_terms(model, guide, x, 5, index=torch.tensor([4, 5]))
    with pytest.raises(SettingsError, match="must be at least 1, got 0 and 10"):
        LocalNormalGuide(0, 10)


def test_a_local_fit_finds_the_best_normal_and_leaves_the_others_alone(linear_gaussian):
    """Of a linear-Gaussian model the best factorized q is known: its precisions are the posterior's diagonal."""
    model, x = linear_gaussian
    guide, index = LocalNormalGuide(2, 20).double(), torch.arange(7) + 5
    guide.fit_to(model, x, index=index)
    q = guide.eval().variational_posterior(x, index=index).base_dist
    with torch.no_grad():
        exact, precision = model.exact_posterior(x), model._precision().diagonal()
    torch.testing.assert_close(q.loc.detach(), exact.loc, rtol=0, atol=0.05)
    torch.testing.assert_close(q.scale.detach(), precision.rsqrt().expand(7, 2), rtol=0.05, atol=0)
    assert torch.equal(guide.free_loc[:5].detach(), torch.zeros(5, 2).double())
    assert guide.fitted.tolist() == [False] * 5 + [True] * 7 + [False] * 8


def test_refinement_raises_the_elbo_of_a_poor_encoder(linear_gaussian, isolated_globals):
    model, x = linear_gaussian
    networks = {"latent_dim": 2, "data_shape": (5,), "hidden_dims": (4,)}
    with isolated_globals(seed=2):
        guides = [SemiAmortizedGuide(model, **networks, num_refinements=steps).double() for steps in (1, 20)]
    guides[1].load_state_dict(guides[0].state_dict())
    with torch.no_grad():
        start = model.elbo(x, guides[0].amortized_posterior(x))
        one, many = (model.elbo(x, guide.variational_posterior(x)) for guide in guides)
        exact = model.log_evidence(x)
    assert (one > start).all()
    assert (many > one).all()
    assert ((exact - many) < 0.2 * (exact - start)).all()


def test_training_goes_through_the_refinement(linear_gaussian, isolated_globals):
    """The encoder's gradient is that of the refined ELBO, by finite differences."""
    model, x = linear_gaussian
    with isolated_globals(seed=2):
        guide = SemiAmortizedGuide(model, 2, (5,), hidden_dims=(), num_refinements=3).double()

    def elbo():
        return model.elbo(x, guide.variational_posterior(x)).sum()

    bias = guide.encoder[0].bias
    (gradient,) = torch.autograd.grad(elbo(), bias)
    for place in range(len(bias)):
        step = torch.zeros_like(bias)
        step[place] = 1e-5
        with torch.no_grad():
            bias.add_(step)
            above = elbo()
            bias.sub_(2 * step)
            below = elbo()
            bias.add_(step)
        assert gradient[place].item() == pytest.approx(((above - below) / 2e-5).item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("settings", [{"num_refinements": 0}, {"step_size": 0.0}, {"step_size": 1.5}])
def test_steps_that_cannot_be_taken_are_refused(settings):
    with pytest.raises(SettingsError, match=r"num_refinements of at least 1 and a step_size in \(0, 1\]"):
        SemiAmortizedGuide(None, **NETWORKS, **settings)


def test_closed_forms_of_low_rank_and_full_covariance_are_torchs(pair, name):
    if name not in ("low-rank", "full-covariance"):
        pytest.skip("of these two only")
    model, guide, x = pair
    q = posterior(guide, x)
    full = torch.distributions.MultivariateNormal(q.mean, q.covariance_matrix)
    standard = torch.distributions.MultivariateNormal(torch.zeros(D).double(), torch.eye(D).double())
    torch.testing.assert_close(analytic_kl(q, model.prior()), torch.distributions.kl_divergence(full, standard))
