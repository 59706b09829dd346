"""The label as a latent: the program, its draws, and evidence by enumeration."""

import math

import pyro
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, SettingsError, SupportError
from bayes_vae.guides import SemiSupervisedGuide
from bayes_vae.models import SemiSupervisedVAE

SIZES = {"latent_dim": 2, "data_shape": (2, 3), "num_classes": 3, "hidden_dims": (5,)}


@pytest.fixture
def pair(isolated_globals):
    with isolated_globals(seed=0):
        return SemiSupervisedVAE(**SIZES).double(), SemiSupervisedGuide(**SIZES).double()


@pytest.fixture
def linear_pair(isolated_globals):
    """Linear, so that x given y is normal; unequal classes, a biased classifier, a guide wider than the posterior."""
    linear = {"latent_dim": 2, "data_shape": (4,), "num_classes": 3, "hidden_dims": ()}
    with isolated_globals(seed=2):
        noise = {"name": "normal", "scale": 0.9}
        model = SemiSupervisedVAE(**linear, likelihood=noise, label_prior="learned").double()
        guide = SemiSupervisedGuide(**linear).double()
        with torch.no_grad():
            model.label_logits.copy_(torch.tensor([0.5, -0.5, 0.0]))
            guide.encoder[0].weight.mul_(0.3)
            guide.encoder[0].weight[2:] = 0.0
            guide.encoder[0].bias[2:] = 0.7
            guide.classifier[0].bias.copy_(torch.tensor([0.0, 0.5, 0.0]))
        return model, guide, torch.randn(4, 4, dtype=torch.float64)


def exact_log_joint_of_labels(model, x):
    """log p(x, y) of each class, shape (C, N)."""
    layer = model.decoder[0]
    weight, of_labels = layer.weight[:, :2], layer.weight[:, 2:]
    covariance = weight @ weight.T + 0.9**2 * torch.eye(4)
    normals = torch.distributions.MultivariateNormal((layer.bias + of_labels.T).unsqueeze(1), covariance)
    return (normals.log_prob(x) + model.label_logits.log_softmax(-1).unsqueeze(-1)).detach()


def delta_error(estimate):
    """What ``standard_error`` would be, which is left blank for discrete latents."""
    return (1 / estimate.effective_sample_size - 1 / estimate.num_particles).clamp(min=0).sqrt()


def test_program_is_both_priors_times_likelihood(pair, clean_globals):
    model, _ = pair
    x = model.sample(4, seed=0)
    trace = pyro.poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    y, z = (trace.nodes[name]["value"] for name in ("y", "z"))
    torch.testing.assert_close(trace.nodes["y"]["log_prob"], torch.full((4,), -math.log(3), dtype=torch.float64))
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], model.prior().log_prob(z))
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], model.likelihood(z, y).log_prob(x))


def test_evidence_sums_over_the_classes(linear_pair, within):
    model, guide, x = linear_pair
    truth = exact_log_joint_of_labels(model, x).logsumexp(0)
    unknown = torch.full((4,), -1)
    for inputs in (x, (x, unknown)):
        estimate = bv.estimate_log_evidence(model, guide, inputs, 4000, seed=0)
        assert estimate.provenance.particles == "plate"
        within(estimate.log_evidence, truth, delta_error(estimate))


def test_evidence_of_a_known_label_is_of_both(linear_pair, within):
    """log p(x, y) where y is known, log p(x) where it is not, in one batch."""
    model, guide, x = linear_pair
    y = torch.tensor([2, -1, 0, 1])
    by_class = exact_log_joint_of_labels(model, x)
    known = by_class.gather(0, y.clamp(min=0).unsqueeze(0))[0]
    estimate = bv.estimate_log_evidence(model, guide, (x, y), 4000, seed=0)
    within(estimate.log_evidence, torch.where(y < 0, by_class.logsumexp(0), known), delta_error(estimate))


def test_annealing_is_refused(pair):
    model, guide = pair
    with pytest.raises(NotDefinedError, match="'y'"):
        bv.annealed_log_evidence(model, guide, model.sample(2, seed=0))


def test_evaluation_leaves_annealing_out_and_says_so(pair):
    model, guide = pair
    evaluation = bv.evaluate(model, guide, model.sample(5, seed=0), 20)
    assert evaluation.annealed is None
    assert evaluation.why_not_annealed == "not annealed: annealing moves along gradients, and 'y' is discrete"


def test_labels_are_drawn_from_their_prior(linear_pair, within):
    model, _, _ = linear_pair
    x = model.sample(20_000, seed=0)
    layer = model.decoder[0]
    means = (layer.bias + layer.weight[:, 2:].T).detach()
    within(x.mean(0), model.label_logits.softmax(-1) @ means, x.std(0) / len(x) ** 0.5)
    given = model.sample(5000, label=1, seed=0)
    within(given.mean(0), means[1], given.std(0) / len(given) ** 0.5)


def test_only_a_learned_prior_of_labels_trains(pair, isolated_globals):
    with isolated_globals(seed=0):
        learned = SemiSupervisedVAE(**SIZES, label_prior="learned")
    assert learned.label_logits.requires_grad
    assert not pair[0].label_logits.requires_grad


def test_unknown_prior_of_labels_is_refused():
    with pytest.raises(SettingsError, match="unknown label_prior 'flat': choose one of uniform, learned"):
        SemiSupervisedVAE(**SIZES, label_prior="flat")


def test_labels_that_are_no_class_are_refused(pair):
    for program in pair:
        with pytest.raises(SupportError, match="classes 0…2 and −1 for one that is not known, got the label 3"):
            program(torch.zeros(2, 2, 3), torch.tensor([3, -1]))


def test_reconstruct_draws_the_class_too(pair):
    model, guide = pair
    x = model.sample(4, seed=0)
    torch.testing.assert_close(model.reconstruct(x, guide, seed=1), model.reconstruct(x, guide, seed=1))
    known = [model.reconstruct((x, torch.full((4,), label)), guide, seed=1) for label in (0, 1)]
    assert not torch.equal(*known)


def test_forward_without_observations_samples(pair, clean_globals):
    assert pair[0]().shape == (1, 2, 3)


def test_settings_rebuild_the_pair(pair, isolated_globals):
    with isolated_globals(seed=1):
        twins = [type(program)(**program.settings).double() for program in pair]
    for twin, program in zip(twins, pair, strict=True):
        twin.load_state_dict(program.state_dict())
    x = pair[0].sample(4, seed=0)
    torch.testing.assert_close(*(model.reconstruct(x, guide, seed=1) for model, guide in (pair, twins)))
