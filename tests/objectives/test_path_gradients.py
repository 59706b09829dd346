"""Gradients through the draws alone: two latents that depend on each other, flows, shared parameters, refusals."""

import math

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn

from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import ProgramError
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.objectives import (
    DoublyReparameterizedObjective,
    ImportanceWeightedObjective,
    StickingTheLandingObjective,
)
from bayes_vae.terms.rows import TensorRows
from bayes_vae.terms.stream import read_pair

K, NOISE, DRAWS = 5, 0.6, 100
PATHS = [DoublyReparameterizedObjective, StickingTheLandingObjective]
GUIDE_NAMES, MODEL_NAMES = ("a", "c", "d", "r", "s"), ("t", "u")


def two_sites(values):
    """p(z2) p(z1 | z2) p(x | z1) and q(z2 | x) q(z1 | z2, x), with parameters in a dict."""

    def model(x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros_like(x), 1.0))
            z1 = pyro.sample("z1", dist.Normal(values["t"] * z2, 1.0))
            pyro.sample("x", dist.Normal(z1 + values["u"], NOISE), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(values["a"] * x, values["r"].exp()))
            pyro.sample("z1", dist.Normal(values["c"] * z2 + values["d"] * x, values["s"].exp()))

    return model, guide


def by_hand(values, x, z2, z1, weight):
    """log w, its derivatives in the latents, those of the latents in each guide parameter, and of log p in the model's.

    Everything is written out: no gradient of torch's is used. The weight is on log p(z) − log q.
    """
    a, c, d, r, s, t, u = (values[name].detach() for name in (*GUIDE_NAMES, *MODEL_NAMES))
    e2, e1 = (z2 - a * x) / r.exp(), (z1 - c * z2 - d * x) / s.exp()
    inner, outer = z1 - t * z2, (x - z1 - u) / NOISE
    log_ratio = -0.5 * (z2**2 + inner**2 - e2**2 - e1**2) + r + s
    log_w = weight * log_ratio - 0.5 * outer**2 - 0.5 * math.log(2 * math.pi) - math.log(NOISE)
    in_z2 = weight * (-z2 + t * inner + e2 / r.exp() - c * e1 / s.exp())
    in_z1 = weight * (-inner + e1 / s.exp()) + outer / NOISE
    z2_in = {"a": x, "c": 0 * x, "d": 0 * x, "r": e2 * r.exp(), "s": 0 * x}
    z1_in = {"a": c * x, "c": z2, "d": x, "r": c * e2 * r.exp(), "s": e1 * s.exp()}
    path = {name: in_z2 * z2_in[name] + in_z1 * z1_in[name] for name in GUIDE_NAMES}
    return log_w, path, {"t": weight * inner * z2, "u": outer / NOISE}


def parameters(shared):
    numbers = {"a": 0.4, "c": 0.3, "d": 0.5, "r": -0.2, "s": 0.1, "t": 0.7, "u": -0.3}
    values = {name: torch.tensor(number, dtype=torch.float64, requires_grad=True) for name, number in numbers.items()}
    return {**values, "t": values["c"]} if shared else values


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("objective", "weight"),
    [(DoublyReparameterizedObjective, 1.0), (StickingTheLandingObjective, 1.0), (StickingTheLandingObjective, 0.3)],
)
def test_two_latents_have_the_gradient_that_is_derived_by_hand(objective, weight, shared, clean_globals):
    """A factor put on the gradient at each latent would act twice on what comes through the first one."""
    values = parameters(shared)
    programs = two_sites(values)
    x = torch.tensor([0.9, -1.4, 0.3], dtype=torch.float64)
    bound = read_pair(*programs, TensorRows((x,), torch.arange(3))).bind((x,), torch.arange(3))
    torch.manual_seed(1)
    draw = bound.draw(range(K), None)
    log_w, path, direct = by_hand(values, x, draw.latents["z2"].detach(), draw.latents["z1"].detach(), weight)
    weights = log_w.softmax(0) if objective is DoublyReparameterizedObjective else torch.full_like(log_w, 1 / K)
    on_path = weights.square() if objective is DoublyReparameterizedObjective else weights
    expected = {name: -(on_path * path[name]).sum() for name in GUIDE_NAMES}
    for name in MODEL_NAMES:
        name_of_both = "c" if shared and name == "t" else name
        expected[name_of_both] = expected.get(name_of_both, 0) - (weights * direct[name]).sum()
    loss = objective(K, **({} if weight == 1 else {"kl_weight": weight}))
    loss.loss(*programs, x)  # reads the pair
    torch.manual_seed(1)
    value = loss.differentiable_loss(*programs, x)
    found = torch.autograd.grad(value, [values[name] for name in expected])
    torch.testing.assert_close(torch.stack(found), torch.stack(list(expected.values())), rtol=1e-10, atol=1e-12)
    bound = log_w.logsumexp(0) - math.log(K) if objective is DoublyReparameterizedObjective else log_w.mean(0)
    torch.testing.assert_close(value, -bound.sum())


# Flows


