"""Several parameters for each number: their order is said or seen from the sizes, and never guessed."""

import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.networks.parameter_order import parameters_first

D = 2


class Rows(nn.Module):
    """Observations as rows of numbers, be they single ones."""

    def forward(self, x):
        return x.reshape(len(x), -1)


def pair_of(decoder, data_shape, likelihood, isolated_globals, **said):
    size = torch.Size(data_shape).numel()
    with isolated_globals(seed=1):
        encoder = nn.Sequential(Rows(), nn.Linear(size, 2 * D))
    words = {"encoder_output": "loc-and-log-scale", "split": True, "decoder_output": "parameters"}
    return bv.pair_from_networks(
        encoder, decoder, latent_dim=D, data_shape=data_shape, likelihood=likelihood, **(words | said)
    )


@pytest.fixture
def build(isolated_globals):
    """``build(outputs, data_shape, likelihood, unflatten=..., **said)``: the pair and its decoder."""

    def make(outputs, data_shape, likelihood, unflatten=None, **said):
        with isolated_globals(seed=0):
            decoder = nn.Linear(D, outputs)
        if unflatten:
            decoder = nn.Sequential(decoder, nn.Unflatten(1, unflatten))
        return *pair_of(decoder, data_shape, likelihood, isolated_globals, **said), decoder

    return make


def categories(number):
    return {"name": "categorical", "num_categories": number}


@pytest.mark.parametrize("axis", [1, -1, 2])
def test_logits_position_by_position_and_the_other_way(build, axis):
    """The right value is torch's own categorical, written by hand for each order."""
    length, number = 5, 4
    model, guide, decoder = build(length * number, (length,), categories(number), parameter_axis=axis)
    x = torch.randint(0, number, (6, length), generator=torch.Generator().manual_seed(0)).float()
    terms = bv.log_terms(model, guide, x, 3, keep_latents=True)
    out = decoder(terms.latents["z"]).detach()
    first = out.reshape(3, 6, number, length).transpose(-1, -2)
    logits = first if axis == 1 else out.reshape(3, 6, length, number)
    truth = torch.distributions.Categorical(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(terms.log_likelihood, truth.double(), rtol=1e-5, atol=1e-5)


def test_a_flat_output_of_unsaid_order_is_refused_with_both_readings(build):
    message = (
        r"shape \(N, 20\) holds 4 parameters for each number, and may be \(N, 4, 5\) \(parameter_axis=1\) or "
        r"\(N, 5, 4\) \(parameter_axis=2\): say which by parameter_axis"
    )
    with pytest.raises(ShapeError, match=message):
        build(20, (5,), categories(4))


def test_as_many_positions_as_categories_are_asked_about(build):
    with pytest.raises(ShapeError, match=r"may be \(N, 4, 4\) \(parameter_axis=1\) or \(N, 4, 4\) \(para"):
        build(16, (4,), categories(4), unflatten=(4, 4))


NORMAL = {"name": "normal", "noise": "per-pixel"}
KINDS = {
    "categories": (categories(3), {}, 3),
    "mean and scale": (NORMAL, {"decoder_output": "mean-and-log-scale"}, 2),
    "discretized logistic": ("discretized-logistic", {}, 2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [1, 2, 3, 4])
def test_an_axis_whose_size_says_it_needs_no_word(build, kind, axis):
    """An image of other sizes: the parameters may come before, between or after its axes."""
    likelihood, said, count = KINDS[kind]
    shape = (5, 4, 6)
    full = [*shape[: axis - 1], count, *shape[axis - 1 :]]
    model, _, decoder = build(count * 120, shape, likelihood, unflatten=full, **said)
    z = torch.randn(7, D, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.decode(z), decoder(z).movedim(axis, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_channels_with_the_parameters_in_them_are_asked_about(build, kind):
    likelihood, said, count = KINDS[kind]
    with pytest.raises(ShapeError, match=rf"\(N, {count}, 5, 4, 6\) \(parameter_axis=1\) or \(N, 5, {count}, 4, 6\)"):
        build(count * 120, (5, 4, 6), likelihood, unflatten=(5 * count, 4, 6), **said)
    for axis in (1, 2):
        told = said | {"parameter_axis": axis}
        model, _, decoder = build(count * 120, (5, 4, 6), likelihood, unflatten=(5 * count, 4, 6), **told)
        z = torch.ones(2, D)
        full = (2, count, 5, 4, 6) if axis == 1 else (2, 5, count, 4, 6)
        torch.testing.assert_close(model.decode(z), decoder(z).reshape(full).movedim(axis, 1))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_number_has_one_order(build, shape):
    model, _, decoder = build(3, shape, categories(3))
    z = torch.ones(2, D)
    torch.testing.assert_close(model.decode(z).reshape(2, 3), decoder(z))


def test_a_colour_axis_of_size_one_makes_no_difference(build):
    model, _, decoder = build(24, (1, 2, 4), categories(3), unflatten=(3, 2, 4))
    z = torch.ones(2, D)
    torch.testing.assert_close(model.decode(z), decoder(z).unsqueeze(2))
    for axis in (1, 2):
        told, *_ = build(24, (1, 2, 4), categories(3), unflatten=(3, 2, 4), parameter_axis=axis)
        torch.testing.assert_close(told.decode(z), model.decode(z))


def test_what_was_said_and_does_not_fit(build):
    with pytest.raises(ShapeError, match=r"ask for a decoder's output of shape \(N, 5, 4\), or flattened, but"):
        build(20, (5,), categories(4), unflatten=(4, 5), parameter_axis=-1)
    with pytest.raises(ShapeError, match=r"of shape \(N, 4, 5\) or \(N, 5, 4\).*shape \(8, 21\) for 8 rows"):
        build(21, (5,), categories(4))
    with pytest.raises(SettingsError, match="parameter_axis must be one of the axes 1…2 .*got 3"):
        build(20, (5,), categories(4), parameter_axis=3)
    with pytest.raises(SettingsError, match="'bernoulli' has one parameter for each number: leave parameter_axis out"):
        build(5, (5,), "bernoulli", decoder_output="logits", parameter_axis=1)


def test_rows_are_counted():
    with pytest.raises(ShapeError, match="for 2 rows"):
        parameters_first(torch.zeros(3, 4, 5), 2, 4, (5,), None)
