"""Pairs (z, x) drawn from models and from any Pyro program."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.simulation import simulate, simulate_like


def test_moments_are_the_models(linear_gaussian, within):
    """x has the model's covariance, and its covariance with z is the weight: pairs stay pairs."""
    model, _ = linear_gaussian
    latents, (x,) = simulate(model, 4000, 0, "this", "")
    z, weight = latents["z"], model.weight.detach()
    products = z.unsqueeze(1) * x.unsqueeze(2)
    within(products.mean(0), weight, products.std(0) / 4000**0.5)


def program(x, y):
    """Two layers, a covariate y, and a plate over pixels to the left of the data."""
    with pyro.plate("data", len(x), dim=-1):
        top = pyro.sample("top", dist.Gamma(torch.tensor(2.0), 1.0))
        z = pyro.sample("z", dist.Normal(top.unsqueeze(-1).expand(-1, 2), 0.5).to_event(1))
        pyro.sample("x", dist.Normal(y.unsqueeze(-1) + z @ torch.tensor([[1.0, 2.0, 0.0]] * 2), 0.1).to_event(1), obs=x)


def test_programs_are_simulated_with_their_covariates(within):
    y = torch.linspace(-50, 50, 3000)
    latents, (x, kept) = simulate_like(program, (torch.zeros(3000, 3), y), 1)
    assert kept is y
    assert {name: tuple(value.shape) for name, value in latents.items()} == {"top": (3000,), "z": (3000, 2)}
    total = latents["z"].sum(1)
    residual = x - y.unsqueeze(1) - total.unsqueeze(1) * torch.tensor([1.0, 2.0, 0.0])
    within(residual.mean(0), 0.0, 0.1 / 3000**0.5)
    within(residual.square().mean(0), 0.01, 0.01 * (2 / 3000) ** 0.5)
    within(latents["top"].mean(), 2.0, (2 / 3000) ** 0.5)
    again, _ = simulate_like(program, (torch.zeros(3000, 3), y), 1)
    assert torch.equal(again["z"], latents["z"])


def test_a_reshaped_observation_is_found():
    def pictures(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.expand(-1, 4), 1.0).to_event(1), obs=x.reshape(-1, 4))

    latents, (x,) = simulate_like(pictures, torch.zeros(7, 2, 2), 0)
    assert x.shape == (7, 2, 2)
    assert latents["z"].shape == (7, 1)
    assert (x != 0).all()


def transformed(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x.exp())


def with_factor(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        pyro.factor("extra", -z.square())


def autoregressive(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1) + x.roll(1, -1), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("program", "x", "message"),
    [
        (transformed, torch.ones(5), "observed site 'x' cannot be simulated: its value is not one of the program's"),
        (with_factor, torch.ones(5), "observed site 'extra' cannot be simulated"),
        (autoregressive, torch.ones(5, 3), "its distribution depends on the observed value itself"),
    ],
)
def test_what_cannot_be_simulated_is_refused(program, x, message):
    with pytest.raises(NotDefinedError, match=message):
        simulate_like(program, x, 0)


def test_a_covariate_equal_to_the_observations_is_refused():
    with pytest.raises(NotDefinedError, match="two arguments that are equal"):
        simulate_like(lambda x, y: transformed(x.log()), (torch.ones(5), torch.ones(5)), 0)
