"""The ELBO with a discrete latent summed over: against Pyro's, by hand, and what it refuses."""

from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import ProgramError
from bayes_vae.guides import AmortizedNormalGuide, SemiSupervisedGuide
from bayes_vae.models import VAE, SemiSupervisedVAE
from bayes_vae.objectives import Elbo, EnumeratedElbo

SIZES = {"latent_dim": 2, "data_shape": (2, 3), "num_classes": 3, "hidden_dims": (5,)}
LABELS = torch.tensor([-1, 2, -1, 0, -1])


def make_pair(**options):
    return SemiSupervisedVAE(**SIZES).double(), SemiSupervisedGuide(**SIZES, **options).double()


@pytest.fixture
def pair(clean_globals):
    return make_pair(label_weight=0.0)


@pytest.fixture
def x(pair):
    return pair[0].sample(5, seed=1)


class Bernoullis(nn.Module):
    """A foreign pair: y in {0, 1}, w ~ N(y, 1), x ~ N(w, 1); the guide draws w first, then y given it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def model(self, x):
        with pyro.plate("rows", len(x)):
            y = pyro.sample("y", dist.Bernoulli(torch.full((len(x),), 0.3).to(x)))
            w = pyro.sample("w", dist.Normal(y, 1.0))
            pyro.sample("x", dist.Normal(w, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            w = pyro.sample("w", dist.Normal(self.weight * x, 0.8))
            pyro.sample("y", dist.Bernoulli(logits=w - self.weight))


class Exposed(nn.Module):
    """A pair whose one latent is discrete and which exposes its distributions."""

    data_shape = torch.Size([2])
    exposes_distributions = True

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.5, -0.5, 0.1]))
        self.means = nn.Parameter(torch.tensor([-1.0, 0.0, 1.5]))

    def prior(self):
        return dist.Categorical(torch.tensor([0.2, 0.3, 0.5]))

    def likelihood(self, z):
        return dist.Normal(self.means[z].unsqueeze(-1).expand(*z.shape, 2), 1.0).to_event(1)

    def variational_posterior(self, x):
        return dist.Categorical(logits=self.logits * x[:, :1])

    def check_observations(self, x):
        return x

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.likelihood(pyro.sample("z", self.prior())), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.variational_posterior(x))


def loss_and_gradients(loss, modules):
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    zeros = [torch.zeros_like(parameter) for parameter in parameters]
    return [zero if gradient is None else gradient for gradient, zero in zip(gradients, zeros, strict=True)]


@pytest.mark.parametrize("labels", [torch.full((5,), -1), LABELS])
def test_it_is_pyros_with_the_same_noise(pair, x, labels):
    """One particle draws its noise in the order in which Pyro does, so loss and gradient agree to rounding."""
    ours, pyros = EnumeratedElbo()(*pair), TraceEnum_ELBO(max_plate_nesting=1)
    torch.manual_seed(3)
    loss = ours(x, labels)
    torch.manual_seed(3)
    theirs = pyros.differentiable_loss(*pair, x, labels)
    torch.testing.assert_close(loss, theirs)
    for own, other in zip(loss_and_gradients(loss, pair), loss_and_gradients(theirs, pair), strict=True):
        torch.testing.assert_close(own, other)


def test_the_first_step_draws_what_any_step_draws(pair, x):
    """What is found out about a pair once draws nothing from torch's own generator: a resumed training is the same."""
    found = []
    fresh = EnumeratedElbo()
    for _ in range(2):
        torch.manual_seed(3)
        found.append(fresh.terms(*pair, x).loss)
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_it_is_the_sum_by_hand(pair, x):
    model, guide = pair
    objective = EnumeratedElbo(num_particles=4)
    torch.manual_seed(5)
    terms = objective.terms(model, guide, x)
    torch.manual_seed(5)
    noise = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    probabilities = guide.classify(x)
    likelihood, kl = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for label in range(3):
        y = torch.full((5,), label)
        q = guide.variational_posterior(x, y)
        for particle in range(4):
            z = q.mean + q.stddev * noise[label, particle]
            weight = probabilities[:, label] / 4
            likelihood += weight * model.likelihood(z, y).log_prob(x)
            kl += weight * (probabilities[:, label].log() + q.log_prob(z))
            kl -= weight * (model.label_prior().log_prob(y) + model.prior().log_prob(z))
    torch.testing.assert_close(terms.expected_log_likelihood, likelihood)
    torch.testing.assert_close(terms.kl_to_prior, kl)
    torch.testing.assert_close(terms.loss, kl - likelihood)


