"""Multilayer perceptrons."""

import pytest

from bayes_vae.errors import SettingsError
from bayes_vae.networks.perceptron import mlp


def test_layers_and_initialisation(clean_globals):
    network = mlp([5, 7, 3], "relu")
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU", "Linear"]
    assert all((layer.bias == 0).all() for layer in network[::2])
    limit = (6 / (5 + 7)) ** 0.5
    assert limit * 0.8 < network[0].weight.abs().max() <= limit


def test_no_hidden_layer_is_linear(clean_globals):
    assert len(mlp([4, 2], "tanh")) == 1


def test_unknown_activation():
    with pytest.raises(SettingsError, match="unknown activation 'swish': choose one of tanh, relu"):
        mlp([2, 2], "swish")


def test_widths_must_be_positive():
    with pytest.raises(SettingsError, match=r"width of at least 1, got \[2, 0, 2\]"):
        mlp([2, 0, 2], "tanh")
