"""Networks that cannot be a pair, or that are not what was said of them: each is refused in a sentence."""

import warnings

import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import NetworkOutputWarning, NumericalError, ProgramError, SettingsError, ShapeError
from bayes_vae.networks.foreign import describe_output, keeps_order

D = 2


class Returns(nn.Module):
    """A network whose output is a function of its one linear layer's."""

    def __init__(self, inputs, outputs, read):
        super().__init__()
        self.linear, self.read = nn.Linear(inputs, outputs), read

    def forward(self, x):
        return self.read(self.linear(x.reshape(len(x), -1)))


class Centred(nn.Module):
    """Normalizes over the batch, whatever the mode."""

    def forward(self, rows):
        return rows - rows.mean(0)


def encoder(read=lambda out: out.chunk(2, 1)):
    return Returns(16, 2 * D, read)


def decoder(read=lambda out: out):
    return Returns(D, 16, read)


@pytest.fixture
def pair(isolated_globals):
    """``pair(encoder=..., **said)``: a pair of small networks, but for what is given; networks are given as makers."""

    def build(encoder=encoder, decoder=decoder, **said):
        words = {
            "latent_dim": D,
            "data_shape": (4, 4),
            "encoder_output": "loc-and-log-scale",
            "decoder_output": "logits",
        }
        with isolated_globals(seed=0):
            networks = encoder(), decoder()
        return bv.pair_from_networks(*networks, **(words | said))

    return build


def seen(out):
    loc, second = out.chunk(2, 1)
    return torch.zeros(len(out), 16), loc, second


def drawn(out):
    loc, log_scale = out.chunk(2, 1)
    return loc + torch.randn_like(loc) * log_scale.exp(), log_scale


def shifted_by_the_batch(out):
    loc, second = (out - out.mean(0)).chunk(2, 1)
    return loc, second


ENCODERS = {
    "one tensor": (
        lambda out: out,
        {},
        ShapeError,
        r"split=False and latent_dim=2 ask for .* a tuple of two tensors of shape \(8, 2\), but it returned a tensor "
        r"of shape \(8, 4\)\. If the two halves.*say split=True",
    ),
    "a tuple where one tensor was said": (
        lambda out: out.chunk(2, 1),
        {"split": True},
        ShapeError,
        r"split=True .* one tensor of shape \(8, 4\), loc first, but it returned a tuple of 2: .*\. Leave split out",
    ),
    "a reconstruction too": (
        seen,
        {},
        ShapeError,
        r"returned a tuple of 3: a tensor of shape \(8, 16\), a tensor of shape \(8, 2\).*such as vae.encode.*neither",
    ),
    "a dictionary": (lambda out: {"loc": out}, {}, ShapeError, "but it returned dict, which is no tensor"),
    "half as many, split": (
        lambda out: out[:, :D],
        {"split": True},
        ShapeError,
        r"returned a tensor of shape \(8, 2\)\. Say the latent_dim that the encoder was built with",
    ),
    "pairs of mean and scale, split": (
        lambda out: out.reshape(-1, D, 2),
        {"split": True},
        ShapeError,
        r"one tensor of shape \(8, 4\), loc first, but it returned a tensor of shape \(8, 2, 2\)",
    ),
    "another latent_dim": (
        lambda out: (out[:, :1], out[:, 1:2]),
        {},
        ShapeError,
        r"with latent_dim=2 the encoder's first output, loc, must have shape \(8, 2\).*got \(8, 1\)",
    ),
    "only one scale": (
        lambda out: (out[:, :2], out[:, 2:3]),
        {},
        ShapeError,
        r"the encoder's second output, log-scale, must have shape \(8, 2\).*got \(8, 1\)",
    ),
    "no row for one observation": (
        lambda out: tuple(part.squeeze(0) for part in out.chunk(2, 1)),
        {},
        ShapeError,
        r"must have shape \(1, 2\).* for a batch of 1, got \(2,\)\. A row for each row of the batch is expected, also",
    ),
    "a logarithm said to be a scale": (
        lambda out: out.chunk(2, 1),
        {"encoder_output": "loc-and-scale"},
        NumericalError,
        r"encoder_output='loc-and-scale' was said.* holds -\d.*no scale is 0, negative or NaN.*'loc-and-log-scale'",
    ),
    "a logarithm said to be a variance": (
        lambda out: out.chunk(2, 1),
        {"encoder_output": "loc-and-variance"},
        NumericalError,
        "no variance is 0, negative or NaN",
    ),
    "NaN": (
        lambda out: (out * torch.nan).chunk(2, 1),
        {},
        NumericalError,
        r"the encoder returns NaN or infinite numbers \(location\).*has its training diverged",
    ),
    "a draw": (
        drawn,
        {},
        ProgramError,
        "the encoder does not return the same location when it is given the same input again, in evaluation mode: ",
    ),
    "dropout that is never off": (
        lambda out: torch.dropout(out, 0.5, train=True).chunk(2, 1),
        {},
        ProgramError,
        r"switch dropout off in evaluation mode \(nn.Dropout, or dropout\(\.\.\., training=self.training\)\)",
    ),
    "the batch's own moments": (
        shifted_by_the_batch,
        {},
        ProgramError,
        "the encoder does not return the same location for a row alone as for that row within a batch",
    ),
    "another shape of the input": (
        lambda out: out.chunk(2, 1),
        {"input_shape": (3, 5)},
        ShapeError,
        r"input_shape=\(3, 5\) does not hold the numbers of an observation of shape \(4, 4\) in their order",
    ),
    "an unknown word": (
        lambda out: out.chunk(2, 1),
        {"encoder_output": "mean-and-sd"},
        SettingsError,
        "unknown encoder_output 'mean-and-sd': choose one of loc-and-scale, loc-and-variance, loc-and-log-scale, loc",
    ),
}


