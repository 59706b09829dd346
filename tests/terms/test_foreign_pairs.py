"""Pairs written elsewhere: their terms agree with one computed by hand, draw by draw, whatever their layout."""

import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.nn.functional import logsigmoid, softplus

from bayes_vae import elbo_terms, estimate_log_evidence, log_terms
from bayes_vae.errors import ProgramError, ScaledSiteWarning
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms.opened import open_pair

N, PIXELS, D = 7, 12, 2


def log_normal(value, loc, scale):
    """Log density of independent normals, summed: one number."""
    scale = torch.as_tensor(scale, dtype=value.dtype)
    return (-0.5 * ((value - loc) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)).sum()


def log_bernoulli(value, logits, mask=1.0):
    return (mask * (value * logits - softplus(logits))).sum()


def coins(*shape):
    return torch.bernoulli(torch.full(shape, 0.5, dtype=torch.float64))


class Encoder(nn.Module):
    """The encoder of Pyro's VAE example, with fewer pixels."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(PIXELS, 5)
        self.fc21 = nn.Linear(5, D)
        self.fc22 = nn.Linear(5, D)
        self.softplus = nn.Softplus()

    def forward(self, x):
        x = x.reshape(-1, PIXELS)
        hidden = self.softplus(self.fc1(x))
        return self.fc21(hidden), torch.exp(self.fc22(hidden))


class Decoder(nn.Module):
    """The decoder of Pyro's VAE example, with fewer pixels."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(D, 5)
        self.fc21 = nn.Linear(5, PIXELS)
        self.softplus = nn.Softplus()

    def forward(self, z):
        return torch.sigmoid(self.fc21(self.softplus(self.fc1(z))))


class PyroExample(nn.Module):
    """The VAE class of Pyro's examples/vae/vae.py."""

    particles, randomness, rows_stand_alone = "plate", "per observation", True

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.x = coins(N, 1, 3, 4)
        self.double()

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z_loc = torch.zeros(x.shape[0], D, dtype=x.dtype, device=x.device)
            z_scale = torch.ones(x.shape[0], D, dtype=x.dtype, device=x.device)
            z = pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))
            loc_img = self.decoder.forward(z)
            pyro.sample("obs", dist.Bernoulli(loc_img, validate_args=False).to_event(1), obs=x.reshape(-1, PIXELS))
            return loc_img

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            z_loc, z_scale = self.encoder.forward(x)
            pyro.sample("latent", dist.Normal(z_loc, z_scale).to_event(1))

    def terms(self, n, latent):
        """The three terms of one draw for observation n, in plain torch; each case has this method."""
        loc, scale = self.encoder(self.x[n])
        likelihood = log_bernoulli(self.x[n].flatten(), self.decoder(latent).logit())
        return log_normal(latent, 0, 1), likelihood, log_normal(latent, loc[0], scale[0])


class TwoLatents(PyroExample):
    """Two latent sites, a plate of another name at dim −2, and one over pixels in place of ``to_event``."""

    def __init__(self):
        super().__init__()
        self.top = nn.Linear(D, D).double()

    def model(self, x):
        with pyro.plate("images", len(x), dim=-2):
            top = pyro.sample("z2", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            z = pyro.sample("z1", dist.Normal(self.top(top), 0.5).to_event(1))
            with pyro.plate("pixels", PIXELS, dim=-1):
                logits = self.decoder(z).logit().squeeze(-2)
                pyro.sample("x", dist.Bernoulli(logits=logits), obs=x.reshape(-1, PIXELS))

    def guide(self, x):
        with pyro.plate("images", len(x), dim=-2):
            loc, scale = (part.unsqueeze(-2) for part in self.encoder(x))
            z = pyro.sample("z1", dist.Normal(loc, scale).to_event(1))
            pyro.sample("z2", dist.Normal(self.top(z), 2.0).to_event(1))

    def terms(self, n, z1, z2):
        z1, z2 = z1[0], z2[0]  # dim −1 of the frame, of size 1
        _, likelihood, guide = super().terms(n, z1)
        prior = log_normal(z2, 0, 1) + log_normal(z1, self.top(z2), 0.5)
        return prior, likelihood, guide + log_normal(z2, self.top(z1), 2.0)


class FixedSize(PyroExample):
    """A plate whose size is written into the program."""

    rows_stand_alone = False

    def guide(self, x):
        with pyro.plate("data", N):
            pyro.sample("latent", dist.Normal(*self.encoder(x)).to_event(1))


class Convolutional(PyroExample):
    """A decoder that reshapes everything to (N, channels, height, width)."""

    particles = "repeat"

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(D, 4).double()
        self.conv = nn.ConvTranspose2d(2, 1, (2, 4)).double()

    def logits(self, z):
        return self.conv(self.fc(z).reshape(-1, 2, 2, 1))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.logits(z)).to_event(3), obs=x)

    def terms(self, n, latent):
        prior, _, guide = super().terms(n, latent)
        return prior, log_bernoulli(self.x[n], self.logits(latent)[0]), guide