def test_its_mean_is_the_elbo_that_evaluation_draws(pair, x, within):
    model, guide = pair
    objective = EnumeratedElbo(num_particles=200)
    for labels in (torch.full((5,), -1), LABELS):
        with torch.no_grad():
            runs = torch.stack([-objective.terms(model, guide, x, labels).loss for _ in range(20)])
        drawn = bv.elbo_terms(model, guide, (x, labels), 1500, seed=0)
        error = torch.hypot(runs.std(0) / 20**0.5, drawn.elbo_error)
        within(runs.mean(0), drawn.elbo, error)


def test_a_latent_drawn_before_the_discrete_one(clean_globals, within):
    """q(y given w) weighs each draw of w by itself; any order of the guide's sites gives the ELBO."""
    pair, x = Bernoullis(), torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    objective = EnumeratedElbo(num_particles=500)
    with torch.no_grad():
        runs = torch.stack([-objective.terms(pair.model, pair.guide, x).loss for _ in range(20)])
    drawn = bv.elbo_terms(pair.model, pair.guide, x, 4000, seed=0)
    within(runs.mean(0), drawn.elbo, torch.hypot(runs.std(0) / 20**0.5, drawn.elbo_error))


def test_without_another_latent_nothing_is_drawn(clean_globals):
    pair, x = Exposed(), torch.tensor([[0.5, -0.5], [2.0, 1.0]])
    objective = EnumeratedElbo()
    terms = objective.terms(pair.model, pair.guide, x)
    q, z = pair.variational_posterior(x), torch.arange(3).unsqueeze(-1).expand(3, 2)
    likelihood = (q.probs.T * pair.likelihood(z).log_prob(x)).sum(0)
    kl = (q.probs * (q.probs.log() - pair.prior().probs.log())).sum(-1)
    torch.testing.assert_close(terms.expected_log_likelihood, likelihood)
    torch.testing.assert_close(terms.kl_to_prior, kl)


def test_each_way_of_laying_out_particles_agrees(pair):
    """Eight rows of two numbers: torch fills its noise in sixteens, so that a loop draws the same."""
    objective, x = EnumeratedElbo(num_particles=2), pair[0].sample(8, seed=1)
    objective.terms(*pair, x)
    model, guide, read = objective._read
    found = []
    for strategy in ("plate", "repeat", "loop"):
        objective._read, objective._values = (model, guide, replace(read, particles=strategy)), None
        objective.terms(*pair, x)
        torch.manual_seed(0)
        found.append(objective.terms(*pair, x))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_the_weight_of_the_kl_is_in_the_loss_alone(pair, x):
    objectives = [EnumeratedElbo(), EnumeratedElbo(kl_weight=0.25)]
    found = []
    for objective in objectives:
        objective.terms(*pair, x)
        torch.manual_seed(0)
        found.append(objective.terms(*pair, x))
    plain, weighted = found
    torch.testing.assert_close(weighted.kl_to_prior, plain.kl_to_prior)
    torch.testing.assert_close(weighted.loss, plain.loss - 0.75 * plain.kl_to_prior)


