"""A latent site that is dead or ignored, an observed site that was forgotten: one of several, and named."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import bayes_vae as bv

COUNT, NOISE, STEEP = 400, 0.5, 3.0


class Layers:
    """p(top) = N(0, 1), p(low given top) = N(a top, 1), p(x given low) = N(low, s²), and q bottom up.

    ``used`` is a; q of the top is the posterior given the low one, or with ``paid`` a narrow normal at the low one.
    """

    def __init__(self, used: float, paid: bool = False) -> None:
        self.used, self.paid = used, paid

    def model(self, x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            low = pyro.sample("low", dist.Normal(self.used * top, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(low, NOISE).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        variance = 1 + self.used**2
        precision = 1 / variance + 1 / NOISE**2
        with pyro.plate("rows", len(x)):
            low = pyro.sample("low", dist.Normal(x / NOISE**2 / precision, precision**-0.5).to_event(1))
            loc, scale = (low, 0.3) if self.paid else (self.used * low / variance, variance**-0.5)
            pyro.sample("top", dist.Normal(loc, scale).to_event(1))


class Modalities(nn.Module):
    """Real values x and zeros and ones b of one z; the decoder of b is the one of the data, or as it began."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.to_x, self.to_b, self.to_z = nn.Linear(2, 2), nn.Linear(2, 12), nn.Linear(2, 4)
        with torch.no_grad():
            for layer in (self.to_x, self.to_z, self.to_b):
                layer.weight.zero_()
                layer.bias.zero_()
            self.to_x.weight.copy_(torch.eye(2))
            self.to_z.weight[:2] = torch.eye(2) / (1 + NOISE**2)
            self.to_z.bias[2:] = torch.tensor(NOISE**2 / (1 + NOISE**2)).log() / 2
            if trained:
                self.to_b.weight.copy_(STEEP * torch.eye(2).repeat(6, 1))

    def model(self, x: Tensor, b: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.to_x(z), NOISE).to_event(1), obs=x)
            pyro.sample("b", dist.Bernoulli(logits=self.to_b(z)).to_event(1), obs=b)

    def guide(self, x: Tensor, b: Tensor) -> None:
        loc, log_scale = self.to_z(x).chunk(2, -1)
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.fixture(autouse=True)
def _isolated(isolated_globals):
    with isolated_globals(seed=0):
        yield


def layers(pair: Layers) -> bv.Diagnosis:
    x = torch.randn(COUNT, 1, generator=torch.Generator().manual_seed(0)) * (1 + pair.used**2 + NOISE**2) ** 0.5
    return bv.diagnose(pair.model, pair.guide, bv.load_data(x, kind="real", test=0.2), checks=("elbo", "latent-sites"))


def modalities(pair: Modalities) -> bv.Diagnosis:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(COUNT, 2, generator=generator)
    x = z + NOISE * torch.randn(COUNT, 2, generator=generator)
    b = torch.bernoulli((STEEP * z.repeat(1, 6)).sigmoid(), generator=generator)
    data = bv.load_data((x, b), kind="real", test=0.2)
    return bv.diagnose(pair.model, pair.guide, data, checks=("elbo", "observed-sites", "training"))


def test_a_dead_top_layer_is_named() -> None:
    found = layers(Layers(used=0.0)).finding("layer-dead")
    assert found is not None
    assert found.severity == "warning"
    assert found.sureness == "clear"
    assert "Latent 'top' is dead: its KL is 0 nats" in found.summary


def test_a_layer_whose_kl_is_paid_for_nothing_is_named() -> None:
    found = layers(Layers(used=0.0, paid=True))
    ignored = found.finding("layer-ignored")
    assert ignored is not None
    assert "The KL of latent 'top' is" in ignored.summary
    assert found.finding("layer-dead") is None


def test_layers_that_are_used_are_not_named() -> None:
    """And the KL of each is the closed form: that of the top is half log(1 + a²) where q is the posterior."""
    found = layers(Layers(used=2.0))
    assert found.finding("layer-dead") is None
    assert found.finding("layer-ignored") is None
    top = found.measurements["kl_of_site_top"]
    assert abs(top.value - 0.5 * torch.tensor(5.0).log().item()) < 4 * top.error + 0.05


def test_a_modality_whose_loss_was_forgotten_is_named() -> None:
    found = modalities(Modalities(trained=False)).finding("forgotten-modality")
    assert found is not None
    assert found.severity == "fault"
    assert "The likelihood of site 'b' was not trained" in found.summary


def test_modalities_that_are_trained_are_not_named() -> None:
    found = modalities(Modalities(trained=True))
    assert found.finding("forgotten-modality") is None
    assert "forgotten-modality" not in {check.name for check in found.not_checked}
    assert found.measurements["use_of_latent_for_b"].value > 1.0


@pytest.mark.parametrize("name", ["layer-dead", "layer-ignored", "forgotten-modality"])
def test_one_site_of_each_kind_has_no_such_checks(name: str) -> None:
    pair = bv.pair_from_networks(
        nn.Linear(2, 2),
        nn.Linear(1, 2),
        latent_dim=1,
        data_shape=(2,),
        encoder_output="loc-and-log-scale",
        split=True,
        decoder_output="mean",
        likelihood={"name": "normal", "scale": 1.0},
    )
    data = bv.load_data(torch.randn(60, 2), kind="real", test=20)
    found = bv.diagnose(*pair, data, checks=("elbo", "latent-sites", "observed-sites"))
    assert name in {check.name for check in found.not_applicable}