@pytest.mark.parametrize("case", ENCODERS)
def test_encoders_that_are_not_what_was_said(pair, case):
    read, said, error, message = ENCODERS[case]
    with pytest.raises(error, match=message):
        pair(encoder=lambda: encoder(read), **said)


NORMAL = {"decoder_output": "mean", "likelihood": "normal"}
PER_PIXEL = {"name": "normal", "noise": "per-pixel"}

DECODERS = {
    "as many numbers in another order": (
        lambda out: out.reshape(-1, 8, 2),
        {},
        ShapeError,
        r"the decoder's output, logits, must have shape \(8, 4, 4\).*got \(8, 8, 2\)\. The numbers are as many, but in "
        "another order: permute",
    ),
    "too few numbers": (
        lambda out: out[:, :9],
        {},
        ShapeError,
        r"must have shape \(8, 4, 4\), or .*got \(8, 9\)\. A row",
    ),
    "one row for all": (
        lambda out: out[:1],
        {},
        ShapeError,
        r"for a batch of 8, got \(1, 16\)\. A row for each row of",
    ),
    "a tuple": (
        lambda out: (out, out),
        {},
        ShapeError,
        "asks for a decoder that returns a tensor with one row of 16 numbers for each of 8 latents, but it returned a",
    ),
    "a mean alone": (
        lambda out: out,
        {"decoder_output": "mean-and-log-scale", "likelihood": PER_PIXEL},
        ShapeError,
        r"2 parameters for each number.*of shape \(N, 2, 4, 4\) or .*but it returned a tensor of shape \(8, 16\)",
    ),
    "numbers that are no probabilities": (
        lambda out: out,
        {"decoder_output": "probabilities"},
        NumericalError,
        r"decoder_output='probabilities' was said, but .* ranges over \[-.*, .*\], .*say decoder_output='logits'",
    ),
    "NaN": (lambda out: out * torch.nan, {}, NumericalError, r"the decoder returns NaN or infinite numbers \(logits\)"),
    "a draw": (
        lambda out: torch.bernoulli(out.sigmoid()),
        {},
        ProgramError,
        "the decoder does not return the same logits when it is given the same input again",
    ),
    "logits of a normal": (
        lambda out: out,
        {"likelihood": "normal"},
        SettingsError,
        "decoder_output='logits' does not go with the likelihood 'normal', which takes 'mean': say what the decoder's",
    ),
    "scales of a fixed scale": (
        lambda out: out,
        {**NORMAL, "decoder_output": "mean-and-log-scale"},
        SettingsError,
        'a scale for each pixel is the likelihood {"name": "normal", "noise": "per-pixel"}',
    ),
    "a mean where scales are the decoder's": (
        lambda out: out,
        {"decoder_output": "mean", "likelihood": PER_PIXEL},
        SettingsError,
        "takes 'mean-and-log-scale'",
    ),
    "an unknown word": (
        lambda out: out,
        {"decoder_output": "pixels"},
        SettingsError,
        "'pixels' does not go with the likelihood 'bernoulli', which takes 'logits' or 'probabilities': choose one",
    ),
}


@pytest.mark.parametrize("case", DECODERS)
def test_decoders_that_are_not_what_was_said(pair, case):
    read, said, error, message = DECODERS[case]
    with pytest.raises(error, match=message):
        pair(decoder=lambda: decoder(read), **said)


def test_a_latent_dim_that_the_networks_were_not_built_with(pair):
    message = r"the decoder could not be run on latents of shape \(8, 3\): RuntimeError: mat1.*3 was said"
    with pytest.raises(ShapeError, match=message):
        pair(encoder=lambda: Returns(16, 6, lambda out: out.chunk(2, 1)), latent_dim=3)


