"""Plain torch networks as a pair: their terms are those of a loop over rows, and all of the library takes them."""

import contextlib
import copy

import pyro
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy, relu, softplus
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.errors import MissingValuesWarning, RunError
from bayes_vae.report import Missing, report_contents
from bayes_vae.runs import read_config
from bayes_vae.settings import ReportSettings

D, K, N = 2, 3, 4
FEW = ReportSettings(
    num_observations=20,
    num_particles=20,
    num_temperatures=3,
    num_gap_observations=2,
    num_encoded=30,
    num_simulated=30,
    num_diagnosed=40,
    device="cpu",
)
BERNOULLI = {"latent_dim": D, "data_shape": (4, 4)}


class TwoHeads(nn.Module):
    """Flat rows in, mean and logarithm of the variance out."""

    def __init__(self):
        super().__init__()
        self.body, self.mean, self.log_variance = nn.Linear(16, 5), nn.Linear(5, D), nn.Linear(5, D)

    def forward(self, x):
        hidden = torch.tanh(self.body(x.view(-1, 16)))
        return self.mean(hidden), self.log_variance(hidden)


class Example(nn.Module):
    """As in PyTorch's examples: encode and decode are methods, and forward returns three things."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(16, 5), nn.Linear(5, D), nn.Linear(5, D)
        self.fc3, self.fc4 = nn.Linear(D, 5), nn.Linear(5, 16)

    def encode(self, x):
        hidden = relu(self.fc1(x))
        return self.fc21(hidden), self.fc22(hidden)

    def decode(self, z):
        return torch.sigmoid(self.fc4(relu(self.fc3(z))))

    def forward(self, x):
        mean, log_variance = self.encode(x.view(-1, 16))
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decode(z), mean, log_variance


class ConvolutionalEncoder(nn.Module):
    """Images with a channel in; the outputs keep two dimensions of size 1."""

    def __init__(self):
        super().__init__()
        self.body, self.heads = nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Conv2d(3, 2 * D, 2)

    def forward(self, x):
        assert x.shape[1:] == (1, 4, 4)
        loc, raw = self.heads(relu(self.body(x))).chunk(2, dim=1)
        return loc, softplus(raw)


class ConvolutionalDecoder(nn.Module):
    """Latents of shape (N, D) in, and no other; images with a channel out."""

    def __init__(self):
        super().__init__()
        self.input, self.body = nn.Linear(D, 12), nn.ConvTranspose2d(3, 1, 2, stride=2)

    def forward(self, z):
        assert z.dim() == 2
        return self.body(relu(self.input(z)).view(-1, 3, 2, 2))


class MeanAndLogScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.log_scale = nn.Linear(D, 16), nn.Linear(D, 16)

    def forward(self, z):
        return self.mean(z), self.log_scale(z) - 6  # scales far below the floor of learned ones


def bernoulli_of_logits(decoder):
    return lambda x, z: reference.bernoulli_log_likelihood(x, decoder(z[None]).flatten())


def bernoulli_of_probabilities(decoder):
    def log_likelihood(x, z):
        return -float(binary_cross_entropy(decoder(z[None])[0], x, reduction="sum"))

    return log_likelihood


def normal(parts):
    return lambda x, z: reference.normal_log_density(x, *parts(z[None]))


def halves_of(variance):
    return lambda output: (output[0], output[1].exp().sqrt() if variance else output[1].exp())


def two_heads():
    encoder, decoder = TwoHeads().double(), nn.Linear(D, 16).double()
    said = {"encoder_output": "loc-and-log-variance", "decoder_output": "logits"}
    return encoder, decoder, said, halves_of(True), bernoulli_of_logits(decoder), (16,)


def one_tensor():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 2 * D)).double()
    decoder = nn.Sequential(nn.Linear(D, 16), nn.Sigmoid()).double()
    said = {"encoder_output": "loc-and-log-scale", "split": True, "decoder_output": "probabilities"}
    read = halves_of(False)
    return encoder, decoder, said, lambda out: read((out[:, :D], out[:, D:])), bernoulli_of_probabilities(decoder), None


def methods():
    vae = Example().double()
    said = {"encoder_output": "loc-and-log-variance", "decoder_output": "probabilities", "input_shape": (16,)}
    return vae.encode, vae.decode, said, halves_of(True), bernoulli_of_probabilities(vae.decode), (16,)


def convolutions():
    encoder, decoder = ConvolutionalEncoder().double(), ConvolutionalDecoder().double()
    said = {"encoder_output": "loc-and-scale", "decoder_output": "logits", "input_shape": (1, 4, 4)}
    return encoder, decoder, said, lambda out: out, bernoulli_of_logits(decoder), (1, 4, 4)


def squared_error():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 2 * D)).double()
    decoder = nn.Sequential(nn.Linear(D, 16), nn.Unflatten(1, (4, 4))).double()
    likelihood = {"name": "normal", "scale": 0.3}
    said = {"encoder_output": "loc-and-log-variance", "split": True, "decoder_output": "mean", "likelihood": likelihood}
    read = halves_of(True)
    density = normal(lambda z: (decoder(z).flatten(), torch.full((16,), 0.3)))
    return encoder, decoder, said, lambda out: read((out[:, :D], out[:, D:])), density, None


def scale_per_pixel():
    encoder, decoder = TwoHeads().double(), MeanAndLogScale().double()
    likelihood = {"name": "normal", "noise": "per-pixel"}
    said = {"encoder_output": "loc-and-log-scale", "decoder_output": "mean-and-log-scale", "likelihood": likelihood}
    density = normal(lambda z: (decoder(z)[0][0], decoder(z)[1][0].exp()))
    return encoder, decoder, said, halves_of(False), density, (16,)


def variance():
    encoder, decoder = TwoHeads().double(), nn.Linear(D, 16).double()
    exponential = Exponential(encoder)
    said = {"encoder_output": "loc-and-variance", "decoder_output": "logits"}
    return exponential, decoder, said, lambda out: (out[0], out[1].sqrt()), bernoulli_of_logits(decoder), (16,)


class Exponential(nn.Module):
    """Variances in place of their logarithms."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        mean, log_variance = self.encoder(x)
        return mean, log_variance.exp()


