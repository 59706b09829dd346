"""The ELBO as an objective: it equals Pyro's on the same draws, trains what it should, and refuses the rest."""

import copy
import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.importance import psis_diagnostic
from pyro.optim import Adam

from bayes_vae import Elbo, ImportanceWeightedObjective, estimate_log_evidence, log_terms
from bayes_vae.errors import NotDefinedError, ProgramError, SettingsError, SupportError
from bayes_vae.estimators import grouped_bound
from bayes_vae.guides import AmortizedNormalGuide, LocalNormalGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.objectives import objective as base
from bayes_vae.terms.exposed import ExposedBatch
from bayes_vae.terms.stream import read_pair


def loss_and_gradients(loss, pair, x, parameters, seed=3):
    """The loss, and the gradient of each parameter, from torch's seed."""
    for parameter in parameters:
        parameter.grad = None
    torch.manual_seed(seed)
    value = loss.loss_and_grads(*pair, x)
    return [torch.tensor(value, dtype=torch.float64), *(parameter.grad for parameter in parameters)]


def agree(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_particles", [1, 4])
@pytest.mark.parametrize("kl", ["sampled", "auto"])
def test_a_pair_written_elsewhere_has_the_loss_and_the_gradients_of_pyros_trace_elbo(
    kl, num_particles, make_foreign, x, parameters_of
):
    pair = make_foreign()
    stock = Trace_ELBO(num_particles=num_particles, vectorize_particles=num_particles > 1, max_plate_nesting=1)
    expected = loss_and_gradients(stock, pair, x, parameters_of(*pair))
    agree(loss_and_gradients(Elbo(num_particles, kl=kl), pair, x, parameters_of(*pair)), expected)


@pytest.mark.parametrize("num_particles", [1, 4])
@pytest.mark.parametrize(("kl", "stock"), [("sampled", Trace_ELBO), ("auto", TraceMeanField_ELBO)])
def test_our_pair_has_the_loss_and_the_gradients_of_pyros_losses(kl, stock, num_particles, make_ours, x, parameters_of):
    pair = make_ours()
    for program in pair:
        program.register()
    stock = stock(num_particles=num_particles, vectorize_particles=num_particles > 1, max_plate_nesting=1)
    expected = loss_and_gradients(stock, pair, x, parameters_of(*pair))
    agree(loss_and_gradients(Elbo(num_particles, kl=kl), pair, x, parameters_of(*pair)), expected)


def test_the_three_ways_to_the_loss_are_one(make_pair, x):
    pair, loss = make_pair(), Elbo(2)
    values = []
    for call in (loss.loss, loss.loss_and_grads, loss.differentiable_loss, lambda *_: loss(*pair)(x)):
        torch.manual_seed(5)
        values.append(torch.as_tensor(call(*pair, x), dtype=torch.float64).item())
    assert values == pytest.approx(values[:1] * 4, rel=1e-12)


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_the_weight_is_on_the_kl_alone(kl, make_pair, x):
    pair = make_pair()

    def at(weight):
        torch.manual_seed(1)
        terms = Elbo(3, kl=kl, kl_weight=weight).terms(*pair, x)
        torch.manual_seed(1)
        return Elbo(3, kl=kl, kl_weight=weight).loss(*pair, x), terms

    (none, terms), (third, same) = at(0.0), at(0.3)
    agree(terms[:2], same[:2])
    assert none == pytest.approx(-terms.expected_log_likelihood.sum().item())
    assert third - none == pytest.approx(0.3 * terms.kl_to_prior.sum().item())


def test_reading_the_pair_takes_nothing_from_the_random_state(make_pair, x):
    pair, loss = make_pair(), Elbo()
    torch.manual_seed(2)
    first = loss.loss(*pair, x)
    torch.manual_seed(2)
    assert loss.loss(*pair, x) == first


def test_one_objective_serves_batches_of_any_size_and_several_pairs(make_pair, x):
    first, second, loss = make_pair(), make_pair(), Elbo(kl="analytic")
    whole = loss.terms(*first, x).kl_to_prior
    assert not torch.allclose(loss.terms(*second, x).kl_to_prior, whole)
    agree([torch.cat([loss.terms(*first, part).kl_to_prior for part in (x[:5], x[5:])])], [whole])


@pytest.mark.parametrize("kl", ["sampled", "auto"])
def test_the_pair_is_read_again_where_one_of_its_programs_is_another(kl, make_pair, x):
    (model, guide), (other_model, other_guide) = make_pair(), make_pair()
    loss = Elbo(2, kl=kl)
    for pair in [(model, guide), (other_model, guide), (other_model, other_guide), (model, other_guide)]:
        found, expected = (seeded_terms(objective, pair, x) for objective in (loss, Elbo(2, kl=kl)))
        agree(found, expected)


def seeded_terms(objective, pair, x):
    torch.manual_seed(1)
    return objective.terms(*pair, x)


def test_a_pair_is_read_at_its_first_step_alone(make_foreign, x, monkeypatch):
    """Bound methods too, which are a new object each time that they are asked for."""
    owner, read = make_foreign()[0].__self__, []
    monkeypatch.setattr(base, "read_pair", lambda *pair: read.append(pair) or read_pair(*pair))
    loss = Elbo()
    for part in (x, x[:2], x[3:]):
        loss.loss(owner.model, owner.guide, part)
    assert len(read) == 1


def test_the_first_step_already_has_the_given_index(clean_globals):
    """A local guide refuses the indices 0, 1, 2, which nobody trains on."""
    model, guide = VAE(2, (4,), hidden_dims=(3,)), LocalNormalGuide(2, num_observations=9)
    x, index = torch.ones(3, 4), torch.tensor([8, 4, 6])
    for loss in (Elbo(), Elbo(kl="sampled"), ImportanceWeightedObjective(2)):
        loss.differentiable_loss(model, guide, x, index=index).backward()
    assert guide.free_loc.grad.abs().sum(-1).nonzero().flatten().tolist() == [4, 6, 8]
    assert guide.fitted.nonzero().flatten().tolist() == [4, 6, 8]


def test_a_closed_form_kl_spares_the_densities_that_it_replaces(make_ours, x, monkeypatch):
    pair = make_ours()
    expected = seeded_terms(Elbo(3, kl="sampled"), pair, x).expected_log_likelihood
    losses = Elbo(3), Elbo(3, free_bits=0.1)
    for loss in losses:
        seeded_terms(loss, pair, x)  # the first step reads the pair, and looks at its densities
    monkeypatch.setattr(ExposedBatch, "draw", lambda *_: pytest.fail("all three densities were evaluated"))
    for loss in losses:
        assert torch.equal(seeded_terms(loss, pair, x).expected_log_likelihood, expected)


def test_each_call_looks_at_the_support(make_pair, x):
    """Data outside the support are refused at every step of a loop of one's own, not at the first alone."""
    pair, loss = make_pair(), Elbo()
    loss.loss(*pair, x)
    with pytest.raises(SupportError, match="a Bernoulli likelihood takes zeros and ones"):
        loss.loss(*pair, x / 2)


# As a module


def test_the_module_has_the_parameters_of_bound_methods_too(make_pair, parameters_of):
    pair = make_pair()
    assert list(map(id, Elbo()(*pair).parameters())) == list(map(id, parameters_of(*pair)))


def test_pyros_own_module_hides_the_parameters_of_bound_methods(make_foreign):
    """The negative control of the test above."""
    assert not list(Trace_ELBO()(*make_foreign()).parameters())


def test_the_module_trains_and_leaves_the_store_untouched(make_pair, x, parameters_of):
    pair = make_pair()
    pyro.param("mine", torch.ones(2))
    module = Elbo()(*pair)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    before = [parameter.detach().clone() for parameter in parameters_of(*pair)]
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = module(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < sum(losses[:10])
    assert not any(map(torch.equal, before, parameters_of(*pair)))
    assert list(pyro.get_param_store()) == ["mine"]


def test_the_module_copies_with_its_pair(make_pair, x, parameters_of):
    pair = make_pair()
    module = Elbo()(*pair)
    copied = copy.deepcopy(module)
    copied(x).backward()
    assert all(parameter.grad is not None for parameter in copied.parameters())
    assert all(parameter.grad is None for parameter in parameters_of(*pair))


def test_the_module_hands_the_index_on(clean_globals, x):
    class Local(torch.nn.Module):
        needs_index = True

        def __init__(self):
            super().__init__()
            self.loc = torch.nn.Parameter(torch.zeros(10, 6))

        def forward(self, x, index):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.loc[index], 1.0).to_event(1))

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(6), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x.flatten(1))

    guide = Local()
    Elbo()(model, guide)(x[:2], index=torch.tensor([7, 4])).backward()
    assert guide.loc.grad.abs().sum(-1).nonzero().flatten().tolist() == [4, 7]


