"""The guide of a label that is a latent."""

import pyro
import pytest
import torch

from bayes_vae.errors import SettingsError
from bayes_vae.guides import SemiSupervisedGuide

SIZES = {"latent_dim": 2, "data_shape": (2, 3), "num_classes": 3, "hidden_dims": (5,)}
LABELS = torch.tensor([-1, 2, 0, -1])


@pytest.fixture
def guide(isolated_globals):
    with isolated_globals(seed=0):
        return SemiSupervisedGuide(**SIZES)


@pytest.fixture
def x(isolated_globals):
    with isolated_globals(seed=1):
        return torch.bernoulli(torch.full((4, 2, 3), 0.5))


def test_program_samples_the_class_then_z_given_it(guide, x, clean_globals):
    trace = pyro.poutine.trace(guide).get_trace(x)
    trace.compute_log_prob()
    y, z = (trace.nodes[name]["value"] for name in ("y", "z"))
    torch.testing.assert_close(trace.nodes["y"]["log_prob"], guide.label_posterior(x).log_prob(y))
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], guide.variational_posterior(x, y).log_prob(z))
    assert trace.nodes["y"]["infer"] == {"enumerate": "parallel"}


def test_a_known_label_is_certain_and_every_log_probability_finite(guide, x):
    known = guide.label_posterior(x, LABELS)
    probabilities = guide.classify(x)
    torch.testing.assert_close(known.probs[[0, 3]], probabilities[[0, 3]])
    assert known.probs[[1, 2]].tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    log_probabilities = torch.stack([known.log_prob(torch.tensor(label)) for label in range(3)])
    assert bool(log_probabilities.isfinite().all())
    assert log_probabilities[:, 1].tolist() == [-1e4, -1e4, 0.0]


def test_classify_does_not_see_the_label(guide, x):
    probabilities = guide.classify(x)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(4))
    torch.testing.assert_close(probabilities, guide.label_posterior(x, torch.full((4,), -1)).probs)


def test_label_term_is_of_the_known_labels_alone(guide, x):
    guide.label_weight = 2.5
    log_probabilities = guide.classify(x).log()
    expected = torch.stack([torch.tensor(0.0), log_probabilities[1, 2], log_probabilities[2, 0], torch.tensor(0.0)])
    torch.testing.assert_close(guide.label_term(x, LABELS), 2.5 * expected)
    assert guide.label_term(x).tolist() == [0.0] * 4


def test_the_elbo_of_a_known_label_leaves_the_classifier_alone(guide, x):
    guide.label_posterior(x, torch.tensor([0, 1, 2, 0])).log_prob(torch.tensor([0, 1, 2, 0])).sum().backward()
    assert all(parameter.grad.abs().max() == 0 for parameter in guide.classifier.parameters())
    guide.label_term(x, LABELS).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in guide.classifier.parameters())


def test_a_negative_weight_is_refused():
    with pytest.raises(SettingsError, match=r"label_weight must be at least 0, got -1"):
        SemiSupervisedGuide(**SIZES, label_weight=-1)
