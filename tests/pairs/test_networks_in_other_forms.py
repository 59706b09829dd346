"""Networks with covariates, that return distributions or objects, or are named: their terms are those of a loop."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import distributions as td
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, SettingsError, ShapeError

D, P, N, K = 2, 5, 12, 7
SIZES = {"latent_dim": D, "data_shape": (P,)}
SAID = {**SIZES, "encoder_output": "loc-and-log-scale", "split": True, "decoder_output": "mean"}


class Conditional(nn.Module):
    """encode(x, y), decode(z, y, size): y a class, size a positive number of each row."""

    def __init__(self):
        super().__init__()
        self.of_class = nn.Embedding(3, 4)
        self.encoder, self.decoder = nn.Linear(P + 5, 2 * D), nn.Linear(D + 5, P)

    def _beside(self, rows, y, size):
        return torch.cat([rows, self.of_class(y), size.unsqueeze(-1)], -1)

    def encode(self, x, y, size):
        return self.encoder(self._beside(x, y, size))

    def decode(self, z, y, size):
        return self.decoder(self._beside(z, y, size))


class Distributions(nn.Module):
    """Both networks return objects of torch.distributions."""

    def __init__(self, family):
        super().__init__()
        self.family, self.encoder, self.decoder = family, nn.Linear(P, 2 * D), nn.Linear(D, 2 * P)

    def encode(self, x):
        loc, log_scale = self.encoder(x).chunk(2, -1)
        return td.Normal(loc, log_scale.exp())

    def decode(self, z):
        return self.family(*self.decoder(z).chunk(2, -1))


FAMILIES = {
    "laplace": (lambda one, two: td.Independent(td.Laplace(one, two.exp()), 1), torch.randn),
    "beta": (lambda one, two: td.Beta(one.exp(), two.exp()), lambda *shape: torch.rand(*shape).clamp(0.01, 0.99)),
    "bernoulli": (lambda one, two: td.Bernoulli(logits=one + two), lambda *shape: torch.rand(*shape).round()),
    "categorical": (
        lambda one, two: td.Categorical(logits=torch.stack([one, two, one - two], -1)),
        lambda *shape: torch.randint(0, 3, shape).float(),
    ),
    "probabilities": (
        lambda one, two: td.Categorical(torch.stack([one, two, one - two], -1).exp()),
        lambda *shape: torch.randint(0, 3, shape).float(),
    ),
    "correlated": (
        lambda one, two: td.MultivariateNormal(one, torch.eye(P) + two.unsqueeze(-1) * two.unsqueeze(-2)),
        torch.randn,
    ),
    "mixture": (
        lambda one, two: td.MixtureSameFamily(
            td.Categorical(logits=torch.stack([one, two], -1)), td.Normal(torch.stack([two, one], -1), 0.7)
        ),
        torch.randn,
    ),
    "lognormal": (lambda one, two: td.LogNormal(one, two.exp()), lambda *shape: torch.rand(*shape) + 0.1),
}


@pytest.fixture
def seeded(isolated_globals):
    with isolated_globals(seed=0):
        yield


@pytest.fixture
def beside(seeded):
    return torch.arange(N) % 3, torch.rand(N) + 0.5


def by_loop(terms, encode, decode, x, *beside):
    """log p(x|z, y) and log q(z|x, y) of every draw, observation by observation."""
    z = terms.latents["z"].float()
    likelihood, guide = torch.empty(K, N), torch.empty(K, N)
    for n in range(N):
        y = tuple(part[n : n + 1] for part in beside)
        q = encode(x[n : n + 1], *y)
        for k in range(K):
            guide[k, n] = q.log_prob(z[k, n : n + 1]).sum()
            likelihood[k, n] = decode(z[k, n : n + 1], *y).log_prob(x[n : n + 1]).sum()
    return likelihood.double().detach(), guide.double().detach()


def normal(outputs):
    return td.Normal(outputs.chunk(2, -1)[0], outputs.chunk(2, -1)[1].exp())


@pytest.mark.parametrize("to", ["both", "encoder", "decoder"])
def test_covariates_go_with_each_row(beside, to):
    net, x = Conditional(), torch.randn(N, P)
    encoder = net.encode if to != "decoder" else nn.Linear(P, 2 * D)
    decoder = net.decode if to != "encoder" else nn.Linear(D, P)
    said = {**SAID, "likelihood": {"name": "normal", "scale": 0.5}}
    pair = bv.pair_from_networks(encoder, decoder, **said, covariates=[part[:3] for part in beside], covariates_to=to)
    terms = bv.log_terms(*pair, (x, *beside), K, keep_latents=True)
    encode = lambda x, *y: normal(encoder(x, *(y if to != "decoder" else ())))  # noqa: E731
    decode = lambda z, *y: td.Normal(decoder(z, *(y if to != "encoder" else ())), 0.5)  # noqa: E731
    assert terms.provenance.particles == "plate"  # all particles at once; rows in another order would end it
    likelihood, guide = by_loop(terms, encode, decode, x, *beside)
    torch.testing.assert_close(terms.log_likelihood, likelihood, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(terms.log_guide, guide, rtol=1e-5, atol=1e-4)


def test_a_pair_with_covariates_is_fitted_diagnosed_evaluated_and_loaded(seeded, tmp_path):
    net, x = Conditional(), torch.randn(120, P)
    y, size = torch.arange(120) % 3, torch.rand(120) + 0.5
    said = {**SAID, "likelihood": {"name": "normal", "scale": 0.5}}
    model, guide = bv.pair_from_networks(net.encode, net.decode, **said, covariates=(y[:1], size[:1]))
    data = bv.load_data((x, y, size), kind="real")
    run = bv.fit(model, guide, data, epochs=1, progress="none", out=tmp_path / "run")
    assert bv.evaluate(run.model, run.guide, data.test, 10, num_temperatures=2).num_observations == 20
    found = bv.diagnose(run.model, run.guide, data, seconds=2)
    assert not any("off its traces" in each.reason for each in found.not_checked)
    again = bv.load(tmp_path / "run", model=model, guide=guide)
    torch.testing.assert_close(bv.elbo_terms(*again, data.test, 3).elbo, bv.elbo_terms(model, guide, data.test, 3).elbo)
    with pytest.raises(ShapeError, match=r"built with covariates and takes \(x, y, ...\)"):
        model(x)


def test_labels_of_a_data_set_are_a_covariate(seeded):
    net = nn.ModuleDict({"encoder": nn.Linear(64, 4), "classes": nn.Embedding(10, 2), "decoder": nn.Linear(2, 64)})
    net.decode = lambda z, y: net["decoder"](z + net["classes"](y))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = net

        def decode(self, z, y):
            return self.parts["decoder"](z + self.parts["classes"](y))

    data = bv.load_data("digits", policy="static")
    said = {"latent_dim": 2, "data_shape": (8, 8), "input_shape": (64,), "split": True, "decoder_output": "logits"}
    pair = bv.pair_from_networks(
        net["encoder"],
        Net().decode,
        **said,
        encoder_output="loc-and-log-scale",
        covariates=data.test.labels[:4],
        covariates_to="decoder",
        needs_labels=True,
    )
    of_data = bv.elbo_terms(*pair, data.test[:20], 5)
    given = (data.test.observations(range(20)), data.test.labels[:20])
    torch.testing.assert_close(of_data.elbo, bv.elbo_terms(*pair, given, 5, index=data.test[:20].index).elbo)
    bv.fit(*pair, data, epochs=1, progress="none")


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_that_return_distributions(seeded, name):
    family, draw = FAMILIES[name]
    net, x = Distributions(family), draw(N, P)
    pair = bv.pair_from_networks(
        net.encode, net.decode, **SIZES, encoder_output="distribution", decoder_output="distribution"
    )
    terms = bv.log_terms(*pair, x, K, keep_latents=True)
    likelihood, guide = by_loop(terms, net.encode, net.decode, x)
    torch.testing.assert_close(terms.log_likelihood, likelihood, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(terms.log_guide, guide, rtol=1e-5, atol=1e-4)
    assert (terms.provenance.source, bv.elbo_terms(*pair, x, 5).kl) == ("distributions", "analytic")
    discrete = name in ("bernoulli", "categorical", "probabilities")
    assert pair[0].likelihood_family.is_discrete == discrete
    traced = bv.log_terms(*pair, x, K, source="traces")
    torch.testing.assert_close(traced.log_likelihood, terms.log_likelihood, rtol=1e-5, atol=1e-4)


def test_a_distribution_that_its_parameters_do_not_describe_is_refused(seeded):
    net = Distributions(lambda one, two: td.RelaxedBernoulli(torch.tensor(0.5), logits=one + two))
    with pytest.raises(NotDefinedError, match="RelaxedBernoulli.* cannot be rebuilt from its parameters"):
        bv.pair_from_networks(
            net.encode, net.decode, **SIZES, encoder_output="distribution", decoder_output="distribution"
        )


def test_a_distribution_of_another_shape_or_none_is_refused(seeded):
    net = Distributions(lambda one, two: td.Normal(one[:, :3], two[:, :3].exp()))
    both = {"encoder_output": "distribution", "decoder_output": "distribution"}
    with pytest.raises(ShapeError, match=r"the decoder's distribution must have shape \(8, 5\).*got \(8, 3\)"):
        bv.pair_from_networks(net.encode, net.decode, **SIZES, **both)
    with pytest.raises(ShapeError, match="asks for an encoder that returns an object of torch.distributions"):
        bv.pair_from_networks(nn.Linear(P, 4), net.decode, **SIZES, **both)


@dataclass
class Output:
    latent_dist: object
    extra: str = "of a hub"


class OfAHub(nn.Module):
    """As a hub's autoencoder: encode returns an object that holds a distribution, decode a dict."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleDict({"encoder": nn.Linear(P, 2 * D), "decoder": nn.Linear(D, P)})

    def encode(self, x):
        mean, logvar = self.inner["encoder"](x).chunk(2, -1)
        return Output(SimpleNamespace(mean=mean, logvar=logvar))

    def decode(self, z, return_dict=True):
        found = self.inner["decoder"](z)
        return {"sample": found, "hidden": z} if return_dict else (found,)

    def forward(self, x):
        raise AssertionError("the whole is never run")