class ConvolutionalFixedSize(Convolutional):
    """The same with plates of fixed size: neither a plate of particles nor repeated observations work."""

    particles, rows_stand_alone = "loop", False

    def model(self, x):
        with pyro.plate("data", N):
            z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.logits(z)).to_event(3), obs=x)

    guide = FixedSize.guide


class MaskedPixels(PyroExample):
    """Missing pixels, given as a covariate: ``.mask`` of the distribution."""

    def __init__(self):
        super().__init__()
        self.pixels, self.mask = self.x, coins(N, PIXELS).bool()
        self.x = (self.pixels, self.mask)

    def model(self, x, mask):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            likelihood = dist.Bernoulli(self.decoder(z)).mask(mask).to_event(1)
            pyro.sample("x", likelihood, obs=x.reshape(-1, PIXELS))

    def guide(self, x, mask):
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Normal(*self.encoder(x)).to_event(1))

    def terms(self, n, latent):
        loc, scale = self.encoder(self.pixels[n])
        likelihood = log_bernoulli(self.pixels[n].flatten(), self.decoder(latent).logit(), self.mask[n])
        return log_normal(latent, 0, 1), likelihood, log_normal(latent, loc[0], scale[0])


class PoutineMask(MaskedPixels):
    """Missing pixels by ``poutine.mask`` under a plate over pixels; where they are missing, the data hold NaN."""

    def __init__(self):
        super().__init__()
        unknown = torch.where(self.mask, self.pixels.reshape(N, PIXELS), torch.nan)
        self.x = (unknown, self.mask)

    def model(self, x, mask):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            with pyro.plate("pixels", PIXELS, dim=-1), poutine.mask(mask=mask):
                logits = self.decoder(z).logit().squeeze(-2)
                pyro.sample("x", dist.Bernoulli(logits=logits, validate_args=False), obs=x)

    def guide(self, x, mask):
        with pyro.plate("data", len(x), dim=-2):
            loc, scale = self.encoder(x.nan_to_num())
            pyro.sample("latent", dist.Normal(loc.unsqueeze(-2), scale.unsqueeze(-2)).to_event(1))

    def terms(self, n, latent):
        prior, likelihood, _ = super().terms(n, latent[0])
        loc, scale = self.encoder(self.x[0][n].nan_to_num())
        return prior, likelihood, log_normal(latent[0], loc[0], scale[0])


class Scaled(PyroExample):
    """The usual way to anneal the KL in Pyro."""

    factor = 0.25

    def model(self, x):
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=self.factor):
                z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            pyro.sample("obs", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x):
        with pyro.plate("data", len(x)), poutine.scale(scale=self.factor):
            pyro.sample("latent", dist.Normal(*self.encoder(x)).to_event(1))


