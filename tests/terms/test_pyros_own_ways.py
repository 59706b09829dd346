"""Idioms of Pyro's own examples: plates without a size, guides made by EasyGuide, one warning a call."""

import functools
import warnings

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.contrib.easyguide import EasyGuide
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import ProgramError, ScaledSiteWarning

N = 11
X = (torch.rand(N, 6, generator=torch.Generator().manual_seed(0)) > 0.5).double()
LABELS = torch.eye(3).double()[torch.arange(N) % 3]


class SemiSupervised(nn.Module):
    """The programs of Pyro's ss_vae_M2 example, its networks made small; ``sized`` gives the plate its size."""

    def __init__(self, sized=False):
        super().__init__()
        self.encoder_y, self.encoder_z, self.decoder = nn.Linear(6, 3), nn.Linear(9, 4), nn.Linear(5, 6)
        self.size = (N,) if sized else ()
        self.double()

    def model(self, xs, ys=None):
        pyro.module("ss_vae", self)
        batch_size = xs.size(0)
        with pyro.plate("data", *self.size):
            prior_loc, prior_scale = xs.new_zeros([batch_size, 2]), xs.new_ones([batch_size, 2])
            zs = pyro.sample("z", dist.Normal(prior_loc, prior_scale).to_event(1))
            alpha_prior = xs.new_ones([batch_size, 3]) / 3
            ys = pyro.sample("y", dist.OneHotCategorical(alpha_prior), obs=ys)
            loc = self.decoder(torch.cat([zs, ys.expand(*zs.shape[:-1], 3)], -1)).sigmoid()
            pyro.sample("x", dist.Bernoulli(loc, validate_args=False).to_event(1), obs=xs)

    def guide(self, xs, ys=None):
        with pyro.plate("data", *self.size):
            if ys is None:
                ys = pyro.sample("y", dist.OneHotCategorical(logits=self.encoder_y(xs)))
            inputs = torch.cat([xs.expand(*ys.shape[:-1], 6), ys], -1)
            loc, scale = self.encoder_z(inputs).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


@pytest.fixture
def semi_supervised(isolated_globals):
    def make(sized):
        with isolated_globals(seed=0):
            return SemiSupervised(sized)

    return make


@pytest.mark.parametrize("x", [X, (X, LABELS)], ids=["labels unknown", "labels known"])
def test_a_plate_without_a_size(x, semi_supervised):
    """The same terms as with the size, and rows may be split."""
    without, sized = semi_supervised(False), semi_supervised(True)
    found = bv.log_terms(without.model, without.guide, x, 7)
    assert found.log_prior.shape == (7, N)
    if isinstance(x, tuple):  # keyed noise; unknown labels are drawn by blocks of data
        expected = bv.log_terms(sized.model, sized.guide, x, 7)
        cut = bv.log_terms(without.model, without.guide, x, 7, batch_size=4, chunk_size=2)
        for each in (expected, cut):
            torch.testing.assert_close(each.log_importance_weights, found.log_importance_weights)


def test_a_latent_that_an_unsized_plate_does_not_repeat():
    """One z for all rows: Pyro expands nothing inside a plate without a size."""

    def program(x, guide=False):
        with pyro.plate("data"):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            if not guide:
                pyro.sample("x", dist.Normal(z, torch.ones(len(x))), obs=x[:, 0])

    with pytest.raises(ProgramError, match=r"latent 'z' of the model lies outside the frame.*'data' without a size"):
        bv.elbo_terms(program, functools.partial(program, guide=True), X)


# Global latents