STYLES = [two_heads, one_tensor, methods, convolutions, squared_error, scale_per_pixel, variance]


class Built:
    """A pair, and the same densities in plain torch, one row at a time."""

    def __init__(self, style):
        encoder, decoder, said, self.read, self.log_likelihood, shape = style()
        self.encoder, self.decoder, self.shape = encoder, decoder, shape or (4, 4)
        self.model, self.guide = bv.pair_from_networks(encoder, decoder, **BERNOULLI, **said)
        self.x = torch.bernoulli(torch.full((N, 4, 4), 0.5, dtype=torch.float64))

    def by_hand(self, z):
        """log prior, log likelihood and log guide, each of shape (K, N)."""
        terms = torch.zeros(3, K, N, dtype=torch.float64)
        with torch.no_grad():
            for k in range(K):
                for n in range(N):
                    x = self.x[n]
                    loc, scale = (part.flatten() for part in self.read(self.encoder(x.reshape(1, *self.shape))))
                    terms[0, k, n] = reference.log_standard_normal(z[k, n])
                    terms[1, k, n] = self.log_likelihood(x.flatten(), z[k, n])
                    terms[2, k, n] = reference.normal_log_density(z[k, n], loc, scale)
        return terms


@pytest.fixture(params=STYLES, ids=lambda style: style.__name__)
def built(request, isolated_globals):
    with isolated_globals(seed=2):
        return Built(request.param)


@pytest.fixture
def data():
    return bv.load_data("digits", policy="static")


@pytest.fixture
def example(isolated_globals):
    """``example()``: a module with two methods for the digits' 64 pixels, in float32, and its pair."""

    def build(seed=0):
        with isolated_globals(seed=seed):
            vae = Example()
            vae.fc1, vae.fc4 = nn.Linear(64, 5), nn.Linear(5, 64)
            return vae, pair_of(vae)

    return build


def pair_of(vae, **said):
    words = {"encoder_output": "loc-and-log-variance", "decoder_output": "probabilities", "input_shape": (64,)}
    return bv.pair_from_networks(vae.encode, vae.decode, latent_dim=D, data_shape=(8, 8), **(words | said))


