"""Pairs from elsewhere: bound methods, modules, functions with ``pyro.param`` sites; shared weights."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import safetensors.torch
import torch
from pyro.distributions import constraints
from torch import nn

from bayes_vae.errors import RunError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.runs import RunDirectory, load, read_config, save
from bayes_vae.runs.programs import ParameterizedProgram
from bayes_vae.runs.weights import pack_weights, unpack_weights


class PyroStyleVAE(nn.Module):
    """As in Pyro's own example: model and guide are methods of one module."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(9, 4), nn.Linear(2, 9)
        self.dropout = nn.Dropout()

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x.flatten(1))

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        loc, log_scale = self.encoder(x.flatten(1)).chunk(2, -1)
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


class OwnVAE(VAE):
    pass


@pytest.fixture
def build(isolated_globals):
    def make(kind, seed, *args, **kwargs):
        with isolated_globals(seed=seed):
            return kind(*args, **kwargs)

    return make


def prefixed(role, module):
    return {f"{role}.{key}": value for key, value in module.state_dict().items()}


STATES = {
    "under both, the same memory": lambda vae: prefixed("model", vae) | prefixed("guide", vae),
    "under both, copies": lambda vae: {
        key: value.clone() for key, value in (prefixed("model", vae) | prefixed("guide", vae)).items()
    },
    "under the model": lambda vae: prefixed("model", vae),
    "under the guide": lambda vae: prefixed("guide", vae),
}


@pytest.mark.parametrize("state", STATES)
def test_bound_methods_of_one_module(make_run, build, tmp_path, same, state):
    vae = build(PyroStyleVAE, 1)
    best = STATES[state](vae)
    run = make_run(model=vae.model, guide=vae.guide, best_state=best)
    save(run, tmp_path / "run")
    stored = safetensors.torch.load((tmp_path / "run" / "model.safetensors").read_bytes())
    assert {key.partition(".")[2] for key in stored} == vae.state_dict().keys()
    assert len(stored) == 4
    assert read_config(tmp_path / "run")["parameters"]["count"] == 9 * 4 + 4 + 2 * 9 + 9
    same(RunDirectory(tmp_path / "run").weights(), best)
    other = build(PyroStyleVAE, 2)
    model, guide = load(tmp_path / "run", model=other.model, guide=other.guide)
    assert (model, guide) == (other.model, other.guide)
    same(other.state_dict(), vae.state_dict())
    assert not other.training
    assert not other.dropout.training


def test_what_the_configuration_says_of_programs_from_elsewhere(make_run, build, tmp_path):
    vae = build(PyroStyleVAE, 1)
    save(
        make_run(model=vae.model, guide=functools.partial(vae.guide), best_state=prefixed("model", vae)),
        tmp_path / "run",
    )
    config = read_config(tmp_path / "run")
    assert config["model"] == {"class": None, "description": f"{__name__}.PyroStyleVAE.model"}
    assert config["guide"] == {"class": None, "description": "functools.partial"}


def test_a_pair_from_elsewhere_must_be_passed(make_run, build, tmp_path):
    vae = build(PyroStyleVAE, 1)
    save(make_run(model=vae.model, guide=vae.guide, best_state=prefixed("model", vae)), tmp_path / "run")
    message = r"the model of this run is .*PyroStyleVAE.model, not a class of bayes_vae.models.*load\(path, model="
    with pytest.raises(RunError, match=message):
        load(tmp_path / "run")
    with pytest.raises(RunError, match="the guide of this run is .*not a class of bayes_vae.guides"):
        load(tmp_path / "run", model=vae.model)


def test_a_subclass_is_not_ours(make_run, build, tmp_path, same):
    networks = {"latent_dim": 2, "data_shape": (3, 3), "hidden_dims": (5,)}
    own = build(OwnVAE, 1, **networks)
    save(make_run(model=own), tmp_path / "run")
    with pytest.raises(RunError, match="OwnVAE, not a class of bayes_vae.models"):
        load(tmp_path / "run")
    other = build(OwnVAE, 2, **networks)
    model, guide = load(tmp_path / "run", model=other)
    assert model is other
    same(other.state_dict(), own.state_dict())
    assert type(guide) is AmortizedNormalGuide


def test_a_pair_of_ours_can_be_passed_too(run, saved, build, same):
    other = build(VAE, 2, **run.model.settings)
    assert load(saved, model=other)[0] is other
    same(other.state_dict(), run.model.state_dict())


