"""Runs whose prior is learned, or made of the guide's own q: stored, loaded, resumed."""

import pyro
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import RunError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.pairs import build_program, describe_program
from bayes_vae.parts.registry import find, names
from bayes_vae.terms.rows import as_observations
from bayes_vae.training.parameters import gather, own_store

NETWORKS = {"latent_dim": 2, "data_shape": (4,), "hidden_dims": (5,)}


@pytest.fixture(scope="module")
def data():
    """Forty small images, binarized once."""
    generator = torch.Generator().manual_seed(0)
    return bv.load_data(torch.randint(0, 256, (40, 4), generator=generator, dtype=torch.uint8), policy="threshold")


@pytest.fixture
def build(isolated_globals):
    def make(prior, attached=True):
        with isolated_globals(seed=1):
            model, guide = VAE(**NETWORKS, prior=prior), AmortizedNormalGuide(**NETWORKS)
        if attached:
            model.attach_guide(guide)
        return model, guide

    return make


def fit(pair, data, **options):
    defaults = {} if "resume" in options else {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2}
    return bv.fit(*pair, data, progress="none", **{**defaults, **options})


@pytest.mark.parametrize("name", names("prior"))
def test_a_trained_prior_comes_back(build, data, tmp_path, name):
    pair = build(name)
    before = {key: value.clone() for key, value in pair[0].prior_family.state_dict().items()}
    fit(pair, data, out=tmp_path / "run")
    moved = [not torch.equal(value, before[key]) for key, value in pair[0].prior_family.state_dict().items()]
    assert all(moved)
    loaded = bv.load(tmp_path / "run")
    assert type(loaded[0].prior_family) is find("prior", name).cls
    assert loaded[0].attached_guide is (loaded[1] if name == "vamp" else None)
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    for one, other in zip(*(vars(bv.log_terms(*p, x, num_particles=3)).values() for p in (pair, loaded)), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else True


def test_every_parameter_of_a_pair_with_a_vamp_prior_is_trained_once(build, data):
    model, guide = build("vamp")
    x = torch.ones(3, 4)
    with own_store(model, guide):
        found = gather(model, guide, as_observations(x), torch.arange(3))
    assert len({id(value) for value in found.parameters.values()}) == len(found.parameters)
    assert len(found.parameters) == len(list(model.parameters())) + len(list(guide.parameters()))
    assert set(found.modules) == {"model", "guide"}


def test_the_prior_made_of_q_sends_gradients_into_the_encoder(build):
    model, guide = build("vamp")
    z = torch.ones(3, 2)
    model.prior().log_prob(z).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in guide.parameters())


@pytest.mark.parametrize("name", ["vamp", "flow"])
def test_a_resumed_training_is_the_whole(build, data, tmp_path, name):
    whole = fit(build(name), data, epochs=4, schedule="constant")
    fit(build(name), data, epochs=2, schedule="constant", out=tmp_path / "run")
    resumed = fit(build(name), data, resume=tmp_path / "run", epochs=4)
    assert all(torch.equal(value, whole.last_state[key]) for key, value in resumed.last_state.items())


def test_a_prior_of_another_guide_is_not_stored(build, data, tmp_path):
    (model, _), (_, other) = build("vamp"), build("standard-normal")
    message = "the model's prior is made of the q of another guide, AmortizedNormalGuide, than that of this run"
    with pytest.raises(RunError, match=message):
        fit((model, other), data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = fit((model, other), data, epochs=1)
    with pytest.raises(RunError, match=message):
        bv.save(run, tmp_path / "run")


def test_a_pair_that_is_passed_to_load_is_linked(build, data, tmp_path):
    trained = build("vamp")
    fit(trained, data, out=tmp_path / "run")
    loaded = bv.load(tmp_path / "run", guide=build("vamp")[1])
    assert loaded[0].attached_guide is loaded[1]


def test_a_prior_is_not_the_model_of_a_run(build):
    description = describe_program("model", build("flow")[0].prior_family)
    assert description["class"] is None
    with pytest.raises(RunError, match="which bayes_vae.models lacks in this release"):
        build_program("model", {"class": "FlowPrior", "settings": {"latent_dim": 2}})


@pytest.mark.parametrize("name", ["vamp", "flow"])
def test_pyros_own_loop_trains_it_and_the_store_stays_out_of_the_estimators(build, clean_globals, name):
    model, guide = build(name)
    x = (torch.arange(12.0).reshape(3, 4) % 2).float()
    bv.elbo_terms(model, guide, x, num_particles=3)
    assert not list(pyro.get_param_store())
    before = [parameter.detach().clone() for parameter in model.prior_family.parameters()]
    model.register()
    guide.register()
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), loss=pyro.infer.Trace_ELBO())
    svi.step(x)
    moved = [not torch.equal(one, other) for one, other in zip(before, model.prior_family.parameters(), strict=True)]
    assert all(moved)
