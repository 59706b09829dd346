"""Batch norm and other layers whose mode matters: every module that a program reaches is evaluated as it is kept."""

import contextlib
import functools

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, ProgramError, SettingsError
from bayes_vae.terms.reached import reached_modules

N, PIXELS, D = 12, 6, 2
LOOSE = nn.Linear(1, 1)
"""A module that functions below refer to by its global name."""


def encoder_network():
    network = nn.Sequential(nn.Linear(PIXELS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2 * D))
    with torch.no_grad():
        network[1].running_mean.normal_()
        network[1].running_var.uniform_(0.5, 2)
    return network.train()


def decoder_network():
    return nn.Sequential(nn.Linear(D, PIXELS), nn.BatchNorm1d(PIXELS), nn.Dropout(0.5)).train()


def programs(encoder, decoder):
    """A pair of functions that reach their networks through closures."""

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            loc = decoder(z.reshape(-1, D)).reshape(*z.shape[:-1], PIXELS)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x):
        def code(rows):  # a function within: it holds the network, not the guide
            loc, log_scale = encoder(rows.reshape(-1, PIXELS)).chunk(2, -1)
            return loc, log_scale.exp()

        with pyro.plate("n", len(x)):
            pyro.sample("z", dist.Normal(*code(x)).to_event(1))

    return model, guide


def from_networks(encoder, decoder):
    return bv.pair_from_networks(
        encoder,
        decoder,
        latent_dim=D,
        data_shape=(PIXELS,),
        encoder_output="loc-and-log-scale",
        split=True,
        decoder_output="mean",
        likelihood={"name": "normal", "scale": 1.0},
    )


@pytest.fixture(params=[programs, from_networks])
def networks_and_pair(request, isolated_globals):
    with isolated_globals(seed=0):
        networks = nn.ModuleList([encoder_network(), decoder_network()])
        return networks, request.param(*networks), torch.randn(N, PIXELS)


