"""Dropout that evaluation mode does not end, in either network, of networks and of programs."""

import pytest
from torch import nn

import bayes_vae as bv
from bayes_vae.diagnosis import diagnose
from bayes_vae.diagnosis.measure.first_look import look_first
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import UnrepeatableError
from bayes_vae.terms.program import undisturbed
from faults.families import Programs
from faults.pairs import AlteredModel
from faults.wild_cases import seeing


def left_on(x):
    return nn.functional.dropout(x.float(), 0.3)


@pytest.fixture
def noisy(patient):
    """``noisy("encoder" or "decoder")``: a healthy pair with dropout that stays on, and its data."""
    healthy = patient("healthy", seed=1)

    def build(where):
        if where == "encoder":
            return (*seeing(left_on)(healthy[:2]), healthy.data)
        return AlteredModel(healthy.model, likelihood=lambda z: healthy.model.likelihood(left_on(z))), *healthy[1:3]

    return build


@pytest.mark.parametrize("where", ["encoder", "decoder"])
def test_dropout_that_is_left_on_is_named_and_rules_out_the_rest(noisy, where):
    found = diagnose(*noisy(where), num_observations=100)
    assert [finding.name for finding in found.findings] == ["not-repeatable"]
    assert found.findings[0].sureness == "clear"
    assert all("fix that first" in check.reason for check in found.not_checked)


def test_an_estimator_says_that_calls_differ(noisy):
    model, guide, data = noisy("encoder")
    with pytest.raises(UnrepeatableError, match=r"something else at each call: .*log_guide change for the same x"):
        bv.elbo_terms(model, guide, data.test.observations(slice(0, 9)), 3)


def test_programs_that_draw_more_than_their_latents(noisy):
    model, guide, data = noisy("encoder")
    programs = Programs((model, guide))
    found = diagnose(programs.model, programs.guide, data, num_observations=100)
    assert [finding.name for finding in found.findings] == ["not-repeatable"]


def test_dropout_that_evaluation_mode_ends_is_left_alone(patient):
    healthy = patient("healthy", seed=1)
    guide = seeing(lambda x: guide.dropout(x.float()))(healthy[:2])[1]
    guide.dropout = nn.Dropout(0.5)
    subject = Subject(healthy.model, guide.train(), healthy.data)
    with undisturbed(healthy.model, guide):
        assert look_first(subject) == {}
