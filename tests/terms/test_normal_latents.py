"""Latents that are normals given x and what stands beside it: several sites, covariates, observed sites, masks."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import bayes_vae as bv
from bayes_vae.diagnosis.measure.amortization import measure_amortization
from bayes_vae.diagnosis.measure.codes_and_prior import measure_codes, measure_hole
from bayes_vae.diagnosis.measure.decoder_output import measure_logits, measure_pixel_scale, measure_reach
from bayes_vae.diagnosis.measure.stationarity import measure_stationarity
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import DoesNotApplyError, NotDefinedError
from bayes_vae.terms.containers import ModelSite
from bayes_vae.terms.factorized import as_factorized
from bayes_vae.terms.normal_latents import NormalBatch, normal_latents, numbers_of
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import TensorRows
from bayes_vae.terms.stream import read_pair
from bayes_vae.terms.traced import TracedPair

COUNT, WIDTH, NOISE = 300, torch.tensor([1.5, 0.8]), 0.6
SHIFT = torch.tensor([[-1.0, 0.5], [0.0, 2.0], [1.5, -1.0]])
"""The mean of p(z given y), for each y."""


def observations() -> tuple[Tensor, Tensor]:
    """x and y of the model below, x of shape (N, 2)."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (COUNT,), generator=generator)
    z = SHIFT[y] + torch.randn(COUNT, 2, generator=generator)
    return WIDTH * z + NOISE * torch.randn(COUNT, 2, generator=generator), y


def conditional(kl_weight: float = 1.0, off: float = 0.0) -> tuple[Program, Program]:
    """p(z given y) = N(a_y, 1), p(x given z) = N(w z, s²); the best q at a weight on the KL, moved by ``off``."""
    precision = WIDTH.square() / (NOISE**2 * kl_weight)

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(SHIFT[y.long()], 1.0).to_event(1))
            pyro.sample("x", dist.Normal(WIDTH * z, NOISE).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        loc = (SHIFT[y.long()] + precision * x / WIDTH) / (1 + precision)
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(loc + off, (1 + precision).rsqrt()).to_event(1))

    return model, guide