FEW = {"num_temperatures": 2}
ESTIMATORS = {
    "log_terms": lambda m, g, x: bv.log_terms(m, g, x, 3),
    "elbo_terms": lambda m, g, x: bv.elbo_terms(m, g, x, 3),
    "estimate_log_evidence": lambda m, g, x: bv.estimate_log_evidence(m, g, x, 10),
    "refined": lambda m, g, x: bv.estimate_log_evidence(m, g, x, 10, proposal="student_t"),
    "annealed_log_evidence": lambda m, g, x: bv.annealed_log_evidence(m, g, x, **FEW),
    "quadrature_log_evidence": lambda m, g, x: bv.quadrature_log_evidence(m, g, x[:2]),
    "bayes_rule_on_grid": lambda m, g, x: bv.bayes_rule_on_grid(m, g, x[:2], num_points=21, width=4.0),
    "inference_gap": lambda m, g, x: bv.inference_gap(m, g, x[:3], 4, max_steps=4, **FEW),
    "aggregate_posterior_terms": lambda m, g, x: bv.aggregate_posterior_terms(m, g, x),
    "bidirectional_bounds": lambda m, g, x: bv.bidirectional_bounds(m, g, num_observations=3, **FEW),
    "evaluate": lambda m, g, x: bv.evaluate(m, g, x, 5, **FEW),
    "compare": lambda m, g, x: bv.compare(m, g, x, (1, 5), **FEW),
    "posterior_draws": lambda m, g, x: bv.posterior_draws(m, g, x[:2], num_draws=4, num_warmup=2, num_chains=2),
    "calibrate_guide": lambda m, g, x: bv.calibrate_guide(m, g, num_draws=99, like=x.repeat(10, 1)),
    "nuts_draws": lambda m, g, x: bv.nuts_draws(m, x[:1], num_draws=4, num_warmup=2, num_chains=2),
    "objective": lambda m, g, x: bv.Elbo()(m, g).eval()(x),
    "sample": lambda m, g, x: m.sample(3, seed=0),
    "reconstruct": lambda m, g, x: m.reconstruct(x, g, seed=0),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_estimator_changes_a_buffer_or_a_mode(networks_and_pair, name, isolated_globals):
    networks, pair, x = networks_and_pair
    if name in ("sample", "reconstruct") and not hasattr(pair[0], "sample"):
        pytest.skip("functions have no methods")
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    modes = [module.training for module in networks.modules()]
    evaluated = [] if name != "objective" else [networks.eval()]
    with isolated_globals(seed=0), contextlib.suppress(NotDefinedError):  # of functions, which expose nothing
        ESTIMATORS[name](*pair, x)
    after = networks.state_dict()
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    assert evaluated or [module.training for module in networks.modules()] == modes


def test_a_row_has_the_same_terms_alone_and_in_every_batch(networks_and_pair):
    networks, pair, x = networks_and_pair
    whole = bv.elbo_terms(*pair, x, 20).elbo
    alone = bv.elbo_terms(*pair, x[4:5], 20, index=torch.tensor([4])).elbo
    torch.testing.assert_close(whole[4:5], alone, rtol=1e-5, atol=1e-5)
    frozen = networks.eval()
    torch.testing.assert_close(bv.elbo_terms(*programs(*frozen), x, 20).elbo, whole, rtol=1e-5, atol=1e-5)


def test_the_terms_are_those_of_the_statistics_that_were_kept(networks_and_pair):
    networks, pair, x = networks_and_pair
    kl = bv.elbo_terms(*pair, x, 2).kl_to_prior
    loc, log_scale = networks[0].eval()(x).detach().double().chunk(2, -1)
    truth = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
    torch.testing.assert_close(kl, truth, rtol=1e-4, atol=1e-4)


# What a program reaches


class Holder:
    """No torch module itself."""

    def __init__(self, held):
        self.held = held

    def program(self, x):
        return self.held(x)


class Unregistered(nn.Module):
    """A module in a plain list is no submodule."""

    def __init__(self, held):
        super().__init__()
        self.held = [held]

    def forward(self, x):
        return self.held[0](x)


def by_global_name(x):
    return LOOSE(x)


def by_another_function(x):
    return by_global_name(x)


WAYS = {
    "the module itself": lambda m: m,
    "a bound method": lambda m: m.forward,
    "a closure": lambda m: lambda x: m(x),
    "a closure of a closure": lambda m: (lambda inner: lambda x: inner(x))(lambda x: m(x)),
    "a default": lambda m: lambda x, m=m: m(x),
    "an attribute": lambda m: Holder(m).program,
    "a list in a module": lambda m: Unregistered(m),
    "a container": lambda m: Holder({"networks": (m,)}).program,
    "a partial": lambda m: functools.partial(lambda network, x: network(x), m),
    "a keyword of a partial": lambda m: functools.partial(lambda x, network: network(x), network=m),
    "a handler": lambda m: poutine.mask(lambda x: m(x), mask=True),
    "torch's decorator": lambda m: torch.no_grad()(lambda x: m(x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_modules_are_found_however_a_program_reaches_them(way, clean_globals):
    module = nn.Sequential(nn.Linear(1, 1))
    found = reached_modules(WAYS[way](module))
    assert {id(part) for part in module.modules()} <= {id(part) for part in found}
    assert len(found) == len({id(part) for part in found})


def test_modules_that_code_names_are_found():
    assert LOOSE in reached_modules(by_another_function)
    assert LOOSE not in reached_modules(lambda x: x)


def test_a_buffer_that_changes_in_evaluation_mode_comes_back_too(isolated_globals):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(PIXELS, 2 * D)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("rebound", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.rebound = self.rebound + 1
            return self.linear(x)

    with isolated_globals(seed=0):
        encoder, decoder, x = Counting(), nn.Linear(D, PIXELS), torch.randn(4, PIXELS)
    bv.elbo_terms(*programs(encoder, decoder), x, 3)
    assert (float(encoder.calls), float(encoder.rebound)) == (0, 0)


# What still ties rows


def centred(network, **_):
    return lambda rows: network(rows - rows.mean(-2, keepdim=True))


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["batch norm without statistics", "centred on the batch"])
def test_what_ties_rows_in_evaluation_mode_is_refused_by_what_it_does(role, kind, isolated_globals):
    with isolated_globals(seed=0):
        encoder, decoder, x = nn.Linear(PIXELS, 2 * D), nn.Linear(D, PIXELS), torch.randn(N, PIXELS)
        norm = nn.BatchNorm1d(PIXELS if role == "encoder" else D, track_running_stats=False)
    tied = {"encoder": encoder, "decoder": decoder}
    if kind == "centred on the batch":
        tied[role] = centred(tied[role])
        pair = programs_of_calls(**tied)
    else:
        tied[role] = nn.Sequential(norm, tied[role])
        pair = programs(**tied)
    with pytest.raises(ProgramError, match=r"rows look at each other: .*of one observation change when the other"):
        bv.elbo_terms(*pair, x, 3)


def programs_of_calls(encoder, decoder):
    def model(x):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("n", len(x)):
            loc, log_scale = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    return model, guide


# Training


@pytest.fixture
def data(isolated_globals):
    with isolated_globals(seed=0):
        return bv.load_data(torch.randn(300, PIXELS), kind="real")


def test_training_with_batch_norm_is_refused_with_advice(networks_and_pair, data):
    networks, pair, _ = networks_and_pair
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    modes = [module.training for module in networks.modules()]
    with pytest.raises(SettingsError, match=r"the networks have BatchNorm1d.*layer norm or group norm.*frozen"):
        bv.fit(*pair, data, epochs=1, progress="none")
    assert all(torch.equal(before[key], value) for key, value in networks.state_dict().items())
    assert [module.training for module in networks.modules()] == modes


class Frozen(nn.BatchNorm1d):
    """Batch norm that stays in evaluation mode."""

    def train(self, mode=True):
        return super().train(False)


def test_frozen_batch_norm_trains_and_keeps_its_statistics(data, isolated_globals):
    with isolated_globals(seed=0):
        encoder = nn.Sequential(nn.Linear(PIXELS, 8), Frozen(8).eval(), nn.Linear(8, 2 * D))
        pair = from_networks(encoder, nn.Linear(D, PIXELS))
    run = bv.fit(*pair, data, epochs=2, progress="none")
    assert torch.equal(encoder[1].running_mean, torch.zeros(8))
    assert run.history[-1]["train_elbo"] > run.history[0]["train_elbo"]


def test_making_a_pair_changes_neither_modes_nor_statistics(isolated_globals):
    with isolated_globals(seed=0):
        networks = nn.ModuleList([encoder_network(), decoder_network()])
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    from_networks(*networks)
    assert all(torch.equal(before[key], value) for key, value in networks.state_dict().items())
    assert all(module.training for module in networks.modules())