def regression(x, y):
    """Weights with a prior, shared by all rows, and a latent for each row."""
    w = pyro.sample("w", dist.Normal(torch.zeros(6).to(x), 1.0).to_event(1))
    b = pyro.sample("b", dist.Normal(torch.zeros(()).to(x), 1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
        pyro.sample("y", dist.Normal(x @ w + b + z, 1.0), obs=y)


class Easy(EasyGuide):
    """A group over the weights, and one over the rows' latents."""

    def guide(self, x, y):
        weights = self.group(match="[wb]")
        weights.sample("weights", dist.Normal(torch.zeros(weights.event_shape).to(x), 1.0).to_event(1))
        with self.plate("data", len(x)):
            rows = self.group(match="z")
            rows.sample("rows", dist.Normal(torch.zeros(rows.event_shape).to(x), 1.0).to_event(1))


class EasyMap(EasyGuide):
    """Point estimates, whose parameters have as many rows as the data."""

    def guide(self, x, y):
        self.map_estimate("w")
        self.map_estimate("b")
        with self.plate("data", len(x)):
            self.map_estimate("z")


@pytest.mark.parametrize("make", [Easy, EasyMap, AutoNormal, AutoDiagonalNormal, AutoDelta])
def test_global_latents_are_named_whatever_the_guide(make, clean_globals):
    guide, data = make(regression), (X, X[:, 0] + 0.1)
    guide(*data)
    with pytest.raises(ProgramError, match=r"'w' of the model lies outside.*Global latents \(here 'w', 'b'\) have no"):
        bv.elbo_terms(regression, guide, data)
    guide(*data)  # as it was before


def local(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2).to(x), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x[:, 0])


class EasyLocalMap(EasyGuide):
    def guide(self, x):
        with self.plate("data", len(x)):
            self.map_estimate("z")


class EasyLocal(EasyGuide):
    def guide(self, x):
        with self.plate("data", len(x)):
            group = self.group(match="z")
            group.sample("rows", dist.Normal(torch.zeros(group.event_shape).to(x), 1.0).to_event(1))


def test_an_easy_guide_of_point_estimates_is_no_shape_mismatch(clean_globals):
    """A probe of three rows fails on its parameters, and leaves nothing behind."""
    guide = EasyLocalMap(local)
    guide(X)
    with pytest.raises(ProgramError, match=r"guide site 'z' is a point mass"):
        bv.elbo_terms(local, guide, X)


def test_an_easy_guide_with_a_density_is_a_guide(clean_globals, within):
    guide = EasyLocal(local)
    guide(X)
    found = bv.elbo_terms(local, guide, X, 200)
    x = X[:, 0]
    truth = dist.Normal(0.0, 1.0).log_prob(x) - 1.0  # E (x − z₁ − z₂)² is x² + 2
    within(found.elbo, truth, found.elbo_error)


# Scales


def scaled(x, guide=False):
    with pyro.plate("data", len(x)):
        for name in ("z1", "z2"):
            with poutine.scale(scale=0.5):
                z = pyro.sample(name, dist.Normal(torch.zeros(()).to(x), 1.0))
        if not guide:
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


CALLS = {
    "elbo_terms": bv.elbo_terms,
    "annealed": functools.partial(bv.annealed_log_evidence, num_temperatures=2),
    "grid": functools.partial(bv.bayes_rule_on_grid, num_points=41),
    "quadrature": functools.partial(bv.quadrature_log_evidence, method="grid"),
    "evaluate": functools.partial(bv.evaluate, num_particles=5, num_temperatures=2),
    "compare": functools.partial(bv.compare, rungs=(1, 5), num_temperatures=2),
    "calibrate_guide": lambda model, guide, x: bv.calibrate_guide(model, guide, like=x),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_one_warning_of_scales_a_call(call):
    """Whatever it reads on its way: the pair again, the prior in the guide's place, simulated data."""
    x = torch.linspace(-2, 2, 40).double()
    for _ in range(2):
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            call(scaled, functools.partial(scaled, guide=True), x)
        scales = [str(warning.message) for warning in record if warning.category is ScaledSiteWarning]
        assert [text[:54] for text in scales] == ["site 'z1' is scaled by 0.5, site 'z2' is scaled by 0.5"]