BAD_FITS = {
    "smaller": (lambda: nn.Linear(2, 9), r"the model lacks decoder.bias.*the run lacks bias"),
    "another dtype": (
        lambda: PyroStyleVAE().double(),
        r"decoder.bias is \(9,\) torch.float32 in the run and \(9,\) torch.float64 in the model.*same dtype",
    ),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_a_pair_that_does_not_fit_is_refused_and_left_alone(make_run, build, tmp_path, same, case):
    vae = build(PyroStyleVAE, 1)
    save(make_run(model=vae.model, guide=vae.guide, best_state=prefixed("model", vae)), tmp_path / "run")
    kind, message = BAD_FITS[case]
    other = build(kind, 2)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(RunError, match=message):
        load(tmp_path / "run", model=other.forward, guide=other.forward)
    same(other.state_dict(), before)
    assert other.training


def test_a_guide_that_does_not_fit_leaves_the_model_alone(saved, run, build, same):
    other = build(VAE, 2, **run.model.settings)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(RunError, match="do not fit the guide"):
        load(saved, model=other, guide=build(nn.Linear, 1, 2, 2))
    same(other.state_dict(), before)


def test_a_function_has_no_place_for_the_weights_of_a_module(saved):
    with pytest.raises(
        RunError, match="has weights of a module for the model, but the model that was passed is function"
    ):
        load(saved, model=lambda x: None)


def function_model(x):
    scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, scale))
        pyro.sample("x", dist.Normal(z, 1), obs=x)


def function_guide(x):
    loc, extra = pyro.param("loc", torch.tensor(0.0)), pyro.param("not trained", torch.tensor(7.0))
    with pyro.plate("data", len(x)):
        return pyro.sample("z", dist.Normal(loc.expand(len(x)), extra))


@pytest.fixture
def functions(make_run, tmp_path):
    """A run of a pair of functions; scale is stored as its logarithm."""
    state = {"param.scale": torch.tensor(0.5), "param.loc": torch.tensor(-3.0)}
    run = make_run(model=function_model, guide=function_guide, best_state=state, parameter_names=("scale", "loc"))
    save(run, tmp_path / "run")
    return tmp_path / "run"


def test_functions_get_the_values_of_their_param_sites(functions, isolated_globals):
    model, guide = load(functions, model=function_model, guide=function_guide)
    assert read_config(functions)["parameters"]["count"] == 2
    assert read_config(functions)["model"]["description"].endswith("function_model")
    with isolated_globals(seed=0):
        trace = pyro.poutine.trace(guide).get_trace(torch.zeros(2))
        model_trace = pyro.poutine.trace(model).get_trace(torch.zeros(2))
        assert list(pyro.get_param_store()) == ["not trained"]
    assert trace.nodes["z"]["fn"].loc.tolist() == [-3.0, -3.0]
    assert trace.nodes["not trained"]["value"] == 7
    assert model_trace.nodes["z"]["fn"].scale[0] == torch.tensor(0.5).exp()


def test_values_of_param_sites_can_train_on(functions, isolated_globals):
    model, _ = load(functions, model=function_model, guide=function_guide)
    with isolated_globals(seed=0):
        trace = pyro.poutine.trace(model).get_trace(torch.zeros(2))
    value = trace.nodes["scale"]["value"]
    value.backward()
    assert value.unconstrained().grad == torch.tensor(0.5).exp()


def test_parameters_that_functions_declare_by_module(make_run, build, tmp_path, isolated_globals):
    trained, network = build(nn.Linear, 1, 2, 2), build(nn.Linear, 2, 2, 2)

    def guide(x):
        pyro.module("network", network)
        return network(x)

    state = {f"param.network$$${key}": value.clone() for key, value in trained.state_dict().items()}
    save(make_run(model=function_model, guide=guide, best_state=state), tmp_path / "run")
    _, loaded = load(tmp_path / "run", model=function_model, guide=guide)
    x = torch.ones(1, 2)
    with isolated_globals(seed=0):
        assert torch.equal(loaded(x), trained(x))
        with torch.no_grad():
            network.bias.add_(1)
        assert torch.equal(loaded(x), trained(x) + 1)
        assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("needs", [True, False])
def test_a_program_says_whether_it_needs_the_index(needs):
    def program(x, index=None):
        return x, index

    program.needs_index = needs
    wrapped = ParameterizedProgram(program, {})
    assert wrapped.needs_index is needs
    assert wrapped(1, index=2) == (1, 2)
    assert not ParameterizedProgram(lambda: None, {}).needs_index


def test_views_and_tied_weights_are_stored_once_and_come_back(same):
    whole = torch.arange(9.0).reshape(3, 3)
    state = {
        "model.a": whole,
        "model.tied": whole,
        "model.view": whole.T,
        "model.row": whole[1],
        "guide.b": whole,
    }
    packed = pack_weights(state)
    assert sorted(safetensors.torch.load(packed)) == ["model.a", "model.row", "model.view"]
    same(unpack_weights(packed, "test"), state)


def test_what_only_looks_alike_is_not_shared(same):
    state = {
        "model.a": torch.zeros(2),
        "guide.a": torch.zeros(2, dtype=torch.float64),
        "guide.b": torch.zeros(2),
        "model.b": torch.ones(2),
        "model.empty": torch.zeros(0),
        "model.nothing": torch.zeros(0),
        "model.number": torch.tensor(3),
    }
    packed = pack_weights(state)
    assert sorted(safetensors.torch.load(packed)) == sorted(state)
    same(unpack_weights(packed, "test"), state)


def test_the_same_weights_give_the_same_bytes(run):
    assert pack_weights(run.best_state) == pack_weights(dict(run.best_state))
