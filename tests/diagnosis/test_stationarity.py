"""The estimated KL weight where it is known: a linear-Gaussian model and the best normal guide for any weight."""

from dataclasses import replace

import pytest
import torch
from pyro import distributions as dist

from bayes_vae.data import load_data
from bayes_vae.diagnosis.measure.deviations import measure_scales
from bayes_vae.diagnosis.measure.stationarity import (
    Pulls,
    measure_stationarity,
    pulls,
    ratio_of_sums,
    stationary_weights,
)
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.distributions import diagonal_normal
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.terms.program import undisturbed


class BestGuide(SingleLatentGuide):
    """The factorized normal that maximizes E_q log p(x given z) − β KL for each x of a linear-Gaussian model.

    The KL is to a normal prior with a mean and variance that need not be those of the model.
    """

    def __init__(self, model, weight, scale_of=None, prior=(0.0, 1.0)):
        super().__init__()
        self._model, self.weight, self.scale_of, self.prior = (model,), weight, scale_of, prior

    def variational_posterior(self, x) -> dist.TorchDistribution:
        model = self._model[0]
        pull = model.weight.T @ model.weight * (-2 * model.log_scale).exp()
        centre, variance = self.prior
        held = pull + self.weight / variance * torch.eye(model.latent_dim, dtype=x.dtype)
        centred = (x - model.bias) @ model.weight * (-2 * model.log_scale).exp() + self.weight * centre / variance
        scale = (self.weight / (pull.diagonal() + self.weight / variance)).sqrt()
        scale = self.scale_of(pull.diagonal()) if self.scale_of else scale
        return diagonal_normal(centred @ torch.linalg.inv(held).T, scale.expand(len(x), -1))


@pytest.fixture(scope="module")
def subject_at(linear_gaussian):
    model, _ = linear_gaussian
    data = load_data(model.sample(300, seed=2).detach(), kind="real", policy="none")
    return lambda weight, scale_of=None, **prior: Subject(model, BestGuide(model, weight, scale_of, **prior), data)


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


@pytest.mark.parametrize(("centre", "variance"), [(0.0, 10.0), (0.0, 0.2), (1.5, 1.0), (-1.0, 4.0)])
def test_another_prior_in_the_loss_is_read_off(subject_at, within, centre, variance):
    subject = subject_at(1.0, prior=(centre, variance))
    with undisturbed(subject.model, subject.guide):
        found = measure_stationarity(subject)
    assert found["prior_precision"].value == pytest.approx(1 / variance, rel=1e-4)
    assert found["prior_centre_off"].value == pytest.approx(abs(centre), abs=1e-3)
    under = found["kl_weight_of_scales_under_prior"]
    within(under.value, 1.0, under.error)
    assert under.error < 0.1


def test_the_centre_of_another_prior_has_its_error():
    """Pulls (m − a) / v plus noise of a known size σ: the error of a is v σ / √N, that of the slope added."""
    random = torch.Generator().manual_seed(0)
    centre, variance, noise, count = 0.8, 2.0, 1.5, 2000
    m = torch.randn(count, 1, dtype=torch.float64, generator=random)
    off = []
    for _ in range(40):
        pull = (m - centre) / variance + noise * torch.randn(count, 1, dtype=torch.float64, generator=random)
        nothing = torch.ones_like(m)
        found = stationary_weights(Pulls(pull, nothing, nothing, m, nothing, nothing / 2))["prior_centre_off"]
        off.append((found.value - centre) / found.error)
    assert found.error == pytest.approx(variance * noise / count**0.5, rel=0.2)
    assert 0.6 < torch.tensor(off).std() < 1.4


