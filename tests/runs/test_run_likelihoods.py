"""Runs with each likelihood: trained on data that fit, stored, loaded; refused on data that do not."""

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import SupportError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE

NETWORKS = {"latent_dim": 2, "data_shape": (4,), "hidden_dims": (5,)}
KINDS = {
    "bernoulli": "binary",
    "continuous-bernoulli": "gray",
    "discretized-logistic": "gray",
    "normal": "real",
    "categorical": "counts",
    "negative-binomial": "counts",
    "laplace": "real",
    "poisson": "counts",
    "zero-inflated-negative-binomial": "counts",
}
OPTIONS = {"categorical": {"num_categories": 9}, "normal": {"noise": "shared"}, "laplace": {"noise": "shared"}}


def data_of(kind):
    generator = torch.Generator().manual_seed(0)
    most = {"binary": 1, "gray": 255}.get(kind, 8)
    values = torch.randint(0, most + 1, (40, 4), generator=generator)
    return bv.load_data(values / 7 - 1 if kind == "real" else values, kind=kind, policy="none")


def build(name, isolated_globals):
    with isolated_globals(seed=1):
        likelihood = {"name": name, **OPTIONS.get(name, {})}
        return VAE(**NETWORKS, likelihood=likelihood), AmortizedNormalGuide(**NETWORKS)


@pytest.mark.parametrize("name", KINDS)
def test_a_trained_likelihood_comes_back(name, tmp_path, isolated_globals):
    pair, data = build(name, isolated_globals), data_of(KINDS[name])
    before = {key: value.clone() for key, value in pair[0].state_dict().items()}
    bv.fit(*pair, data, epochs=2, batch_size=16, learning_rate=1e-2, progress="none", out=tmp_path / "run")
    assert not any(torch.equal(value, before[key]) for key, value in pair[0].state_dict().items())
    loaded = bv.load(tmp_path / "run")
    assert loaded[0].settings["likelihood"] == {"name": name, **OPTIONS.get(name, {})}
    x = data.test.observations()
    read, again = (bv.log_terms(*one, x, num_particles=3, seed=0) for one in (pair, loaded))
    assert torch.equal(read.log_likelihood, again.log_likelihood)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("bernoulli", "gray", r"a Bernoulli likelihood takes zeros and ones.*likelihood 'continuous-bernoulli'"),
        ("continuous-bernoulli", "binary", r"a continuous-bernoulli likelihood takes gray pixels, but .* zeros and on"),
        ("discretized-logistic", "counts", "a discretized-logistic likelihood takes gray pixels, but .* are counts"),
        ("normal", "counts", "a normal likelihood takes gray pixels or real values, but .* are counts"),
        ("categorical", "gray", "a categorical likelihood takes counts, but .* are gray pixels"),
        ("negative-binomial", "real", "a negative-binomial likelihood takes counts, but .* are real values"),
    ],
)
def test_fit_refuses_data_that_do_not_fit(name, kind, message, isolated_globals):
    with pytest.raises(SupportError, match=message):
        bv.fit(*build(name, isolated_globals), data_of(kind), epochs=1, progress="none")
