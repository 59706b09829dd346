"""The diagnosis of trained pairs: faults are named, a healthy pair is left alone, and nothing is changed."""

import json
from dataclasses import replace
from itertools import pairwise

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from bayes_vae import diagnose, elbo_terms, load_data, pair_from_networks
from bayes_vae.diagnosis.measure.gray import AsTrained, binarized
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import DataError, SettingsError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from faults.cases import CASES

QUICK = ("kl-weight-2", "scale-square")


def diagnosed(patient, **options):
    settings = {"history": patient.history, "settings": patient.settings, "seconds": float("inf"), **options}
    return diagnose(patient.model, patient.guide, patient.data, **settings)


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_named_first(patient, name):
    found = diagnosed(patient(name))
    assert found.findings[0].name in CASES[name].expected
    assert not found.healthy
    assert found.sentence().startswith(f"Found: {found.findings[0].name}")


def test_a_healthy_pair_is_left_alone_and_as_it_was(patient):
    healthy = patient("healthy")
    parameters = [*healthy.model.parameters(), *healthy.guide.parameters()]
    before = [(part.detach().clone(), None if part.grad is None else part.grad.clone()) for part in parameters]
    generator, store = torch.get_rng_state(), dict(pyro.get_param_store())
    healthy.guide.train()
    found = diagnosed(healthy, seed=1)
    assert found.healthy, found.table()
    assert all(module.training for module in healthy.guide.modules())
    healthy.guide.eval()
    for part, (value, grad) in zip(parameters, before, strict=True):
        assert torch.equal(part, value)
        assert part.requires_grad
        assert (part.grad is None) == (grad is None)
        assert grad is None or torch.equal(part.grad, grad)
    assert torch.equal(torch.get_rng_state(), generator)
    assert dict(pyro.get_param_store()) == store
    assert json.dumps(found.to_json()) == json.dumps(diagnosed(healthy, seed=1).to_json())
    assert found.not_checked == ()
    assert "likelihood-scale" in {check.name for check in found.not_applicable}
    assert found.sentence().startswith("Nothing was found to be wrong, by any of the ")


@pytest.mark.parametrize("name", ["pixels-to-255", "not-finite"])
def test_what_rules_out_every_other_check(isolated_globals, monkeypatch, name):
    monkeypatch.setattr("faults.cases.EPOCHS", 1)
    with isolated_globals():
        sick = CASES[name].build(0)
    found = diagnosed(sick)
    assert [finding.name for finding in found.findings] == list(CASES[name].expected)
    assert found.not_checked[0].reason == f"{CASES[name].expected[0]}: fix that first."
    assert not found.measurements


def test_data_out_of_range_are_named_where_they_drove_the_weights_to_nan(isolated_globals, monkeypatch):
    monkeypatch.setattr("faults.cases.EPOCHS", 1)
    with isolated_globals():
        sick = CASES["pixels-to-255"].build(1)
        torch.nn.init.constant_(next(sick.model.parameters()), torch.nan)
    (found,) = diagnosed(sick).findings
    assert (found.name, found.probability) == ("data-range", 1.0)
    assert found.summary == (
        "site 'x': a Bernoulli likelihood takes zeros and ones, but the observations range over [0, 255] with values "
        "in between or outside."
    )
    assert [number.name for number in found.measurements] == ["largest_value", "smallest_value"]


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


class TwoLayers(AsPrograms):
    """The same with a latent above z, on which the mean of z depends."""

    def model(self, x):
        with pyro.plate("images", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(0.1 * top.expand(*top.shape[:-1], 6), 1.0).to_event(1))
            pyro.sample("x", self.decoder.likelihood(z), obs=x)

    def guide(self, x):
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", self.encoder.variational_posterior(x))
            pyro.sample("top", dist.Normal(0.1 * z[..., :1], 1.0).to_event(1))


def test_any_pyro_programs_are_diagnosed_as_far_as_they_go(patient):
    sick = patient("kl-weight-2")
    programs = AsPrograms(sick)
    found = diagnose(programs.model, programs.guide, sick.data, seconds=float("inf"))
    assert found.findings[0].name == "kl-weight"
    assert found.measurements["kl_weight"].value == pytest.approx(2.0, rel=0.15)
    assert found.not_checked == ()