# What cannot be trained


def scaled(x):
    with pyro.plate("data", len(x)):
        with poutine.scale(scale=0.5):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=z.sum(-1)), obs=x[:, 0, 0])


def plain(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=z.sum(-1)), obs=x[:, 0, 0])


def standard(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def coins(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(torch.full((2,), 0.5)).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=z.sum(-1)), obs=x[:, 0, 0])


def coins_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(torch.full((2,), 0.5)).to_event(1))


def spread(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Cauchy(torch.zeros(2), 1.0).to_event(1))


@pytest.mark.parametrize(
    ("model", "guide", "error", "message"),
    [
        (scaled, standard, ProgramError, r"'z' is scaled by 0\.5.*kl_weight.*Trace_ELBO"),
        (coins, coins_guide, ProgramError, r"'z' has no rsample.*TraceEnum_ELBO"),
        (plain, standard, ProgramError, r"nothing can be trained.*pyro\.module inside the programs"),
        (plain, spread, NotDefinedError, r"no closed-form KL"),
    ],
)
def test_what_svi_could_not_train_is_refused(model, guide, error, message, x):
    svi = SVI(model, guide, Adam({"lr": 0.1}), loss=Elbo(kl="analytic"))
    with pytest.raises(error, match=message):
        svi.step(x)