def test_the_label_term_is_in_the_loss_alone(clean_globals):
    model, guide = make_pair(label_weight=3.0)
    x, objective = model.sample(5, seed=1), EnumeratedElbo()
    terms = objective.terms(model, guide, x, LABELS)
    torch.testing.assert_close(
        terms.loss, terms.kl_to_prior - terms.expected_log_likelihood - guide.label_term(x, LABELS)
    )
    assert bool((guide.label_term(x, LABELS) < 0).equal(LABELS >= 0))
    evaluated = bv.elbo_terms(model, guide, (x, LABELS), 50, seed=0).elbo
    guide.label_weight = 0.0
    torch.testing.assert_close(bv.elbo_terms(model, guide, (x, LABELS), 50, seed=0).elbo, evaluated)


def test_pyros_loop_trains_with_it_and_with_its_own(clean_globals):
    """Under SVI, ours and ``TraceEnum_ELBO`` both bring the loss down."""
    for loss in (EnumeratedElbo(), TraceEnum_ELBO(max_plate_nesting=1)):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        model, guide = make_pair()
        x = torch.bernoulli(torch.full((40, 2, 3), 0.9, dtype=torch.float64))
        for program in (model, guide):
            program.register()
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss=loss)
        losses = [svi.step(x) / 40 for _ in range(20)]
        assert sum(losses[-5:]) / 5 < losses[0] - 1.0


def programs_of(draw, event=0):
    """A guide that draws ``draw(N)``, and a model that draws the same and adds normal noise."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            return draw(len(x))

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            y = draw(len(x))
            pyro.sample("x", dist.Normal(y.sum(-1) if event else y, 1.0), obs=x)

    return model, guide


def test_pairs_that_it_cannot_sum_over_are_refused(clean_globals):
    settings = {"latent_dim": 2, "data_shape": (2, 3), "hidden_dims": (4,)}
    with pytest.raises(ProgramError, match=r"sums over one discrete latent, and this pair has none\. Without one use"):
        EnumeratedElbo().terms(VAE(**settings), AmortizedNormalGuide(**settings), torch.ones(4, 2, 3))

    def draw_two(count):
        return sum(pyro.sample(name, dist.Bernoulli(torch.full((count,), 0.4))) for name in ("a", "b"))

    with pytest.raises(ProgramError, match=r"this pair has 2: 'a', 'b'\. .*pyro.infer.TraceEnum_ELBO"):
        EnumeratedElbo().terms(*programs_of(draw_two), torch.zeros(4))


@pytest.mark.parametrize(
    ("distribution", "event", "message"),
    [
        (lambda count: dist.Poisson(torch.ones(count)), 0, "values of the discrete latent 'y', a Poisson, cannot be"),
        (lambda count: dist.Bernoulli(torch.full((count, 2), 0.5)).to_event(1), 1, "'y', a Independent, cannot be"),
        (
            lambda count: dist.Bernoulli(torch.full((count,), 0.5)).mask(torch.arange(count) > 0),
            0,
            "latent 'y' that are mask",
        ),
    ],
    ids=["no end", "several at once", "masked"],
)
def test_values_that_cannot_be_summed_over_are_refused(distribution, event, message, clean_globals):
    programs = programs_of(lambda count: pyro.sample("y", distribution(count)), event)
    with pytest.raises(ProgramError, match=message):
        EnumeratedElbo().terms(*programs, torch.zeros(4))


def test_several_values_for_one_observation_are_refused(clean_globals):
    def draw(count):
        with pyro.plate("pixels", 3, dim=-2):
            return pyro.sample("y", dist.Bernoulli(torch.full((3, count), 0.5)))

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(draw(len(x)).sum(-2), 1.0), obs=x)

    with pytest.raises(ProgramError, match=r"discrete latent 'y' has 3 values for one observation: expected one"):
        EnumeratedElbo().terms(model, programs_of(draw)[1], torch.zeros(5))


def test_other_objectives_name_it(pair, x):
    with pytest.raises(ProgramError, match=r"latent 'y' has no rsample, so Elbo has no gradient.*EnumeratedElbo"):
        Elbo().terms(*pair, x)


def test_pyros_elbo_without_enumeration_warns_of_it(pair, x):
    with pytest.warns(UserWarning, match="use TraceEnum_ELBO instead"):
        Trace_ELBO().differentiable_loss(*pair, x)
