"""A small run, made without training."""

import pytest
import torch

from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.runs import Run, save

NETWORKS = {"latent_dim": 2, "data_shape": (3, 3), "hidden_dims": (5,), "activation": "elu"}


def state_of(**modules):
    """Weights as a run has them, from modules by role."""
    return {
        f"{role}.{key}": value.detach().clone()
        for role, module in modules.items()
        for key, value in module.state_dict().items()
    }


@pytest.fixture
def make_run(isolated_globals):
    """``make_run(model=..., ...)``: a run with these fields; its last weights are the best plus one."""

    def make(**fields):
        with isolated_globals(seed=1):
            pair = {"model": VAE(**NETWORKS), "guide": AmortizedNormalGuide(**NETWORKS)}
        pair |= {role: fields.pop(role) for role in ("model", "guide") if role in fields}
        if "best_state" not in fields:
            fields["best_state"] = state_of(**pair)
        best = fields["best_state"]
        defaults = {
            "settings": {"training": {"epochs": 2, "seed": 0}},
            "data": {"name": "digits", "policy": "stochastic", "digest": "0" * 64, "data_shape": [3, 3]},
            "history": [{"epoch": 1, "elbo": -3.25}, {"epoch": 2, "elbo": -0.1, "extra": 1e-300}],
            "last_state": {key: value + 1 for key, value in best.items() if isinstance(value, torch.Tensor)},
            "best_epoch": 2,
            "parameter_names": tuple(best),
        }
        return Run(**pair, **(defaults | fields))

    return make


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def saved(run, tmp_path):
    """The folder of a saved run."""
    save(run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def same():
    """``same(one, other)``: two states have the same keys, and equal tensors of the same dtype."""

    def check(one, other):
        assert one.keys() == other.keys()
        for key in one:
            assert one[key].dtype == other[key].dtype
            assert torch.equal(one[key], other[key]), key

    return check
