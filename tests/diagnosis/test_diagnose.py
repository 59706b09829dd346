"""The diagnosis of trained pairs: faults are named, a healthy pair is left alone, and nothing is changed."""

import json

import pyro
import pytest
import torch
from torch import nn

from bayes_vae import diagnose, pair_from_networks
from bayes_vae.diagnosis.faults import CASES
from bayes_vae.errors import DataError

QUICK = ("kl-weight-2", "scale-square")


def diagnosed(patient, **options):
    settings = {"history": patient.history, "settings": patient.settings, **options}
    return diagnose(patient.model, patient.guide, patient.data, **settings)


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_named_first(patient, name):
    found = diagnosed(patient(name))
    assert found.findings[0].name in CASES[name].expected
    assert not found.healthy
    assert found.sentence().startswith(f"Found: {found.findings[0].name}")


def test_a_healthy_pair_is_left_alone_and_as_it_was(patient):
    healthy = patient("healthy")
    before = {name: value.clone() for name, value in healthy.guide.state_dict().items()}
    healthy.guide.train()
    found = diagnosed(healthy, seed=1)
    assert found.healthy, found.table()
    assert all(module.training for module in healthy.guide.modules())
    healthy.guide.eval()
    assert all(torch.equal(value, before[name]) for name, value in healthy.guide.state_dict().items())
    assert all(parameter.grad is None or parameter.requires_grad for parameter in healthy.guide.parameters())
    assert json.dumps(found.to_json()) == json.dumps(diagnosed(healthy, seed=1).to_json())
    assert {check.name for check in found.not_checked} == {"likelihood-scale"}


@pytest.mark.parametrize("name", ["gray-data", "pixels-to-255", "not-finite"])
def test_what_rules_out_every_other_check(isolated_globals, monkeypatch, name):
    monkeypatch.setattr("bayes_vae.diagnosis.faults.cases.EPOCHS", 1)
    with isolated_globals():
        sick = CASES[name].build(0)
    found = diagnosed(sick)
    assert [finding.name for finding in found.findings] == list(CASES[name].expected)
    assert found.not_checked[0].reason == f"{CASES[name].expected[0]}: mend that first."
    assert not found.measurements


def test_data_out_of_range_are_named_where_they_drove_the_weights_to_nan(isolated_globals, monkeypatch):
    monkeypatch.setattr("bayes_vae.diagnosis.faults.cases.EPOCHS", 1)
    with isolated_globals():
        sick = CASES["pixels-to-255"].build(1)
        torch.nn.init.constant_(next(sick.model.parameters()), torch.nan)
    assert [finding.name for finding in diagnosed(sick).findings] == ["data-range"]


class AsPrograms(nn.Module):
    """The pair of a case as a module with two Pyro programs, which expose nothing."""

    def __init__(self, patient):
        super().__init__()
        self.decoder, self.encoder = patient.model, patient.guide

    def model(self, x):
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", self.decoder.prior())
            pyro.sample("x", self.decoder.likelihood(z), obs=x)

    def guide(self, x):
        with pyro.plate("images", len(x)):
            pyro.sample("z", self.encoder.variational_posterior(x))


def test_any_pyro_programs_are_diagnosed_as_far_as_they_go(patient):
    sick = patient("kl-weight-2")
    programs = AsPrograms(sick)
    found = diagnose(programs.model, programs.guide, sick.data)
    assert found.findings[0].name == "kl-weight"
    assert found.measurements["kl_weight"].value == pytest.approx(2.0, rel=0.15)
    reasons = dict(found.not_checked)
    assert "does not expose its distributions" in reasons["prior-hole"]
    assert "does not expose its distributions" in reasons["scale-misread"]
    assert {"overfitting", "undertraining", "kl-weight", "posterior-collapse"}.isdisjoint(reasons)


def test_networks_whose_log_variance_was_said_to_be_a_log_scale(patient, isolated_globals):
    plain = patient("healthy", seed=1)
    said = {"latent_dim": 6, "data_shape": (8, 8), "input_shape": (64,), "split": True, "decoder_output": "logits"}
    with isolated_globals():
        pair = pair_from_networks(plain.guide.encoder, plain.model.decoder, encoder_output="loc-and-log-scale", **said)
    found = diagnose(*pair, plain.data)
    assert found.findings[0].name == "scale-misread"
    assert "with its square root in their place" in found.findings[0].summary


def test_data_without_a_policy_are_refused(patient):
    healthy = patient("healthy")
    with pytest.raises(DataError, match="takes a data set with its policy, got Tensor: pass bayes_vae.load_data"):
        diagnose(healthy.model, healthy.guide, torch.zeros(3, 8, 8))


@pytest.mark.statistical
@pytest.mark.parametrize("name", CASES)
def test_every_case(patient, name):
    found = diagnosed(patient(name))
    if CASES[name].expected:
        assert set(CASES[name].expected) & {finding.name for finding in found.findings[:2]}
    else:
        assert found.healthy