def test_programs_whose_latents_depend_on_each_other_are_diagnosed_as_far_as_they_go(patient):
    programs = TwoLayers(patient("healthy"))
    found = diagnose(programs.model, programs.guide, patient("healthy").data, seconds=float("inf"))
    reasons = dict(found.not_checked)
    assert "another latent depends on 'z', so z is no one normal vector" in reasons["prior-hole"]
    assert "another latent depends on 'z'" in reasons["scale-misread"]
    asked = {"overfitting", "undertraining", "kl-weight", "posterior-collapse", "layer-dead", "sigmoid-missing"}
    assert asked.isdisjoint(reasons)
    assert f"{found.num_made} of {found.num_checks} checks could be made" in found.sentence()


def test_networks_whose_log_variance_was_said_to_be_a_log_scale(patient, isolated_globals):
    plain = patient("healthy", seed=1)
    said = {"latent_dim": 6, "data_shape": (8, 8), "input_shape": (64,), "split": True, "decoder_output": "logits"}
    with isolated_globals():
        pair = pair_from_networks(plain.guide.encoder, plain.model.decoder, encoder_output="loc-and-log-scale", **said)
    found = diagnose(*pair, plain.data, seconds=float("inf"))
    assert found.findings[0].name == "scale-misread"
    assert "with its square root in their place" in found.findings[0].summary


def test_too_few_observations_are_no_ground_for_a_finding(patient):
    healthy = patient("healthy")
    with pytest.raises(SettingsError, match="num_observations must be a whole number of at least 20, got 5"):
        diagnosed(healthy, num_observations=5)
    few = replace(
        healthy.data.test, values=healthy.data.test.values[:3], labels=None, index=healthy.data.test.index[:3]
    )
    found = diagnosed(healthy._replace(data=replace(healthy.data, test=few)))
    assert not found.findings
    assert found.sentence() == (
        "Nothing could be checked: of training or test rows there are only 3, and means need 20. Choose "
        "another split: load_data(x, test=0.4), --split 0.4 0.2 0.4 with --data FILE."
    )


def test_what_is_held_stays_held_in_the_copy(patient):
    held = patient("healthy")
    held.model.requires_grad_(False)
    try:
        copy = Subject(*held[:3]).copy()
        assert not any(weight.requires_grad for weight in copy.model.parameters())
        assert all(weight.requires_grad for weight in copy.guide.parameters())
        held.guide.requires_grad_(False)
        copy = Subject(*held[:3]).copy()
        assert all(weight.requires_grad for part in (copy.model, copy.guide) for weight in part.parameters())
    finally:
        held.model.requires_grad_(True)
        held.guide.requires_grad_(True)


def test_too_few_rows_are_refused(patient):
    healthy = patient("healthy")
    with pytest.raises(DataError, match="a data set needs at least 10 rows"):
        diagnose(healthy.model, healthy.guide, torch.zeros(3, 8, 8))


class BySampling(AsPrograms):
    """The same with categorical latents, whose KL no parameter balances by a gradient through z."""

    def model(self, x):
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", pyro.distributions.OneHotCategorical(logits=torch.zeros(len(x), 6)))
            pyro.sample("x", self.decoder.likelihood(z), obs=x)

    def guide(self, x):
        with pyro.plate("images", len(x)):
            loc = self.encoder.variational_posterior(x).base_dist.loc
            pyro.sample("z", pyro.distributions.OneHotCategorical(logits=loc))


def test_where_little_can_be_asked_nobody_is_called_healthy(patient):
    programs = BySampling(patient("healthy", seed=1))
    found = diagnose(programs.model, programs.guide, patient("healthy", seed=1).data, checks=("elbo", "parameters"))
    assert found.findings == () or all(finding.severity == "note" for finding in found.findings)
    assert found.healthy is None
    assert found.to_json()["healthy"] is None
    assert f"{found.num_made} of {found.num_checks} checks could be made on this pair" in found.sentence()
    assert found.num_made < 3