@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_terms_are_those_of_a_loop_over_rows(built, source):
    terms = bv.log_terms(built.model, built.guide, built.x, K, source=source, keep_latents=True)
    hand = built.by_hand(terms.latents["z"])
    for found, expected in zip((terms.log_prior, terms.log_likelihood, terms.log_guide), hand, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_gradients_reach_every_weight(built, clean_globals):
    bv.Elbo()(built.model, built.guide)(built.x).backward()
    for network in (built.model.decoder, built.guide.encoder):
        assert all(bool(parameter.grad.abs().sum() > 0) for parameter in network.parameters())


def test_the_mean_and_the_draws_have_the_shape_of_an_observation(built):
    assert built.model.sample(3, seed=0, mean=True).shape == (3, 4, 4)
    assert built.model.reconstruct(built.x, built.guide, seed=0).shape == built.x.shape
    assert built.model.likelihood(torch.zeros(5, 4, D).double()).batch_shape == (5, 4)


def test_a_loop_of_ones_own_and_the_pair_say_the_same(example, data, clean_globals):
    vae, (model, guide) = example()
    x = data.train.observations()[:200].flatten(1)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    for _ in range(30):
        reconstruction, mean, log_variance = vae_forward(vae, x)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        loss = (binary_cross_entropy(reconstruction, x, reduction="sum") + kl) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    vae.double(), model.double()
    with torch.no_grad():
        mean, log_variance = vae.encode(x.double())
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    terms = bv.elbo_terms(model, guide, x.reshape(-1, 8, 8).double(), num_particles=20)
    torch.testing.assert_close(terms.kl_to_prior, kl, rtol=1e-6, atol=1e-6)
    assert float(terms.elbo.mean()) > -35  # an untrained one is at 64 log 2, about −44


def vae_forward(vae, x):
    mean, log_variance = vae.encode(x)
    z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
    return vae.decode(z), mean, log_variance


def test_fit_trains_the_networks_in_place_and_a_run_comes_back(example, data, tmp_path):
    vae, (model, guide) = example()
    before = copy.deepcopy(vae.state_dict())
    run = bv.fit(model, guide, data, epochs=2, progress="none")
    assert all(not torch.equal(before[key], value) for key, value in vae.state_dict().items())
    assert run.history[-1]["validation_elbo"] > run.history[0]["validation_elbo"]
    assert len(run.parameter_names) == len(before)  # the module is under both, and trained once
    bv.save(run, tmp_path / "run")
    other, (model, guide) = example(seed=1)
    bv.load(tmp_path / "run", model=model, guide=guide)
    assert all(torch.equal(other.state_dict()[key], value) for key, value in vae.state_dict().items())


def test_a_run_of_networks_cannot_be_built_from_its_directory(example, data, tmp_path):
    vae, (model, guide) = example()
    bv.save(bv.fit(model, guide, data, epochs=1, progress="none"), tmp_path / "run")
    config = read_config(tmp_path / "run")
    name = f"{__name__}.Example"
    assert config["model"] == {
        "class": None,
        "description": f"the decoder {name}.decode, read as probabilities of a likelihood bernoulli",
    }
    assert config["guide"]["description"] == f"the encoder {name}.encode, read as loc-and-log-variance"
    message = (
        r"the model of this run is the decoder .*Example.decode, .*cannot be built.*load\(path, model=\.\.\., guide="
    )
    with pytest.raises(RunError, match=message):
        bv.load(tmp_path / "run")
    assert vae.training is False


def test_svi_trains_a_module_that_both_share_once(example, data, clean_globals):
    x = data.train.observations()[:50]
    vae, pair = example()
    pyro.set_rng_seed(0)
    bv.Elbo().loss_and_grads(*pair, x)
    gradients = {key: parameter.grad for key, parameter in vae.named_parameters()}
    twin, pair = example()
    pyro.set_rng_seed(0)
    pyro.infer.SVI(*pair, pyro.optim.SGD({"lr": 1e-3}), loss=bv.Elbo()).step(x)
    for key, parameter in twin.named_parameters():
        start = vae.state_dict()[key]
        torch.testing.assert_close(parameter.detach(), start - 1e-3 * gradients[key])
        assert not torch.equal(parameter, start)


def test_a_copy_of_the_model_has_networks_of_its_own(example):
    vae, (model, guide) = example()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        vae.fc4.bias.add_(1)
    z = torch.zeros(1, D)
    assert not torch.allclose(twin.decode(z), model.decode(z))
    assert guide.encoder.network is vae


@pytest.mark.parametrize("prior", ["learned-normal", "mixture", "vamp"])
def test_the_other_priors_go_with_networks(example, data, isolated_globals, prior):
    vae, _ = example()
    with isolated_globals(seed=1):
        model, guide = pair_of(vae, prior=prior)
    x = data.test.observations()[:3]
    terms = bv.log_terms(model, guide, x, 4, keep_latents=True)
    with torch.no_grad():
        torch.testing.assert_close(terms.log_prior, model.prior().log_prob(terms.latents["z"]).double())
    assert model.attached_guide is (guide if prior == "vamp" else None)


def test_likelihoods_whose_parameters_are_those_of_their_class(isolated_globals):
    with isolated_globals(seed=0):
        encoder, decoder = TwoHeads().double(), nn.Linear(D, 48).double()
    model, guide = bv.pair_from_networks(
        encoder,
        decoder,
        **BERNOULLI,
        encoder_output="loc-and-log-scale",
        decoder_output="parameters",
        parameter_axis=1,
        likelihood={"name": "categorical", "num_categories": 3},
    )
    x = torch.tensor([[0.0, 1, 2, 1]], dtype=torch.float64).expand(4, 4)[None]
    terms = bv.log_terms(model, guide, x, 1, keep_latents=True)
    with torch.no_grad():
        logits = decoder(terms.latents["z"][0]).reshape(3, 4, 4).log_softmax(0)
    truth = sum(logits[int(x[0, i, j]), i, j] for i in range(4) for j in range(4))
    torch.testing.assert_close(terms.log_likelihood[0, 0], truth)


def with_moments(layer):
    """A batch norm that has seen data."""
    with torch.no_grad():
        for tensor in (layer.running_mean, layer.weight, layer.bias):
            tensor.normal_()
        layer.running_var.uniform_(0.5, 2)
    return layer


def test_batch_norm_is_folded_into_the_layer_before_it(isolated_globals):
    with isolated_globals(seed=0):
        conv, linear = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(D, 16)
        norms = with_moments(nn.BatchNorm2d(3)), with_moments(nn.BatchNorm1d(16))
        head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(48, 2 * D))
        x = torch.bernoulli(torch.full((N, 4, 4), 0.5))
    trained = nn.Sequential(conv, norms[0], head).eval(), nn.Sequential(linear, norms[1]).eval()
    encoder = nn.Sequential(fuse_conv_bn_eval(conv, norms[0]), head)
    decoder = nn.Sequential(fuse_linear_bn_eval(linear, norms[1]))
    said = {"encoder_output": "loc-and-log-scale", "split": True, "decoder_output": "logits"}
    model, guide = bv.pair_from_networks(encoder, decoder, **BERNOULLI, **said, input_shape=(1, 4, 4))
    z = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(guide.variational_posterior(x).mean, trained[0](x[:, None])[:, :D])
        torch.testing.assert_close(model.decode(z)[:, 0].flatten(1), trained[1](z))