def test_an_input_shape_that_the_encoder_does_not_take(pair):
    message = (
        r"the encoder could not be run on observations of shape \(8, 4, 4\): RuntimeError.*Say input_shape.*\(784,\)"
    )
    with pytest.raises(ShapeError, match=message):
        pair(encoder=lambda: nn.Conv2d(2, 1, 3))


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_norm_over_the_batch_is_refused_by_what_it_does(pair, role):
    makers = {
        "encoder": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2 * D), Centred()),
        "decoder": lambda: nn.Sequential(nn.Linear(D, 16), Centred()),
    }
    plain = {"encoder": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2 * D))}
    with pytest.raises(ProgramError, match=f"the {role} does not return the same .* for a row alone"):
        pair(**plain | {role: makers[role]}, split=True)


def test_layer_and_group_norm_are_taken(pair):
    _, guide = pair(
        encoder=lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 2 * D)),
        decoder=lambda: nn.Sequential(nn.Linear(D, 16), nn.LayerNorm(16)),
        split=True,
    )
    assert guide.variational_posterior(torch.zeros(3, 4, 4)).batch_shape == (3,)


def test_what_is_no_module_has_nothing_to_train(pair):
    message = (
        "the encoder must be a torch.nn.Module or a method of one, such as vae.encode, got function: its parameters"
    )
    with pytest.raises(SettingsError, match=message):
        pair(encoder=lambda: lambda x: (x, x))
    with pytest.raises(SettingsError, match=r"the decoder torch.nn.modules.flatten.Flatten has no parameters"):
        pair(decoder=nn.Flatten)


def test_dropout_is_off_in_evaluation(pair):
    model, guide = pair(encoder=lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 2 * D)), split=True)
    x = torch.ones(3, 4, 4)
    first, again = (bv.elbo_terms(model, guide, x, 3).elbo for _ in range(2))
    assert torch.equal(first, again)
    assert guide.training


def test_a_sigmoid_said_to_give_logits_is_noted(pair):
    message = r"decoder_output='logits' was said, and all .* in \[0\.\d+, 0\.\d+\]\. If it ends with a sigmoid, say dec"
    with pytest.warns(NetworkOutputWarning, match=message) as caught:
        pair(decoder=lambda: decoder(torch.sigmoid))
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda out: out, {}),
        (lambda out: 0 * out, {}),
        (torch.relu, {}),
        (lambda out: out.sigmoid() * 3, {}),
        (torch.sigmoid, {"decoder_output": "probabilities"}),
        (torch.sigmoid, NORMAL),
        (lambda out: out.sigmoid()[:, :4], {"data_shape": (2, 2), "input_shape": (1, 2, 2)}),
    ],
)
def test_other_outputs_are_not_noted(pair, read, said):
    small = lambda: Returns(4, 2 * D, lambda out: out.chunk(2, 1))  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair(decoder=lambda: decoder(read), **({"encoder": small} if "data_shape" in said else {}), **said)


def test_observations_of_another_shape(pair):
    model, guide = pair()
    message = (
        r"takes observations of shape \(N, 4, 4\), got \(3, 16\)\. Reshape x, or build the pair with data_shape=\(16,"
    )
    with pytest.raises(ShapeError, match=message):
        guide.variational_posterior(torch.zeros(3, 16))
    with pytest.raises(ShapeError, match=r"observations of shape \(N, 4, 4\), got \(3, 16\)"):
        bv.elbo_terms(model, guide, torch.zeros(3, 16))


def test_networks_and_the_process_are_left_as_they_were(pair, isolated_globals):
    with isolated_globals(seed=0):
        network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 2 * D))
        other = decoder()
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    words = {"latent_dim": D, "data_shape": (4, 4), "encoder_output": "loc-and-log-scale", "decoder_output": "logits"}
    _, guide = bv.pair_from_networks(network, other, split=True, **words)
    assert torch.equal(torch.get_rng_state(), state)
    assert guide.encoder.network is network
    assert network.training
    assert network[1].training
    assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("shape", "other", "same"),
    [
        ((784,), (28, 28), True),
        ((28, 28), (784,), True),
        ((1, 28, 28), (28, 28), True),
        ((28, 28, 1), (28, 28), True),
        ((28, 28, 3), (3, 28, 28), False),
        ((28, 14, 2), (28, 28), False),
        ((4, 2), (2, 4), False),
        ((), (1,), True),
        ((), (2,), False),
        ((3,), (2,), False),
    ],
)
def test_shapes_whose_numbers_are_in_the_same_order(shape, other, same):
    assert keeps_order(shape, other) is same


def test_what_arrived_is_described():
    nested = (torch.zeros(2), [torch.zeros(1, 3), None])
    assert describe_output(nested) == (
        "a tuple of 2: a tensor of shape (2,), a list of 2: a tensor of shape (1, 3), NoneType, which is no tensor"
    )
