"""The model whose label is given: the program, its draws, and a case whose evidence is known."""

import pyro
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import ShapeError, SupportError
from bayes_vae.guides import ConditionalNormalGuide
from bayes_vae.models import ConditionalVAE

SIZES = {"latent_dim": 2, "data_shape": (2, 3), "num_classes": 3, "hidden_dims": (5,)}
LABELS = torch.tensor([0, 2, 1, 2])


@pytest.fixture
def pair(isolated_globals):
    with isolated_globals(seed=0):
        return ConditionalVAE(**SIZES).double(), ConditionalNormalGuide(**SIZES).double()


@pytest.fixture
def linear_pair(isolated_globals):
    """Linear, so that x given y is normal around W z + the weights of class y; a guide wider than the posterior."""
    linear = {"latent_dim": 2, "data_shape": (4,), "num_classes": 3, "hidden_dims": ()}
    with isolated_globals(seed=1):
        model = ConditionalVAE(**linear, likelihood={"name": "normal", "scale": 0.9}).double()
        guide = ConditionalNormalGuide(**linear).double()
        with torch.no_grad():
            guide.encoder[0].weight.mul_(0.3)
            guide.encoder[0].weight[2:] = 0.0
            guide.encoder[0].bias[2:] = 0.7
        return model, guide, (torch.randn(4, 4, dtype=torch.float64), LABELS)


def exact_log_evidence(model, x, y):
    """log p(x given y): mean b + the label's column, covariance W Wᵀ + σ²I."""
    layer = model.decoder[0]
    weight, of_labels = layer.weight[:, :2], layer.weight[:, 2:]
    covariance = weight @ weight.T + 0.9**2 * torch.eye(4)
    means = layer.bias + of_labels.T[y]
    return torch.distributions.MultivariateNormal(means, covariance).log_prob(x).detach()


def test_program_is_prior_times_likelihood_of_the_label(pair, clean_globals):
    model, _ = pair
    x = model.sample(4, seed=0)
    trace = pyro.poutine.trace(model).get_trace(x, LABELS)
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], model.prior().log_prob(z))
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], model.likelihood(z, LABELS).log_prob(x))
    others = model.likelihood(z, (LABELS + 1) % 3).log_prob(x)
    assert bool((trace.nodes["x"]["log_prob"] != others).all())


def test_particles_are_an_outer_plate(pair):
    model, guide = pair
    x = model.sample(4, seed=0)
    terms = bv.log_terms(model, guide, (x, LABELS), 6, seed=1, keep_latents=True)
    assert terms.provenance.particles == "plate"
    z = terms.latents["z"].double()
    torch.testing.assert_close(terms.log_guide, guide.variational_posterior(x, LABELS).log_prob(z).detach())
    torch.testing.assert_close(terms.log_likelihood, model.likelihood(z, LABELS).log_prob(x).detach())


def test_evidence_is_of_x_given_the_label(linear_pair, within):
    model, guide, (x, y) = linear_pair
    importance = bv.estimate_log_evidence(model, guide, (x, y), 2000, seed=0)
    assert bool(importance.converged.all())
    truth = exact_log_evidence(model, x, y)
    within(importance.log_evidence, truth, importance.standard_error)
    annealed = bv.annealed_log_evidence(model, guide, (x, y), num_temperatures=20, num_chains=64, seed=0)
    within(annealed.log_evidence, truth, annealed.standard_error)


def test_draws_are_of_the_label(linear_pair, within):
    model, _, _ = linear_pair
    x = model.sample(5000, label=2, seed=0)
    within(x.mean(0), model.decoder[0].bias + model.decoder[0].weight[:, 4], x.std(0) / len(x) ** 0.5)


def test_without_a_label_the_classes_take_turns(pair, clean_globals):
    model, _ = pair
    with torch.no_grad():
        model.decoder[0].weight[:, :2] = 0.0
    means = model.sample(6, seed=0, mean=True)
    torch.testing.assert_close(means[:3], means[3:])
    torch.testing.assert_close(means[2], model.sample(1, label=2, mean=True)[0])
    assert not torch.equal(means[0], means[1])


def test_sample_is_repeatable_and_leaves_the_random_state(pair):
    model, _ = pair
    torch.testing.assert_close(model.sample(3, seed=7), model.sample(3, seed=7))
    assert not torch.equal(model.sample(9, seed=7), model.sample(9, seed=8))


def test_reconstruct_keeps_the_label(pair):
    model, guide = pair
    x = model.sample(4, seed=0)
    found = model.reconstruct((x, LABELS), guide, seed=1)
    assert found.shape == x.shape
    assert not torch.equal(found, model.reconstruct((x, (LABELS + 1) % 3), guide, seed=1))


def test_labels_are_asked_for(pair):
    model, guide = pair
    x = torch.zeros(4, 2, 3)
    for program in (model, guide):
        name = type(program).__name__
        with pytest.raises(ShapeError, match=rf"{name} takes \(x, y\) with one whole number y for each"):
            program(x)
        with pytest.raises(SupportError, match=rf"{name} has the classes 0…2, got the label -1"):
            program(x, LABELS - 1)
    with pytest.raises(SupportError, match=r"classes 0…2, got the label 3"):
        model.sample(1, label=3)


def test_forward_without_observations_samples_one_for_each_label(pair, clean_globals):
    assert pair[0](None, LABELS).shape == (4, 2, 3)
    with pytest.raises(ShapeError, match="one whole number y"):
        pair[0]()


def test_settings_rebuild_the_pair(pair, isolated_globals):
    with isolated_globals(seed=1):
        twins = [type(program)(**program.settings).double() for program in pair]
    for twin, program in zip(twins, pair, strict=True):
        twin.load_state_dict(program.state_dict())
    x = pair[0].sample(4, seed=0)
    torch.testing.assert_close(*(model.reconstruct((x, LABELS), guide, seed=1) for model, guide in (pair, twins)))
