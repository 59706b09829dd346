"""Gradients of every objective against those that are known, on a model of one dimension."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from bayes_vae.distributions import diagonal_normal
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.objectives import (
    DoublyReparameterizedObjective,
    Elbo,
    ImportanceWeightedObjective,
    StickingTheLandingObjective,
)

BATCHES, ROWS = 100, 400
X = torch.tensor([[1.3]], dtype=torch.float64)

READINGS = {
    "distributions": lambda model, guide: (model, guide),
    "traces": lambda model, guide: (model.forward, guide.forward),
}


class LinearGuide(SingleLatentGuide):
    """q(z | x) = N(a x + c, s²)."""

    def __init__(self, slope, intercept, scale):
        super().__init__()
        numbers = (slope, intercept, math.log(scale))
        self.slope, self.intercept, self.log_scale = (
            torch.nn.Parameter(torch.tensor(number, dtype=torch.float64)) for number in numbers
        )

    def variational_posterior(self, x):
        return diagonal_normal(self.slope * x + self.intercept, self.log_scale.exp().expand(x.shape))


@pytest.fixture
def pair(clean_globals):
    """p(x, z) with a known posterior, and a guide whose mean and scale are off."""
    model = LinearGaussianVAE(1, (1,), noise_scale=0.8).double()
    with torch.no_grad():
        model.weight.fill_(0.9)
        model.bias.fill_(0.2)
    return model, LinearGuide(0.2, -0.1, 1.3)


def parameters_of(pair):
    return [parameter for program in pair for parameter in program.parameters()]


def flat_gradient(value, parameters):
    gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def sampled_gradient(objective, programs, parameters):
    """Mean gradient of the loss of one observation over many draws, and its standard error."""
    x = X.expand(ROWS, 1)
    gradients = [flat_gradient(objective.differentiable_loss(*programs, x) / ROWS, parameters) for _ in range(BATCHES)]
    stacked = torch.stack(gradients)
    return stacked.mean(0), stacked.std(0) / BATCHES**0.5


def gradient_of_elbo(pair, weight):
    """Of minus the weighted ELBO in closed form."""
    model, guide = pair
    q = guide.variational_posterior(X)
    kl = torch.distributions.kl_divergence(q.base_dist, Normal(0.0, 1.0)).sum()
    return flat_gradient((weight - 1) * kl - model.elbo(X, q).sum(), parameters_of(pair))


def gradient_of_bound(pair, count, nodes=32):
    """Of minus E[L_K], by Gauss–Hermite quadrature over the noise of all K draws, the densities written out."""
    model, guide = pair
    points, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(nodes))
    weights = weights / weights.sum()
    q = guide.variational_posterior(X).base_dist
    loc, scale = q.loc.squeeze(), q.scale.squeeze()
    z = loc + scale * points
    sigma = model.log_scale.exp()
    log_p = -0.5 * z**2 - 0.5 * ((X - model.weight * z - model.bias) / sigma) ** 2 - model.log_scale
    log_q = -0.5 * points**2 - scale.log()
    log_w = (log_p - log_q - 0.5 * math.log(2 * math.pi)).flatten()
    expected = torch.zeros((), dtype=torch.float64)
    for chosen in itertools.product(range(nodes), repeat=count - 1):
        fixed = list(chosen)
        rows = torch.cat([log_w[fixed].unsqueeze(-1).expand(-1, nodes), log_w.unsqueeze(0)])
        expected = expected + weights[fixed].prod() * (weights * (rows.exp().mean(0)).log()).sum()
    return flat_gradient(-expected, parameters_of(pair))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(
    ("objective", "weight"),
    [
        (Elbo(kl="analytic"), 1.0),
        (Elbo(2, kl="sampled"), 1.0),
        (Elbo(kl="sampled", kl_weight=0.3), 0.3),
        (StickingTheLandingObjective(), 1.0),
        (StickingTheLandingObjective(3, kl_weight=0.3), 0.3),
        (ImportanceWeightedObjective(1), 1.0),
        (DoublyReparameterizedObjective(1), 1.0),
    ],
    ids=lambda value: value if isinstance(value, float) else type(value).__name__,
)
def test_gradients_of_the_elbo_are_unbiased(objective, weight, reading, pair, within):
    """Analytic and sampled KL agree in expectation; leaving out the score of q changes nothing but the noise."""
    mean, error = sampled_gradient(objective, READINGS[reading](*pair), parameters_of(pair))
    within(mean, gradient_of_elbo(pair, weight), error)
    assert (error < 0.03).all()


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("objective", [ImportanceWeightedObjective, DoublyReparameterizedObjective])
def test_gradients_of_the_bound_are_unbiased(objective, reading, pair, within):
    """Both gradients have the expectation of the gradient of E[L_K], for the guide and for the model."""
    mean, error = sampled_gradient(objective(3), READINGS[reading](*pair), parameters_of(pair))
    truth = gradient_of_bound(pair, 3)
    within(mean, truth, error)
    assert not torch.allclose(truth, gradient_of_elbo(pair, 1.0), atol=0.05)


def test_quadrature_of_one_draw_is_the_closed_form(pair):
    torch.testing.assert_close(gradient_of_bound(pair, 1), gradient_of_elbo(pair, 1.0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "objective",
    [Elbo(3, kl="sampled", kl_weight=0.7), Elbo(3, kl_weight=0.7, free_bits=0.1), ImportanceWeightedObjective(3)],
    ids=lambda objective: type(objective).__name__,
)
def test_gradients_are_those_of_finite_differences(objective, make_ours, x, parameters_of):
    """With the same noise, where the gradient is that of the loss itself."""
    pair, step = make_ours(), 1e-5

    def loss():
        torch.manual_seed(4)
        return objective.differentiable_loss(*pair, x)

    loss().backward()
    for parameter in parameters_of(*pair):
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for place in range(0, len(flat), max(1, len(flat) // 5)):
            kept, values = float(flat[place]), []
            for moved in (kept + step, kept - step):
                flat[place] = moved
                values.append(loss().item())
            flat[place] = kept
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(gradient[place].item(), rel=1e-5, abs=1e-6)


@pytest.fixture
def exact(pair):
    """The model, and a guide with parameters of its own that is the exact posterior."""
    model, _ = pair
    posterior = model.exact_posterior(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    low, high = posterior.loc.flatten().tolist()
    return model, LinearGuide(high - low, low, posterior.scale_tril[0, 0, 0].item())


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(
    ("objective", "vanishes"),
    [
        (StickingTheLandingObjective(4), True),
        (DoublyReparameterizedObjective(4), True),
        (StickingTheLandingObjective(4, kl_weight=0.9), False),
        (Elbo(4, kl="sampled"), False),
        (Elbo(4, kl="analytic"), False),
        (ImportanceWeightedObjective(4), False),
    ],
)
def test_the_gradient_of_an_exact_guide(objective, vanishes, reading, exact):
    """Path gradients are zero for each draw, not only on average; the others are noise around zero."""
    model, guide = exact
    programs = READINGS[reading](model, guide)
    for value in torch.linspace(-2, 2, 5, dtype=torch.float64):
        loss = objective.differentiable_loss(*programs, value.reshape(1, 1))
        of_guide = torch.autograd.grad(loss, list(guide.parameters()), retain_graph=True)
        of_model = torch.autograd.grad(loss, list(model.parameters()))
        largest = max(float(gradient.abs().max()) for gradient in of_guide)
        assert largest < 1e-12 if vanishes else largest > 1e-3
        assert max(float(gradient.abs().max()) for gradient in of_model) > 1e-3