@pytest.mark.parametrize("num_particles", [0, -1])
def test_a_number_of_particles_below_one(num_particles):
    with pytest.raises(SettingsError, match=f"num_particles must be a whole number of at least 1, got {num_particles}"):
        Elbo(num_particles)


def test_an_unknown_kl(make_ours, x):
    with pytest.raises(SettingsError, match="kl must be 'auto', 'analytic' or 'sampled', got 'exact'"):
        Elbo(kl="exact").loss(*make_ours(), x)


# Pyro's other tools on our pairs


def test_predictive_samples_from_our_pairs(make_ours, x):
    model, guide = make_ours()
    for parallel in (False, True):
        draws = Predictive(model, guide=guide, num_samples=5, parallel=parallel)(x)
        assert draws["z"].shape == (5, len(x), 2)
        prior = Predictive(model, num_samples=7, parallel=parallel)()
        assert (prior["z"].shape, prior["x"].shape) == ((7, 1, 2), (7, 1, 3, 2))
        assert set(prior["x"].unique().tolist()) <= {0.0, 1.0}


# Traps of Pyro's own estimators


@pytest.fixture
def linear(clean_globals):
    """A model whose evidence is known, a guide that is too wide, and eight observations."""
    model = LinearGaussianVAE(1, (1,)).double()
    guide = AmortizedNormalGuide(1, (1,), hidden_dims=()).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
        guide.encoder[0].weight.copy_(torch.tensor([[0.5], [0.0]]))
        guide.encoder[0].bias.copy_(torch.tensor([0.0, math.log(math.exp(1.5) - 1)]))
    return model, guide, torch.linspace(-2, 2, 8, dtype=torch.float64).unsqueeze(-1)


def test_more_particles_in_a_trace_elbo_are_still_the_elbo(linear, within):
    """Trap 3: they are averaged in log space; the importance-weighted bound is another thing."""
    model, guide, x = linear
    size = 1000
    weights = log_terms(model, guide, x, size).log_importance_weights
    error = weights.var(0).sum().div(size).sqrt().item()
    exact = model.elbo(x, guide.variational_posterior(x)).sum().item()
    for loss in (Trace_ELBO(size, vectorize_particles=True, max_plate_nesting=1), Elbo(size, kl="sampled")):
        within(-loss.loss(model, guide, x), exact, error)
    evidence = model.log_evidence(x).sum().item()
    estimate = estimate_log_evidence(model, guide, x, size)
    within(estimate.log_evidence, model.log_evidence(x), estimate.standard_error)
    assert evidence - exact > 20 * error


def test_one_weight_for_a_whole_batch_looks_bad_where_each_observation_is_well(linear):
    """Trap 1: Pyro's diagnostic sums a batch into one weight."""
    model, guide, x = linear
    joint = psis_diagnostic(model, guide, x, num_particles=1000, max_plate_nesting=1)
    each = estimate_log_evidence(model, guide, x, 1000)
    assert joint > 1 > each.pareto_k_threshold
    assert (each.pareto_k < 0).all()


def test_a_renyi_elbo_under_subsampling_is_no_bound(linear):
    """Trap 2: the scale of a subsampled plate goes inside the log-mean-exp."""
    model, guide, x = linear
    x = x[::2]

    def subsampled_model(x):
        with pyro.plate("data", len(x), subsample_size=1) as rows:
            z = pyro.sample("z", model.prior())
            pyro.sample("x", model.likelihood(z), obs=x[rows])

    def subsampled_guide(x):
        with pyro.plate("data", len(x), subsample_size=1) as rows:
            pyro.sample("z", guide.variational_posterior(x[rows]))

    stock = RenyiELBO(alpha=0, num_particles=8, vectorize_particles=True, max_plate_nesting=1)
    claimed = -torch.tensor([stock.loss(subsampled_model, subsampled_guide, x) for _ in range(200)])
    evidence = model.log_evidence(x).sum().item()
    assert claimed.mean() - 5 * claimed.std() / 200**0.5 > evidence
    bound = grouped_bound(log_terms(model, guide, x, 8 * 200).log_importance_weights, 8).sum(-1)
    assert evidence - 1 < bound.mean() < evidence
    ours = torch.stack([-ImportanceWeightedObjective(8).differentiable_loss(model, guide, x) for _ in range(200)])
    assert evidence - 1 < ours.mean() < evidence