class Dropping(SingleLatentGuide):
    """The linear encoder behind dropout of its inputs that maximizes the ELBO of a linear-Gaussian model on some rows.

    With H m = h(x) at the best mean m of an x, the best W of m = W d(x − b), with masks of mean 1 and variance
    p / (1 − p), is H⁻¹ A S (S + p / (1 − p) diag(S))⁻¹, where h(x) = A (x − b) and S is the second moment of x − b.
    """

    def __init__(self, model, x, p):
        super().__init__()
        self._model, self.drop = (model,), torch.nn.Dropout(p)
        precise = (-2 * model.log_scale).exp()
        pull = model.weight.T @ model.weight * precise
        held = pull + torch.eye(model.latent_dim, dtype=x.dtype)
        second = (x - model.bias).T @ (x - model.bias) / len(x)
        widened = second + p / (1 - p) * second.diagonal().diag()
        best = torch.linalg.inv(held) @ model.weight.T * precise @ second @ torch.linalg.inv(widened)
        self.register_buffer("best", best.detach())
        self.register_buffer("scale", (pull.diagonal() + 1).rsqrt().detach())

    def variational_posterior(self, x) -> dist.TorchDistribution:
        return diagonal_normal(self.drop(x - self._model[0].bias) @ self.best.T, self.scale.expand(len(x), -1))


def test_dropout_is_on_where_the_balance_is_measured(subject_at, within):
    """At rest under dropout, a pair is not at rest without it; afterwards the layer is as it was."""
    subject = subject_at(1.0)
    guide = Dropping(subject.model, subject.train.x[0], 0.5)
    dropping = replace(subject, guide=guide)
    with undisturbed(subject.model, guide):
        found = measure_stationarity(dropping)["kl_weight_of_means"]
        assert not guide.drop.training
        again = measure_stationarity(dropping)["kl_weight_of_means"]
        guide.drop.p = 0.0
        without = measure_stationarity(dropping)["kl_weight_of_means"]
    within(found.value, 1.0, found.error)
    assert found.error < 0.4
    assert abs(without.value - 1) > 4 * without.error
    assert abs(without.value - 1) > 4 * found.error
    assert again == found


def test_a_weight_is_not_taken_for_another_prior(subject_at):
    subject = subject_at(4.0)
    with undisturbed(subject.model, subject.guide):
        found = measure_stationarity(subject)
    assert found["prior_precision"].value == pytest.approx(4.0, rel=1e-4)
    assert abs(found["kl_weight_of_scales_under_prior"].value - 1) > 0.3


class OfMoments(SingleLatentGuide):
    """Points that are at rest where the loss has the KL of the mean and variance of all points, on given rows."""

    def __init__(self, model, x):
        super().__init__()
        self._model = (model,)
        self.pull = model.weight.T @ model.weight * (-2 * model.log_scale).exp()
        self.held, size = torch.ones(model.latent_dim, dtype=x.dtype), torch.eye(model.latent_dim, dtype=x.dtype)
        mean = self.centred(x).mean(0)
        self.middle = torch.linalg.solve(self.pull + size, mean)
        for _ in range(200):
            self.held = 1 - 1 / self.variational_posterior(x).mean.var(0, correction=0)

    def centred(self, x):
        model = self._model[0]
        return (x - model.bias) @ model.weight * (-2 * model.log_scale).exp()

    def variational_posterior(self, x) -> dist.TorchDistribution:
        off = self.centred(x) - (self.pull @ self.middle + self.middle)
        loc = self.middle + torch.linalg.solve(self.pull + self.held.diag(), off.T).T
        return diagonal_normal(loc, torch.full_like(loc, 1e-4))


def test_the_kl_of_all_codes_moments_is_read_off(linear_gaussian, subject_at):
    """Where their variance is not that of the prior the means have a weight, and it is not 0: MNIST gives a quarter."""
    model, x = linear_gaussian[0], subject_at(1.0).train.x[0]
    subject = Subject(model, OfMoments(model, x), subject_at(1.0).data)
    with undisturbed(subject.model, subject.guide):
        found = measure_stationarity(subject)
        usual = measure_stationarity(subject_at(1.0))
    assert found["kl_weight_of_moments"].value == pytest.approx(1.0, abs=0.02)
    assert abs(found["kl_weight_of_means"].value - 1) > 0.3
    assert abs(usual["kl_weight_of_moments"].value - 1) > 0.3


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