def two_sites() -> tuple[Program, Program]:
    """The same z in two sites, one without an event dimension, and x in two sites, one under a mask."""

    def model(x: Tensor, y: Tensor, seen: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            style = pyro.sample("style", dist.Normal(SHIFT[y.long(), 1], 1.0))
            content = pyro.sample("content", dist.Normal(SHIFT[y.long()][:, :1], 1.0).to_event(1))
            pyro.sample("first", dist.Normal(WIDTH[:1] * content, NOISE).to_event(1), obs=x[:, :1])
            pyro.sample("second", dist.Normal(WIDTH[1] * style, NOISE).mask(seen), obs=x[:, 1])

    def guide(x: Tensor, y: Tensor, seen: Tensor) -> None:
        precision = WIDTH.square() / NOISE**2 * torch.stack([torch.ones(len(x)), seen.float()], -1)
        loc = (SHIFT[y.long()] + precision * x / WIDTH) / (1 + precision)
        scale = (1 + precision).rsqrt()
        with pyro.plate("rows", len(x)):
            pyro.sample("content", dist.Normal(loc[:, :1], scale[:, :1]).to_event(1))
            pyro.sample("style", dist.Normal(loc[:, 1], scale[:, 1]))

    return model, guide


@pytest.fixture(autouse=True)
def _isolated(isolated_globals):
    with isolated_globals(seed=0):
        yield


def read(programs: tuple[Program, Program], *x: Tensor) -> NormalBatch:
    """The pair's latents as one vector, at all rows."""
    rows = TensorRows(x, torch.arange(len(x[0])))
    pair = read_pair(*programs, rows)
    assert isinstance(pair, TracedPair)
    return normal_latents(pair, rows).bind(x, rows.index)


def subject(programs: tuple[Program, Program], *x: Tensor) -> Subject:
    """A pair that is diagnosed."""
    return Subject(*programs, bv.load_data(x, kind="real", test=0.2))


def test_terms_of_one_vector_are_those_of_the_traces() -> None:
    x, y = observations()
    seen = torch.rand(COUNT, generator=torch.Generator().manual_seed(1)) > 0.3
    batch = read(two_sites(), x, y, seen)
    terms = bv.elbo_terms(*two_sites(), (x, y, seen), 2, kl="analytic")
    torch.testing.assert_close(batch.kl_per_dimension().sum(-1).double(), terms.kl_to_prior)
    assert sorted(batch.numbers) == ["content_0", "style_0"]
    z = torch.randn(4, COUNT, 2, generator=torch.Generator().manual_seed(2))
    latents = batch.split(z)
    assert latents["style"].shape == (4, COUNT)
    assert latents["content"].shape == (4, COUNT, 1)
    first = dist.Normal(WIDTH[0] * latents["content"][..., 0], NOISE).log_prob(x[:, 0])
    second = dist.Normal(WIDTH[1] * latents["style"], NOISE).log_prob(x[:, 1]) * seen
    torch.testing.assert_close(batch.log_likelihood_at(z), first + second)


@pytest.mark.parametrize("kl_weight", [0.25, 1.0, 4.0])
def test_the_weight_on_the_kl_is_found_under_a_conditional_prior(kl_weight: float) -> None:
    found = measure_stationarity(subject(conditional(kl_weight), *observations()))
    for name in ("kl_weight_of_means", "kl_weight_of_scales"):
        assert found[name].value == pytest.approx(kl_weight, rel=0.05), name


def test_the_amortization_gap_under_a_conditional_prior_is_the_known_one() -> None:
    off = 0.5
    found = measure_amortization(subject(conditional(off=off), *observations()))["train_amortization_gap"]
    truth = float((off**2 * (1 + WIDTH.square() / NOISE**2) / 2).sum())
    assert found.value == pytest.approx(truth, abs=0.05)


def test_codes_are_in_units_of_their_own_prior() -> None:
    """Under p(z given y) all codes together are the prior, although those of each y lie elsewhere."""
    pair = subject(conditional(), *observations())
    assert measure_hole(pair)["marginal_kl_bound"].value < 0.1
    found = measure_codes(pair)
    assert found["aggregate_mean_off"].value < 0.2
    assert abs(found["aggregate_deviation_largest"].value - 1) < 0.2


def test_the_decoder_of_several_sites_is_read_number_by_number() -> None:
    x, y = observations()
    seen = torch.rand(COUNT, generator=torch.Generator().manual_seed(1)) > 0.3
    pair = subject(two_sites(), x, y, seen)
    found = measure_pixel_scale(pair) | measure_reach(pair)
    assert found["pixel_scale"].value == pytest.approx(NOISE)
    assert 0.8 < found["residual_over_scale"].value < 1.2
    with pytest.raises(DoesNotApplyError, match="the likelihood is Normal, not Bernoulli"):
        measure_logits(pair)


def test_latents_with_parents_are_named() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            low = pyro.sample("low", dist.Normal(top, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(low, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            pyro.sample("top", dist.Normal(x / 2, 1.0).to_event(1))
            pyro.sample("low", dist.Normal(x / 3, 1.0).to_event(1))

    with pytest.raises(NotDefinedError, match="another latent depends on 'top', so z is no one normal vector"):
        read((model, guide), torch.randn(5, 1))


def test_a_prior_that_is_no_normal_is_named() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Laplace(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0).to_event(1))

    with pytest.raises(NotDefinedError, match="the prior of site 'z' is Laplace, and no normal with independent"):
        read((model, guide), torch.randn(5, 1))


def test_a_pair_of_x_alone_keeps_its_likelihood() -> None:
    """Where p(x given z) can be read too, it is: pictures and the aggregate posterior need it."""

    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.7).to_event(1))

    rows = TensorRows((torch.randn(5, 1),), torch.arange(5))
    assert hasattr(as_factorized(read_pair(model, guide, rows), rows), "model")
    assert type(as_factorized(read_pair(model, guide, rows), rows)).__name__ == "TracedDistributions"


def test_several_parameters_for_each_number_are_neither_logits_nor_means():
    logits = torch.randn(1, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    site = ModelSite("x", dist.Categorical(logits=logits).to_event(1), torch.ones(1, 5, 4), None, lambda rows, _: rows)
    base, first, second, numbers = numbers_of(site)
    assert isinstance(base, dist.Categorical)
    assert first.shape == second.shape == (5, 0)
    assert torch.equal(numbers, torch.ones(5, 4))