class PerObservation(PyroExample):
    """Parameters of its own for each observation, trained and in Pyro's store."""

    rows_stand_alone = False

    def __init__(self):
        super().__init__()
        self.loc, self.scale = torch.randn(N, D).double(), torch.rand(N, D).double() + 0.1
        pyro.param("loc", self.loc.clone())
        pyro.param("scale", self.scale.clone(), constraint=dist.constraints.positive)

    def guide(self, x):
        loc = pyro.param("loc", lambda: torch.zeros(len(x), D, dtype=x.dtype))
        scale = pyro.param("scale", lambda: torch.ones(len(x), D, dtype=x.dtype), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Normal(loc, scale).to_event(1))

    def terms(self, n, latent):
        prior, likelihood, _ = super().terms(n, latent)
        return prior, likelihood, log_normal(latent, self.loc[n], self.scale[n])


class LocalGuide:
    """A guide that asks for the indices of the observations; here they are not 0…N−1."""

    needs_index = True

    def __init__(self, loc):
        self.loc = loc

    def __call__(self, x, index):
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Normal(self.loc[index], 0.7).to_event(1))


class NeedsIndex(PyroExample):
    def __init__(self):
        super().__init__()
        self.index = torch.tensor([3, 0, 8, 5, 1, 9, 2])
        self.loc = torch.randn(10, D).double()
        self.guide = LocalGuide(self.loc)

    def terms(self, n, latent):
        prior, likelihood, _ = super().terms(n, latent)
        return prior, likelihood, log_normal(latent, self.loc[self.index[n]], 0.7)


class NeedsIndexConvolutional(Convolutional):
    def __init__(self):
        super().__init__()
        self.index = torch.tensor([3, 0, 8, 5, 1, 9, 2])
        self.loc = torch.randn(10, D).double()
        self.guide = LocalGuide(self.loc)

    def terms(self, n, latent):
        prior, likelihood, _ = super().terms(n, latent)
        return prior, likelihood, log_normal(latent, self.loc[self.index[n]], 0.7)


class FullCovariance(PyroExample):
    def __init__(self):
        super().__init__()
        self.scale_tril = torch.tensor([[0.8, 0.0], [-0.5, 0.3]], dtype=torch.float64)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.MultivariateNormal(self.encoder(x)[0], scale_tril=self.scale_tril))

    def terms(self, n, latent):
        prior, likelihood, _ = super().terms(n, latent)
        standard = torch.linalg.inv(self.scale_tril) @ (latent - self.encoder(self.x[n])[0][0])
        return prior, likelihood, log_normal(standard, 0, 1) - self.scale_tril.diagonal().log().sum()


