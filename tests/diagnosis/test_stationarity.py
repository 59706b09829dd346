"""The estimated KL weight where it is known: a linear-Gaussian model and the best normal guide for any weight."""

import pytest
import torch
from pyro import distributions as dist

from bayes_vae.data import load_data
from bayes_vae.diagnosis.measure.deviations import measure_scales
from bayes_vae.diagnosis.measure.stationarity import measure_stationarity, pulls, ratio_of_sums
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.distributions import diagonal_normal
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.terms.program import undisturbed


class BestGuide(SingleLatentGuide):
    """The factorized normal that maximizes E_q log p(x given z) − β KL for each x of a linear-Gaussian model."""

    def __init__(self, model, weight, scale_of=None):
        super().__init__()
        self._model, self.weight, self.scale_of = (model,), weight, scale_of

    def variational_posterior(self, x) -> dist.TorchDistribution:
        model = self._model[0]
        pull = model.weight.T @ model.weight * (-2 * model.log_scale).exp()
        held = pull + self.weight * torch.eye(model.latent_dim, dtype=x.dtype)
        centred = (x - model.bias) @ model.weight * (-2 * model.log_scale).exp()
        scale = (self.weight / (pull.diagonal() + self.weight)).sqrt()
        scale = self.scale_of(pull.diagonal()) if self.scale_of else scale
        return diagonal_normal(centred @ torch.linalg.inv(held).T, scale.expand(len(x), -1))


@pytest.fixture(scope="module")
def subject_at(linear_gaussian):
    model, _ = linear_gaussian
    data = load_data(model.sample(300, seed=2).detach(), kind="real", policy="none")
    return lambda weight, scale_of=None: Subject(model, BestGuide(model, weight, scale_of), data)


def variance_in_kl(pull):
    """The drawn s that is best where the KL is that of √s: −p s² = (s − 1)/2."""
    return ((1 + 8 * pull).sqrt() - 1) / (4 * pull)


def square_in_kl(pull):
    """The drawn s that is best where the KL is that of s²: −p s² = 2 (s⁴ − 1)."""
    return (((pull.square() + 16).sqrt() - pull) / 4).sqrt()


@pytest.mark.parametrize("weight", [0.25, 1.0, 4.0])
def test_the_weight_is_the_one_of_the_best_guide(subject_at, within, weight):
    subject = subject_at(weight)
    with undisturbed(subject.model, subject.guide):
        found = measure_stationarity(subject)
    assert found["kl_weight_of_means"].value == pytest.approx(weight, rel=1e-5)  # pairs of draws ±ε: no noise here
    scales = found["kl_weight_of_scales"]
    within(scales.value, weight, scales.error)
    assert scales.error < 0.1 * weight


@pytest.mark.parametrize(
    ("scale_of", "name"),
    [(variance_in_kl, "kl_weight_of_scales_as_variances"), (square_in_kl, "kl_weight_of_scales_as_roots")],
)
def test_a_kl_that_reads_the_drawn_deviations_otherwise(subject_at, within, scale_of, name):
    subject = subject_at(1.0, scale_of)
    with undisturbed(subject.model, subject.guide):
        found = measure_stationarity(subject)
    within(found[name].value, 1.0, found[name].error)
    assert found[name].error < 0.1
    assert abs(found["kl_weight_of_scales"].value - 1) > 0.2


@pytest.mark.parametrize(
    ("scale_of", "declared", "drawn"),
    [(variance_in_kl, torch.sqrt, "squares"), (square_in_kl, torch.square, "roots")],
)
def test_draws_that_read_the_declared_deviations_otherwise(subject_at, within, scale_of, declared, drawn):
    subject = subject_at(1.0, lambda pull: declared(scale_of(pull)))
    with undisturbed(subject.model, subject.guide):
        found = measure_scales(subject)
    assert found[f"kl_weight_of_means_with_{drawn}"].value == pytest.approx(1.0, rel=1e-5)
    scales = found[f"kl_weight_of_scales_with_{drawn}"]
    within(scales.value, 1.0, scales.error)
    assert scales.error < 0.1


def test_the_pulls_balance_for_each_observation(subject_at):
    subject = subject_at(2.0)
    with undisturbed(subject.model, subject.guide):
        p = pulls(subject, subject.train)
    torch.testing.assert_close(p.likelihood_loc, 2.0 * p.kl_loc, rtol=1e-4, atol=1e-5)


def test_another_reading_of_the_scales_is_taken(subject_at):
    subject = subject_at(1.0)
    with undisturbed(subject.model, subject.guide):
        p = pulls(subject, subject.train, reading=torch.square)
        q = subject.guide.variational_posterior(*subject.train.x)
    torch.testing.assert_close(p.scale, q.stddev.double() ** 2)


def test_a_ratio_has_the_error_of_a_ratio(within):
    generator = torch.Generator().manual_seed(0)
    bottom = torch.rand(4000, generator=generator, dtype=torch.float64) + 1
    noise = torch.randn(4000, generator=generator, dtype=torch.float64)
    found = ratio_of_sums(3 * bottom + noise, bottom)
    within(found.value, 3.0, found.error)
    assert found.error == pytest.approx(4000**-0.5 / 1.5, rel=0.1)