def test_methods_by_name_and_fields_of_what_they_return(seeded):
    hub, x = OfAHub(), torch.randn(N, P)
    said = {**SIZES, "encoder_output": "loc-and-log-variance", "decoder_output": "mean"}
    said["likelihood"] = {"name": "normal", "scale": 0.5}
    fields = {"encoder_fields": ("latent_dist.mean", "latent_dist.logvar"), "decoder_fields": "sample"}
    pair = bv.pair_from_networks("encode", "decode", of=hub, **said, **fields)
    plain = bv.pair_from_networks("inner.encoder", "inner.decoder", of=hub, **said, split=True)
    torch.testing.assert_close(bv.elbo_terms(*pair, x, 5).elbo, bv.elbo_terms(*plain, x, 5).elbo)
    with pytest.raises(SettingsError, match=r"encoder='code': OfAHub has no 'code'.*decode, encode, inner"):
        bv.pair_from_networks("code", "decode", of=hub, **said)
    with pytest.raises(SettingsError, match="encoder='encode' is a name: say of=module"):
        bv.pair_from_networks("encode", hub.decode, **said)
    with pytest.raises(ShapeError, match="decoder_fields names 'logits'.*a dict with sample, hidden, .*no 'logits'"):
        bv.pair_from_networks("encode", "decode", of=hub, **said, **fields | {"decoder_fields": "logits"})


def test_what_is_said_of_covariates_is_checked(beside):
    net = Conditional()
    with pytest.raises(SettingsError, match="speak of covariates: give a few rows of them too"):
        bv.pair_from_networks(net.encode, net.decode, **SAID, likelihood="normal", needs_labels=True)
    with pytest.raises(SettingsError, match="covariates_to must be 'both', 'encoder' or 'decoder', got 'x'"):
        bv.pair_from_networks(net.encode, net.decode, **SAID, covariates=beside, covariates_to="x")
    with pytest.raises(SettingsError, match="covariates must be tensors with a row for each of a few observations"):
        bv.pair_from_networks(net.encode, net.decode, **SAID, covariates=[3])