class LogNormalLatent(PyroExample):
    """A normal pushed through exp: keyed, since a normal lies at its base."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Gamma(torch.full((D,), 2.0).to(x), 1.0).to_event(1))
            pyro.sample("obs", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            normal = dist.Normal(*self.encoder(x))
            pyro.sample("latent", dist.TransformedDistribution(normal, dist.transforms.ExpTransform()).to_event(1))

    def terms(self, n, latent):
        likelihood = super().terms(n, latent)[1]
        loc, scale = self.encoder(self.x[n])
        return (
            (latent.log() - latent).sum(),
            likelihood,
            log_normal(latent.log(), loc[0], scale[0]) - latent.log().sum(),
        )


class GammaGuide(LogNormalLatent):
    randomness = "data blocks"

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Gamma(3.0, self.encoder(x)[1]).to_event(1))

    def terms(self, n, latent):
        prior, likelihood, _ = super().terms(n, latent)
        rate = self.encoder(self.x[n])[1][0]
        return prior, likelihood, (3 * rate.log() + 2 * latent.log() - rate * latent - math.log(2)).sum()


class BetaGuide(LogNormalLatent):
    randomness = "data blocks"

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Uniform(torch.zeros(D).to(x), 1.0).to_event(1))
            pyro.sample("obs", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Beta(self.encoder(x)[1], 1.0).to_event(1))

    def terms(self, n, latent):
        likelihood = super().terms(n, latent)[1]
        a = self.encoder(self.x[n])[1][0]
        return torch.zeros(()), likelihood, (a.log() + (a - 1) * latent.log()).sum()


class Discrete(PyroExample):
    """A class and binary features: neither can be reparameterized."""

    randomness = "data blocks"

    def model(self, x):
        with pyro.plate("data", len(x)):
            label = pyro.sample("label", dist.Categorical(logits=torch.zeros(3).to(x)))
            bits = pyro.sample("bits", dist.Bernoulli(torch.full((D,), 0.3, dtype=x.dtype)).to_event(1))
            probs = self.decoder(bits + label.unsqueeze(-1))
            pyro.sample("obs", dist.Bernoulli(probs).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(x)
            label = pyro.sample("label", dist.Categorical(logits=torch.cat([loc, scale[..., :1]], -1)))
            pyro.sample("bits", dist.Bernoulli(logits=loc + label.unsqueeze(-1)).to_event(1))

    def terms(self, n, label, bits):
        loc, scale = (part[0] for part in self.encoder(self.x[n]))
        ones = bits.sum()
        prior = -math.log(3) + ones * math.log(0.3) + (D - ones) * math.log(0.7)
        likelihood = super().terms(n, bits + label)[1]
        guide = torch.cat([loc, scale[:1]]).log_softmax(0)[label] + logsigmoid((2 * bits - 1) * (loc + label)).sum()
        return prior, likelihood, guide


class Factor(PyroExample):
    """A ``pyro.factor`` counts as evidence, a ``pyro.deterministic`` site as nothing."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            radius = pyro.deterministic("radius", z.square().sum(-1))
            pyro.factor("penalty", -3 * radius)
            pyro.sample("obs", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x.reshape(-1, PIXELS))

    def terms(self, n, latent):
        prior, likelihood, guide = super().terms(n, latent)
        return prior, likelihood - 3 * latent.square().sum(), guide


class Conditional(PyroExample):
    """x as a tuple: images and labels, both observed."""

    def __init__(self):
        super().__init__()
        self.images, self.labels = self.x, torch.arange(N) % 3
        self.x = (self.images, self.labels)
        self.classifier = nn.Linear(D, 3).double()

    def model(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(D).to(x), 1.0).to_event(1))
            pyro.sample("y", dist.Categorical(logits=self.classifier(z)), obs=y)
            pyro.sample("x", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x, y):
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(x)
            pyro.sample("latent", dist.Normal(loc + y.unsqueeze(-1), scale).to_event(1))

    def terms(self, n, latent):
        loc, scale = self.encoder(self.images[n])
        likelihood = log_bernoulli(self.images[n].flatten(), self.decoder(latent).logit())
        likelihood = likelihood + self.classifier(latent).log_softmax(0)[self.labels[n]]
        return log_normal(latent, 0, 1), likelihood, log_normal(latent, loc[0] + self.labels[n], scale[0])


class DropoutAndBatchNorm(PyroExample):
    """In training mode the terms of a row would depend on chance and on the other rows."""

    def __init__(self):
        super().__init__()
        self.encoder.softplus = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.5))
        self.decoder.softplus = nn.Dropout(0.5)
        self.double().train()
        self.encoder.softplus[1].eval()
        self.modes = [module.training for module in self.modules()]
        self.encoder.softplus[0].running_mean.fill_(0.3)

    def terms(self, n, latent):
        self.eval()
        return super().terms(n, latent)


class AuxiliaryGamma(PyroExample):
    """A point mass at a function of an auxiliary draw, which is not normal."""

    randomness = "data blocks"

    def guide(self, x):
        with pyro.plate("data", len(x)):
            rate = self.encoder(x)[1]
            auxiliary = pyro.sample("auxiliary", dist.Gamma(3.0, rate).to_event(1), infer={"is_auxiliary": True})
            log_density = auxiliary.log().sum(-1)
            pyro.sample("latent", dist.Delta(auxiliary.log(), log_density=log_density, event_dim=1))

    def terms(self, n, auxiliary, latent):
        prior, likelihood, _ = super().terms(n, auxiliary.log())
        rate = self.encoder(self.x[n])[1][0]
        return prior, likelihood, (3 * rate.log() + 3 * latent - rate * latent.exp() - math.log(2)).sum()


