"""Convolutional encoders and decoders: their shapes, where they start, and what they refuse."""

import pytest
import torch

from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.networks.convolutions import ConvolutionalDecoder, ConvolutionalEncoder
from bayes_vae.networks.perceptron import decoder_network, encoder_network, set_output_bias
from bayes_vae.terms import log_terms

SHAPES = [(8, 8), (28, 28), (1, 28, 28), (3, 32, 32), (5, 7), (1, 1)]
CONV = {"latent_dim": 2, "data_shape": (5, 7), "hidden_dims": (3, 4), "network": "conv"}


@pytest.fixture
def decoder(isolated_globals):
    with isolated_globals(seed=0):
        return ConvolutionalDecoder(2, (3, 5, 7), 2, (4, 6), "tanh")


@pytest.mark.parametrize("hidden_dims", [(4,), (4, 6), (4, 6, 8)])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_size_come_back_in_their_own(shape, hidden_dims, clean_globals):
    size = torch.Size(shape).numel()
    encoder = ConvolutionalEncoder(shape, 5, hidden_dims, "relu")
    decoder = ConvolutionalDecoder(5, shape, 2, hidden_dims, "relu")
    code = encoder(torch.zeros(3, size))
    assert code.shape == (3, 5)
    assert decoder(code).shape == (3, 2 * size)


def test_leading_dimensions_are_only_a_batch(decoder, clean_globals):
    encoder = ConvolutionalEncoder((3, 5, 7), 4, (4, 6), "tanh")
    z, x = torch.randn(6, 4, 2), torch.randn(6, 4, 105)
    assert decoder(z).shape == (6, 4, 210)
    assert encoder(x).shape == (6, 4, 4)
    torch.testing.assert_close(decoder(z)[5, 1], decoder(z[5, 1]))
    torch.testing.assert_close(encoder(x)[5, 1], encoder(x[5, 1]))


def test_the_encoder_sees_where_a_pixel_is(clean_globals):
    """A row of pixels is an image row by row: what is far from a pixel does not change its features."""
    encoder = ConvolutionalEncoder((4, 8), 2, (3,), "identity")
    before = encoder.convolutions(torch.zeros(1, 1, 4, 8))
    moved = torch.zeros(4, 8)
    moved[0, 7] = 1.0
    changed = (encoder.convolutions(moved.reshape(1, 1, 4, 8)) != before).any(1)[0]
    assert changed.nonzero().tolist() == [[0, 3]]
    seen = {}
    encoder.convolutions.register_forward_hook(lambda module, given, output: seen.update(x=given[0]))
    encoder(moved.flatten())
    torch.testing.assert_close(seen["x"][0, 0], moved)


def test_the_output_bias_is_one_number_a_pixel(decoder):
    bias = torch.arange(210.0)
    set_output_bias(decoder, bias.reshape(2, 3, 5, 7))
    with torch.no_grad():
        decoder.convolutions[-1].weight.zero_()
    torch.testing.assert_close(decoder(torch.ones(2)), bias)


def test_every_parameter_gets_a_gradient(decoder, clean_globals):
    encoder = ConvolutionalEncoder((3, 5, 7), 2, (4, 6), "tanh")
    decoder(encoder(torch.randn(3, 105))).square().sum().backward()
    for module in (encoder, decoder):
        assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_vectors_are_refused():
    with pytest.raises(ShapeError, match=r"takes images, of shape \(height, width\) or .*but an observation has shape"):
        ConvolutionalEncoder((64,), 2, (4,), "relu")
    with pytest.raises(ShapeError, match="Choose network 'mlp', or reshape the data"):
        ConvolutionalDecoder(2, (1, 2, 3, 4), 1, (4,), "relu")


def test_a_hidden_layer_is_needed():
    with pytest.raises(SettingsError, match="a convolutional network needs at least one hidden layer"):
        ConvolutionalEncoder((8, 8), 2, (), "relu")


def test_channels_must_be_positive():
    with pytest.raises(SettingsError, match=r"every layer needs at least 1 channel, got \[4, 0\]"):
        ConvolutionalDecoder(2, (8, 8), 1, (4, 0), "relu")


def test_unknown_networks_are_refused():
    with pytest.raises(SettingsError, match="unknown network 'transformer': choose one of mlp, conv"):
        encoder_network("transformer", (8, 8), 2, (4,), "relu")
    with pytest.raises(SettingsError, match="unknown network 'transformer': choose one of mlp, conv"):
        decoder_network("transformer", 2, (8, 8), 1, (4,), "relu")


@pytest.mark.parametrize("name", ["batchnorm", "batch_norm", "BatchNorm"])
def test_batch_norm_is_refused_as_an_activation(name):
    with pytest.raises(SettingsError, match="batch norm ties the observations of a batch together"):
        ConvolutionalEncoder((8, 8), 2, (4,), name)


def test_a_decoder_starts_at_the_data(clean_globals):
    model = VAE(**CONV)
    mean = torch.rand(5, 7).clamp(0.05, 0.95)
    model.set_output_bias(mean)
    with torch.no_grad():
        model.decoder.convolutions[-1].weight.zero_()
    torch.testing.assert_close(model.likelihood(torch.randn(2)).mean, mean)


def test_a_convolutional_pair_has_the_same_terms_from_both_sources(clean_globals):
    model, guide = VAE(**CONV).double(), AmortizedNormalGuide(**CONV).double()
    x = model.sample(6, seed=1)
    exposed, traced = (log_terms(model, guide, x, 3, seed=2, source=s) for s in ("distributions", "traces"))
    assert traced.provenance.particles == "plate"
    for name in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(getattr(exposed, name), getattr(traced, name))
    alone = log_terms(model, guide, x[4:5], 3, seed=2, index=torch.tensor([4]))
    torch.testing.assert_close(alone.log_importance_weights, exposed.log_importance_weights[:, 4:5])
