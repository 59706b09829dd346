"""Probabilities that round to 0 and 1: the logits behind them are used where they are known, and else it is said."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import bayes_vae as bv
from bayes_vae.distributions.continuous_bernoulli_logits import ContinuousBernoulliLogits
from bayes_vae.errors import NetworkOutputWarning
from bayes_vae.networks.final_sigmoid import FinalSigmoid, clamped_logits

LOGITS = torch.tensor([-120.0, -60.0, -30.0, -17.0, -2.0, 0.5, 12.0, 16.0, 18.0, 25.0, 70.0, 300.0])
"""In float32 the sigmoid of those above 17 is 1."""

X = torch.tensor([[0.9, 0.0, 0.3, 0.1, 0.5, 0.6, 0.8, 1.0, 0.95, 0.4, 0.2, 0.99]])


class Decoder(nn.Module):
    """LOGITS, whatever z is, and then what is done with them."""

    def __init__(self, last):
        super().__init__()
        self.logits, self.last = nn.Parameter(LOGITS.clone()), last

    def forward(self, z):
        return self.last(self.logits + 0 * z[:, :1])


@pytest.fixture
def pair_of(isolated_globals):
    """``pair_of(decoder)``: the pair of a decoder that returns probabilities."""

    def make(decoder, likelihood="continuous-bernoulli", data_shape=(12,)):
        with isolated_globals(seed=0):
            encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
            return bv.pair_from_networks(
                encoder,
                decoder,
                latent_dim=2,
                data_shape=data_shape,
                likelihood=likelihood,
                encoder_output="loc-and-log-scale",
                split=True,
                decoder_output="probabilities",
            )

    return make


ENDINGS = {
    "a module": nn.Sigmoid(),
    "torch": torch.sigmoid,
    "a method": lambda h: h.sigmoid(),
    "functional": functional.sigmoid,
    "nested": nn.Sequential(nn.Identity(), nn.Sequential(nn.Sigmoid())),
    "then reshaped": nn.Sequential(nn.Sigmoid(), nn.Unflatten(1, (3, 4))),
    "then flattened": nn.Sequential(nn.Unflatten(1, (3, 4)), nn.Sigmoid(), nn.Flatten()),
    "after a sigmoid inside": lambda h: (h + 0 * h.sigmoid()).sigmoid(),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_continuous_bernoulli_has_the_logits_before_the_last_sigmoid(pair_of, name, mode):
    model, guide = pair_of(Decoder(ENDINGS[name]))
    truth = ContinuousBernoulliLogits(LOGITS.double()).log_prob(X.double())
    with mode():
        found = model.likelihood(torch.zeros(1, 2)).log_prob(X)
    torch.testing.assert_close(found.double(), truth)
    terms = bv.log_terms(model, guide, X, 3)
    torch.testing.assert_close(terms.log_likelihood.double(), truth.expand(3, 1))


def test_a_bernoulli_too_and_gradients_reach_the_network(pair_of):
    model, _ = pair_of(Decoder(nn.Sigmoid()), "bernoulli")
    loss = model.likelihood(torch.zeros(1, 2)).log_prob(X.round()).sum()
    truth = -functional.binary_cross_entropy_with_logits(LOGITS, X[0].round(), reduction="sum")
    torch.testing.assert_close(loss, truth)
    loss.backward()
    torch.testing.assert_close(model.decoder.network.logits.grad, X[0].round() - LOGITS.sigmoid())


def test_the_network_is_left_as_it_is(pair_of):
    decoder = nn.Sequential(Decoder(nn.Identity()), nn.Sigmoid())
    before = copy.deepcopy(decoder.state_dict())
    model, _ = pair_of(decoder)
    model.likelihood(torch.zeros(1, 2))
    assert isinstance(decoder[-1], nn.Sigmoid)
    assert not decoder[-1]._forward_hooks
    torch.testing.assert_close(dict(decoder.state_dict()), dict(before))
    torch.testing.assert_close(model.decode(torch.zeros(1, 2))[0, 0], LOGITS.sigmoid())


OTHERS = {
    "clipped afterwards": lambda h: h.sigmoid().clamp(0.0, 1.0),
    "changed in place": lambda h: h.sigmoid().sub_(1e-3).clamp_(0.0, 1.0),
    "another function": lambda h: (1 + torch.tanh(h / 2)) / 2,
    "logits changed in place afterwards": lambda h: (h.sigmoid(), h.mul_(2))[0],
    "mixed with another": lambda h: torch.lerp(h.sigmoid(), h.sigmoid(), 0.5),
}


@pytest.mark.parametrize("name", OTHERS)
def test_where_the_logits_are_not_known_the_share_at_the_clamp_is_said_once(pair_of, name):
    message = (
        r"(25|33|41|50|58)\.\d\d% of the decoder's probabilities are exactly 0 or 1\. .* count as -87\.3 and 16\.6,"
    )
    with pytest.warns(NetworkOutputWarning, match=message) as caught:
        model, _ = pair_of(Decoder(OTHERS[name]))
    assert len(caught) == 1
    probabilities = OTHERS[name](LOGITS.clone())
    truth = ContinuousBernoulliLogits(clamped_logits(probabilities)).log_prob(X)
    torch.testing.assert_close(model.likelihood(torch.zeros(1, 2)).log_prob(X), truth)  # and does not warn again


def test_another_order_of_the_pixels_keeps_its_own_logits(pair_of):
    turned = nn.Sequential(nn.Unflatten(1, (3, 4)), nn.Sigmoid())
    plain = Decoder(lambda h: turned(h.clamp(-9, 9)).transpose(1, 2))
    model, _ = pair_of(plain, data_shape=(4, 3))
    truth = LOGITS.clamp(-9, 9).reshape(3, 4).T
    torch.testing.assert_close(model.likelihood(torch.zeros(1, 2)).logits[0], truth, rtol=0, atol=1e-2)


def test_another_order_of_equal_pixels_gives_each_its_own_gradient(pair_of):
    """Where all pixels are equal, only the gradients tell their order."""
    decoder = Decoder(lambda h: h.unflatten(1, (3, 4)).sigmoid().transpose(1, 2))
    torch.nn.init.constant_(decoder.logits, 0.3)
    model, _ = pair_of(decoder, "bernoulli", (4, 3))
    x = X.round().reshape(1, 4, 3)
    model.likelihood(torch.zeros(1, 2)).log_prob(x).sum().backward()
    gradient = x[0].T.flatten() - decoder.logits.detach().sigmoid()
    torch.testing.assert_close(decoder.logits.grad, gradient)


def test_few_at_the_clamp_are_not_worth_a_word(pair_of):
    half = torch.full((12,), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _ = pair_of(Decoder(lambda h: half + 0 * h))
    assert model.likelihood(torch.zeros(1, 2)).logits.abs().max() == 0


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(torch.float32, -87.3365, 16.6355), (torch.float64, -708.396, 36.7368)]
)
def test_the_clamp_is_as_wide_as_the_dtype_allows(dtype, low, high):
    ends = clamped_logits(torch.tensor([0.0, 1.0], dtype=dtype))
    torch.testing.assert_close(ends, torch.tensor([low, high], dtype=dtype), rtol=1e-5, atol=0)
    small = torch.tensor([1e-30], dtype=dtype)
    torch.testing.assert_close(clamped_logits(small), small.log())


def test_a_network_without_a_sigmoid_has_no_logits():
    with FinalSigmoid() as watch:
        output = torch.ones(2)
    assert watch.logits(output) is None