class Auto:
    """Pyro's AutoNormal over one of our models: auxiliary sites, and parameters for each observation."""

    particles, randomness, rows_stand_alone = "plate", "per observation", False

    def __init__(self):
        self.model = LinearGaussianVAE(D, (3, 2)).double()
        self.x = torch.randn(N, 3, 2).double()
        self.guide = AutoNormal(self.model)
        self.guide(self.x)
        self.loc, self.scale = torch.randn(N, D).double(), torch.rand(N, D).double() + 0.5
        self.guide.locs.z, self.guide.scales.z = self.loc, self.scale
        pyro.clear_param_store()

    def terms(self, n, z, z_unconstrained):
        assert torch.equal(z, z_unconstrained)
        loc, scale = self.model.weight @ z + self.model.bias, self.model.log_scale.exp()
        likelihood = log_normal(self.x[n].flatten(), loc, scale)
        return log_normal(z, 0, 1), likelihood, log_normal(z, self.loc[n], self.scale[n])


CASES = [
    PyroExample,
    TwoLatents,
    Convolutional,
    ConvolutionalFixedSize,
    FixedSize,
    MaskedPixels,
    PoutineMask,
    Scaled,
    PerObservation,
    NeedsIndex,
    NeedsIndexConvolutional,
    FullCovariance,
    LogNormalLatent,
    GammaGuide,
    BetaGuide,
    Discrete,
    Factor,
    Conditional,
    DropoutAndBatchNorm,
    AuxiliaryGamma,
    Auto,
]
UNKEYED = [case for case in CASES if case.randomness == "data blocks"]
KEYED = [case for case in CASES if case.rows_stand_alone and case not in UNKEYED]

pytestmark = pytest.mark.filterwarnings("ignore::bayes_vae.errors.ScaledSiteWarning")


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def pair(request, clean_globals):
    return request.param()


def index_of(pair):
    return getattr(pair, "index", torch.arange(N))


def read(pair, num_particles=3, **settings):
    settings = {"index": index_of(pair), **settings}
    return log_terms(pair.model, pair.guide, pair.x, num_particles, keep_latents=True, **settings)


def stacked(terms):
    return torch.stack([terms.log_prior, terms.log_likelihood, terms.log_guide])


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_the_terms_are_those_computed_by_hand(pair):
    terms = read(pair)
    expected = torch.empty(3, 3, N, dtype=torch.float64)
    with torch.no_grad():
        for k in range(3):
            for n in range(N):
                latents = {name: value[k, n] for name, value in terms.latents.items()}
                expected[:, k, n] = torch.stack(pair.terms(n, **latents))
    close(stacked(terms), expected)


def test_given_latents_have_the_terms_of_their_draw(pair):
    with open_pair(pair.model, pair.guide, pair.x, index=index_of(pair)) as opened:
        (batch,) = opened.batches(3)
        (draw,) = batch.draws()
        given, joint = batch.bound.evaluate(draw.latents), batch.bound.log_joint(draw.latents)
    close(stacked(given), stacked(draw))
    close(joint.log_prior, draw.log_prior)
    close(joint.log_likelihood, draw.log_likelihood)


def test_the_result_says_how_it_was_reached(pair):
    provenance = read(pair).provenance
    assert (provenance.source, provenance.particles) == ("traces", pair.particles)
    assert provenance.randomness == pair.randomness


def test_batches_and_chunks_change_nothing(pair):
    whole = stacked(read(pair, 5))
    assert not torch.equal(whole[:, :2], whole[:, 2:4]), "particles have noise of their own"
    close(stacked(read(pair, 5, batch_size=3, chunk_size=2)), whole)
    assert not torch.equal(whole, stacked(read(pair, 5, seed=1)))


@pytest.mark.parametrize("pair", KEYED, indirect=True)
def test_order_changes_nothing_where_noise_is_keyed_by_observation(pair):
    whole = stacked(read(pair))
    order = torch.tensor([4, 2, 6, 0])
    pair.x = tuple(part[order] for part in pair.x) if isinstance(pair.x, tuple) else pair.x[order]
    close(stacked(read(pair, index=index_of(pair)[order])), whole[:, :, order])


