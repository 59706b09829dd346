"""The encoder by itself, trained with the decoder held: what the same network regains, and what cannot be copied."""

import pytest
import torch

from bayes_vae.diagnosis.measure.encoder_alone import _with_model_held, measure_encoder_alone
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.more_training import start_layers_again
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import NotDefinedError
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.terms.program import undisturbed
from faults.families import Programs
from faults.pairs import AlteredGuide


def measured(model, guide, data, gap=9.0):
    subject = Subject(model, guide, data, most_test=100)
    subject.measured.update(train_amortization_gap=Measurement(gap), train_kl_to_prior=Measurement(9.0))
    with undisturbed(model, guide):
        return measure_encoder_alone(subject)


def test_an_encoder_of_another_decoder_regains_what_was_lost(patient):
    healthy = patient("healthy", seed=1)
    weights = [weight.clone() for weight in (*healthy.model.parameters(), *healthy.guide.parameters())]
    permuted = AlteredGuide(healthy.guide, lambda loc, scale: (loc.roll(1, -1), scale.roll(1, -1)))
    found = measured(healthy.model, permuted, healthy.data)
    assert found["gain_of_encoder"].value > 10
    assert found["gain_of_encoder"] == max(
        (found[f"gain_of_{start}_encoder"] for start in ("present", "fresh")), key=lambda gain: gain.value
    )
    right = measured(healthy.model, healthy.guide, healthy.data)["gain_of_encoder"]
    assert right.value < 0.5
    for weight, before in zip((*healthy.model.parameters(), *healthy.guide.parameters()), weights, strict=True):
        assert torch.equal(weight, before)


def test_without_a_gap_nothing_is_trained(patient):
    healthy = patient("healthy", seed=1)
    assert measured(*healthy[:3], gap=0.1) == {"gain_of_encoder": Measurement(0.0)}


def test_methods_of_one_module_are_told_apart_by_what_they_do(patient):
    """Only what q depends on is trained, and only its layers are started again."""
    healthy = patient("healthy", seed=1)
    both = Programs((healthy.model, healthy.guide))
    with undisturbed(both.model, both.guide):
        copy = _with_model_held(Subject(both.model, both.guide, healthy.data))
    ours = {name for name in copy.weights if ".of_guide." in name}
    assert {name for name, weight in copy.weights.items() if weight.requires_grad} == ours
    before = {name: weight.clone() for name, weight in copy.weights.items()}
    assert start_layers_again(copy, copy.guide) > 0
    changed = {name for name, weight in copy.weights.items() if not torch.equal(weight, before[name])}
    assert changed == ours


class Sharing(SingleLatentGuide):
    """q's means go through a layer of the decoder."""

    def __init__(self, guide, layer):
        super().__init__()
        self.guide, self.layer = guide, layer

    def variational_posterior(self, x):
        q = self.guide.variational_posterior(x)
        return diagonal_normal(q.base_dist.loc + 0 * self.layer.weight.sum(), q.base_dist.scale)


def test_what_shares_parameters_cannot_be_trained_alone(patient):
    healthy = patient("healthy", seed=1)
    layer = next(part for part in healthy.model.modules() if isinstance(part, torch.nn.Linear))
    with pytest.raises(NotDefinedError, match="encoder and decoder have no parameters of their own"):
        measured(healthy.model, Sharing(healthy.guide, layer), healthy.data)
    with pytest.raises(NotDefinedError, match="the amortization gap was not measured"):
        measure_encoder_alone(Subject(*healthy[:3]))