def test_the_observations_of_a_pair_are_single_numbers(isolated_globals):
    with isolated_globals(seed=0):
        encoder, decoder = nn.Linear(1, 2), nn.Linear(1, 1)
    model, guide = bv.pair_from_networks(
        encoder,
        decoder,
        latent_dim=1,
        data_shape=(),
        input_shape=(1,),
        encoder_output="loc-and-log-scale",
        split=True,
        decoder_output="mean",
        likelihood={"name": "normal", "scale": 1.0},
    )
    assert bv.log_terms(model, guide, torch.zeros(5), 2).log_likelihood.shape == (2, 5)


def test_a_report_lacks_nothing(example, data, isolated_globals):
    _, (model, guide) = example()
    with isolated_globals():
        contents = report_contents(model, guide, data, FEW)
    parts = contents.gap, contents.aggregate, contents.latents, contents.pictures, contents.calibration
    assert not [part for part in parts if isinstance(part, Missing)]


class TakesMask(nn.Module):
    """Reads x and which of its numbers were observed."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(12, 2 * D)

    def forward(self, x, seen):
        assert set(seen.unique().tolist()) <= {0.0, 1.0}
        assert not x[seen == 0].any()
        return self.body(torch.cat([x, seen], 1)).chunk(2, 1)


@pytest.mark.parametrize("mask_input", [True, False])
def test_missing_values_reach_an_encoder_as_zeros_and_the_mask_where_it_takes_one(mask_input, isolated_globals):
    """The terms are those of both by hand; without the mask there is one warning."""
    with isolated_globals(seed=0):
        encoder, decoder = TakesMask() if mask_input else nn.Linear(6, 2 * D), nn.Linear(D, 6)
        x = torch.where(torch.rand(5, 6) < 0.3, torch.nan, torch.randn(5, 6))
    sizes = {"latent_dim": D, "data_shape": (6,), "likelihood": {"name": "normal", "scale": 1.0}}
    said = {"encoder_output": "loc-and-log-scale", "decoder_output": "mean", "split": not mask_input}
    model, guide = bv.pair_from_networks(encoder, decoder, **sizes, **said, mask_input=mask_input)
    seen = (~x.isnan()).float()
    output = encoder(x.nan_to_num(), seen) if mask_input else encoder(x.nan_to_num()).chunk(2, 1)
    with contextlib.nullcontext() if mask_input else pytest.warns(MissingValuesWarning, match="mask_input=True"):
        terms = bv.log_terms(model, guide, x, 3, keep_latents=True)
    z = terms.latents["z"]
    torch.testing.assert_close(guide.variational_posterior(x).mean, output[0])
    each = torch.distributions.Normal(decoder(z), 1.0).log_prob(x.nan_to_num()) * seen
    torch.testing.assert_close(terms.log_likelihood, each.sum(-1).double().detach(), rtol=1e-5, atol=1e-5)