def test_every_estimator_takes_every_pair(pair):
    weights = read(pair, 4).log_importance_weights
    settings = {"index": index_of(pair)}
    close(elbo_terms(pair.model, pair.guide, pair.x, 4, kl="sampled", **settings).elbo, weights.mean(0))
    estimate = estimate_log_evidence(pair.model, pair.guide, pair.x, 4, **settings)
    close(estimate.log_evidence, weights.logsumexp(0) - math.log(4))


def test_nothing_of_the_process_or_the_pair_is_changed(pair):
    modules = [program for program in (pair, pair.model, pair.guide) if isinstance(program, nn.Module)]
    store = pyro.get_param_store()

    def snapshot():
        state = [value.clone() for module in modules for value in module.state_dict().values()]
        values = [value for _, value in store.named_parameters()]
        return [*state, *(value.detach().clone() for value in values), torch.get_rng_state()], list(map(id, values))

    modes = [part.training for module in modules for part in module.modules()]
    before, entries = snapshot()
    read(pair)
    elbo_terms(pair.model, pair.guide, pair.x, 2, index=index_of(pair))
    after, entries_after = snapshot()
    assert entries == entries_after
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert modes == [part.training for module in modules for part in module.modules()]


@pytest.mark.parametrize("case", [PyroExample, Auto])
def test_what_another_pair_left_in_the_store_is_neither_used_nor_changed(case, clean_globals):
    pair, other = case(), case()
    expected = stacked(read(pair))
    pyro.infer.Trace_ELBO().loss(other.model, other.guide, other.x)
    left = dict(pyro.get_param_store().named_parameters())
    assert left
    assert torch.equal(stacked(read(pair)), expected)
    assert all(value is left[name] for name, value in pyro.get_param_store().named_parameters())


def test_a_value_that_the_caller_holds_keeps_its_link_to_the_store(clean_globals):
    held = pyro.param("held", torch.zeros(2))
    read(PyroExample())
    assert held.unconstrained() is held


def test_a_scaled_latent_is_read_at_weight_one_with_a_warning(clean_globals):
    with pytest.warns(ScaledSiteWarning, match=r"site 'latent' is scaled by 0\.25 .*evaluated at weight 1"):
        read(Scaled())


def test_parameters_per_observation_need_no_training_before(clean_globals):
    pair = PerObservation()
    pyro.clear_param_store()
    pair.loc, pair.scale = torch.zeros(N, D).double(), torch.ones(N, D).double()
    terms = read(pair)
    close(terms.log_guide[0, 4], pair.terms(4, terms.latents["latent"][0, 4])[2].detach())
    assert not list(pyro.get_param_store())


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_fewer_rows_than_parameters_give_no_numbers(rows, clean_globals):
    pair = PerObservation()
    with pytest.raises(ProgramError, match=rf"'data'.*site latent.* {rows} vs {N}"):
        log_terms(pair.model, pair.guide, pair.x[:rows])


@pytest.mark.parametrize("pair", UNKEYED, indirect=True)
def test_more_data_and_particles_than_a_block_holds(pair):
    pair.x = pair.x[:1].repeat(130, 1, 1, 1)
    latents = log_terms(pair.model, pair.guide, pair.x, 70, keep_latents=True).latents
    draws = torch.cat([value.double().reshape(70, 130, -1) for value in latents.values()], -1)
    assert not torch.equal(draws[:, 0], draws[:, 64])
    assert not torch.equal(draws[0], draws[64])


def test_evaluation_looks_through_handlers_for_the_modules_whose_mode_it_sets(clean_globals):
    pair = DropoutAndBatchNorm()
    expected = stacked(read(pair))
    pair.model, pair.guide = poutine.block(pair.model, hide=[]), poutine.mask(pair.guide, mask=True)
    close(stacked(read(pair)), expected)
    assert [module.training for module in pair.modules()] == pair.modes