def test_gray_pixels_are_read_as_trained_and_as_a_density(isolated_globals, monkeypatch):
    """A right training by cross-entropy: both weights read 1 on the objective of the training."""
    monkeypatch.setattr("faults.cases.EPOCHS", 30)
    with isolated_globals():
        gray = CASES["gray-data"].build(1)
    found = diagnosed(gray, checks=("elbo", "generalization", "balance", "codes"))
    first = found.findings[0]
    assert (first.name, first.severity) == ("gray-data", "fault")
    assert [finding.name for finding in found.findings[1:] if finding.severity != "note"] == []
    for name in ("kl_weight_of_means", "kl_weight_of_scales"):
        assert found.measurements[name].value == pytest.approx(1.0, abs=0.2)
        assert f"{name}_on_binarized" in found.measurements
    pixels = binarized(gray.data).test
    density = elbo_terms(gray.model, gray.guide, pixels.observations(seed=0), 16, seed=5, index=pixels.index)
    worth = found.measurements["test_elbo_on_binarized"]
    assert worth.value == pytest.approx(density.averages()["elbo"].value, abs=0.1)
    assert abs(worth.value - found.measurements["test_elbo"].value) > 0.2
    assert "Read as it was trained, by cross-entropy, the pair has KL weights" in first.summary
    assert "read as a density of binarized pixels, it has an ELBO of" in first.summary
    assert "as it was trained, by cross-entropy on gray values" in found.table()
    assert found.data_policy == "none"


def test_as_trained_is_minus_the_cross_entropy(patient):
    healthy = patient("healthy", seed=1)
    generator = torch.Generator().manual_seed(0)
    z, x = torch.randn(5, 6, generator=generator), torch.rand(5, 8, 8, generator=generator)
    logits = healthy.model.likelihood(z).logits
    expected = -nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2))
    torch.testing.assert_close(AsTrained(healthy.model).likelihood(z).log_prob(x), expected)


def test_gray_pixels_of_programs_are_binarized(patient):
    programs = AsPrograms(patient("healthy", seed=1))
    data = patient("healthy", seed=1).data
    gray = replace(data, **_unbinarized(data))
    found = diagnose(programs.model, programs.guide, gray, checks=("elbo", "parameters"))
    assert found.findings[0].name == "gray-data"
    assert "The numbers below are for binarized pixels." in found.findings[0].summary
    assert found.measurements["train_elbo"].value < 0
    assert found.read_as.startswith("on pixels that were binarized for it")


@pytest.mark.parametrize("likelihood", ["negative-binomial", "discretized-logistic"])
def test_fractions_under_a_likelihood_of_numbers_are_no_gray_pixels(isolated_globals, likelihood):
    shape = (8, 8)
    with isolated_globals(seed=0):
        pair = VAE(2, shape, likelihood=likelihood, hidden_dims=(8,)), AmortizedNormalGuide(2, shape, hidden_dims=(8,))
    x = torch.rand(200, *shape, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    found = diagnose(*pair, load_data(x, kind="gray", policy="none"), seconds=float("inf"))
    assert [finding.name for finding in found.findings] == ["data-range"]
    assert "Bernoulli" not in found.findings[0].summary


def _unbinarized(data):
    return {name: replace(getattr(data, name), policy="none") for name in ("train", "validation", "test")}


@pytest.mark.statistical
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.expected])
def test_more_data_never_removes_a_true_finding(patient, name):
    named = [
        set(CASES[name].expected)
        & {finding.name for finding in diagnosed(patient(name), num_observations=rows).findings}
        for rows in (60, 400, 800)
    ]
    for fewer, more in pairwise(named):
        assert bool(more) >= bool(fewer), named


@pytest.mark.statistical
@pytest.mark.parametrize("name", CASES)
def test_every_case(patient, name):
    found = diagnosed(patient(name))
    if CASES[name].expected:
        assert set(CASES[name].expected) & {finding.name for finding in found.findings[:2]}
    else:
        assert found.healthy