class FlowGuide(SingleLatentGuide):
    """A normal from an encoder, sent through a transform whose last call is cached."""

    def __init__(self, transform):
        super().__init__()
        self.encoder, self.transform = nn.Linear(3, 4).double(), transform.double()

    def variational_posterior(self, x):
        loc, log_scale = self.encoder(x).chunk(2, -1)
        return dist.TransformedDistribution(diagonal_normal(loc, log_scale.exp()), [self.transform])


@pytest.fixture
def flow_pair(clean_globals):
    """``flow_pair(transform)``: a linear model with two latents, a flow guide, and four observations."""

    def build(transform):
        model = LinearGaussianVAE(2, (3,)).double()
        return model, FlowGuide(transform), torch.randn(4, 3, dtype=torch.float64)

    return build


FLOWS = {
    "affine coupling": lambda: transforms.affine_coupling(2, hidden_dims=[5]),
    "spline": lambda: transforms.spline(2, count_bins=4),
    "spline coupling": lambda: transforms.spline_coupling(2, hidden_dims=[5], count_bins=4),
}


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("objective", PATHS)
def test_a_flow_is_inverted_at_the_given_latents(objective, flow, traced, flow_pair):
    """The gradient is that of log w at a leaf, sent back through the draws with the square of the weights."""
    model, guide, x = flow_pair(FLOWS[flow]())
    for parameter in guide.transform.parameters():
        nn.init.normal_(parameter, std=0.5)
    programs = (model.forward, guide.forward) if traced else (model, guide)
    loss, index = objective(K), torch.arange(4)
    loss.loss(*programs, x)
    torch.manual_seed(2)
    (z,) = read_pair(model, guide, TensorRows((x,), index)).bind((x,), index).draw(range(K), None).latents.values()
    leaf = z.detach().requires_grad_()
    q = guide.variational_posterior(x)
    log_w = model.prior().log_prob(leaf) + model.likelihood(leaf).log_prob(x) - q.log_prob(leaf)
    weights = log_w.detach().softmax(0).square() if objective is DoublyReparameterizedObjective else 1 / K
    (at_leaf,) = torch.autograd.grad(log_w.sum(), leaf)
    owned = list(guide.parameters())
    expected = torch.autograd.grad(-(z * at_leaf * torch.as_tensor(weights).unsqueeze(-1)).sum(), owned)
    torch.manual_seed(2)
    value = loss.differentiable_loss(*programs, x)
    for found, wanted in zip(torch.autograd.grad(value, owned), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)
        assert wanted.abs().max() > 1e-4


@pytest.mark.parametrize("objective", PATHS)
def test_a_flow_without_an_inverse_is_refused(objective, flow_pair):
    model, guide, x = flow_pair(transforms.planar(2))
    with pytest.raises(
        ProgramError, match=r"a flow of the guide has no inverse .*Use Elbo or ImportanceWeightedObjective"
    ):
        objective(K).loss(model, guide, x)
    assert math.isfinite(ImportanceWeightedObjective(K).loss(model, guide, x))


# Guides made by Pyro, whose sites are functions of an auxiliary draw


def simple_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.LogNormal(torch.zeros_like(x), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("objective", PATHS)
def test_the_gradient_of_pyros_own_guide_is_unbiased(objective, clean_globals, within):
    """AutoNormal draws an unconstrained auxiliary site; its parameters are moved by the mean of many gradients."""
    x = torch.tensor([0.7, 1.9, 2.4])
    guide = AutoNormal(simple_model)
    guide(x)
    owned = list(guide.parameters())
    pairs = [(objective(2), []), (ImportanceWeightedObjective(2 if objective is PATHS[0] else 1), [])]
    for loss, gradients in pairs:
        for _ in range(DRAWS):
            found = torch.autograd.grad(loss(simple_model, guide)(x), owned)
            gradients.append(torch.cat([gradient.flatten() for gradient in found]).double())
    (one, other) = (torch.stack(gradients) for _, gradients in pairs)
    within(one.mean(0), other.mean(0), ((one.var(0) + other.var(0)) / DRAWS).sqrt())


def moving(loc, scale):
    """A guide whose draw is a point that its own parameters move, given the auxiliary draw."""

    def guide(x):
        with pyro.plate("data", len(x)):
            noise = pyro.sample("e", dist.Normal(torch.zeros_like(x), 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta((loc + scale * noise).exp(), log_density=-scale.log().expand(len(x))))

    return guide


@pytest.mark.parametrize("objective", PATHS)
def test_a_latent_that_its_parameters_move_is_refused(objective, clean_globals):
    loc, scale = torch.tensor(0.1, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    message = r"latent 'z' is a point mass \(Delta\) that moves with the parameters of the guide.*Use Elbo"
    with pytest.raises(ProgramError, match=message):
        objective(2).differentiable_loss(simple_model, moving(loc, scale), torch.ones(3))


@pytest.mark.parametrize("objective", PATHS)
def test_dropout_is_refused_while_it_is_on(objective, make_ours, x):
    model, guide = make_ours()
    model.decoder.append(nn.Dropout(0.5))
    message = r"log_likelihood of the same latents differs by .* as dropout does.*\.eval\(\).*ImportanceWeighted"
    with pytest.raises(ProgramError, match=message):
        objective(3).loss(model, guide, x)
    model.eval()
    assert math.isfinite(objective(3).loss(model, guide, x))
