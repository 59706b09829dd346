"""Every argument of every public function with values that nobody can mean: one documented error, at once."""

import inspect
import re

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE, LinearGaussianVAE

NO_NUMBER = ["5", "x", "", "\x1b[2J", b"x", float("nan"), np.float32("nan"), object(), {}, 1j]
NO_COUNT = [*NO_NUMBER, 1.5, -1, True, 2**70, float("inf"), [5], torch.tensor(1.5)]
NO_LIST = [-1, float("nan"), 1e300, object(), 2**70, True, 1j, torch.tensor(1.5), "x", b"x", {}]
NO_SWITCH = [*NO_NUMBER, 1, 0, [True], None]
NO_TEXT = [5, float("nan"), b"x", object(), {}, [5], 1j]
NO_CHOICE = [*NO_NUMBER, 5, [5]]
NO_INDEX = [*NO_NUMBER, 5, [5], 2**70]
NO_TENSOR = [*NO_NUMBER, 5, [5], True, 2**70]
NO_SHARE = ["x", "", b"x", float("nan"), np.float32("nan"), float("inf"), -1, 1.5, object(), {}, 1j, 2**70]
NO_SEED = [*NO_NUMBER, 1.5, True, 2**70, [5]]

SHARED = {
    "seed": NO_SEED,
    "index": NO_INDEX,
    "source": NO_CHOICE,
    "batch_size": NO_COUNT,
    "chunk_size": NO_COUNT,
    "data_policy": NO_TEXT,
}
ANNEALED = {"num_temperatures": NO_COUNT, "num_chains": NO_COUNT, "num_leapfrog": NO_COUNT, "refine": NO_SWITCH}
CHAINS = {"num_draws": NO_COUNT, "num_chains": NO_COUNT, "num_warmup": NO_COUNT}

TABLE = {
    "log_terms": {**SHARED, "num_particles": NO_COUNT, "keep_latents": NO_SWITCH},
    "elbo_terms": {**SHARED, "num_particles": NO_COUNT, "kl": NO_CHOICE},
    "estimate_log_evidence": {
        **SHARED,
        "num_particles": NO_COUNT,
        "tolerance": [*NO_NUMBER, 0, -1, float("inf"), True],
        "proposal": NO_CHOICE,
    },
    "annealed_log_evidence": {
        **SHARED,
        **ANNEALED,
        "start": NO_CHOICE,
        "schedule": NO_CHOICE,
        "tolerance": [*NO_NUMBER, 0, -1, True],
    },
    "aggregate_posterior_terms": {**SHARED, "num_particles": NO_COUNT},
    "bayes_rule_on_grid": {**SHARED, "num_points": NO_COUNT, "width": [*NO_NUMBER, 0, -1, True, 2**70]},
    "bidirectional_bounds": {**ANNEALED, "num_observations": NO_COUNT, "schedule": NO_CHOICE, "seed": NO_SEED},
    "calibrate_guide": {
        "num_observations": NO_COUNT,
        "num_draws": NO_COUNT,
        "levels": [*NO_LIST, ["x"], [0], [1], [float("nan")]],
        "false_alarm": [*NO_NUMBER, 0, 1, -1, True],
        "seed": NO_SEED,
    },
    "compare": {**SHARED, "rungs": [*NO_LIST, ["1", "5"], [1, 1.5]], "num_temperatures": NO_COUNT},
    "compare_models": {"num_particles": NO_COUNT, "seed": NO_SEED},
    "diagnose": {
        "num_observations": NO_COUNT,
        "seconds": [*NO_NUMBER, 0, -1, True],
        "checks": [*NO_LIST, ["x"], [5]],
        "seed": NO_SEED,
    },
    "evaluate": {**SHARED, "num_particles": NO_COUNT, "num_temperatures": NO_COUNT},
    "exact_posterior_draws": {"num_draws": NO_COUNT, "seed": NO_SEED, "data_policy": NO_TEXT},
    "fit": {
        "epochs": NO_COUNT,
        "batch_size": NO_COUNT,
        "learning_rate": [*NO_NUMBER, 0, -1, True, 2**1030],
        "kl_weight": [*NO_NUMBER, -1, True],
        "free_bits": [*NO_NUMBER, -1, True, 1e300],
        "objective": NO_CHOICE,
        "device": NO_CHOICE,
        "precision": NO_CHOICE,
        "interruptible": NO_SWITCH,
        "seed": NO_SEED,
    },
    "importance_weighted_bound": {"log_importance_weights": NO_TENSOR},
    "inference_gap": {
        **SHARED,
        "num_particles": NO_COUNT,
        "tolerance": [*NO_NUMBER, 0, -1, True],
        "max_steps": NO_COUNT,
        "num_temperatures": NO_COUNT,
    },
    "load_data": {
        "train": NO_SHARE,
        "validation": NO_SHARE,
        "test": NO_SHARE,
        "policy": NO_CHOICE,
        "kind": NO_CHOICE,
        "standardize": [value for value in NO_SWITCH if value is not None],
    },
    "nuts_draws": {
        **CHAINS,
        "max_tree_depth": NO_COUNT,
        "seed": NO_SEED,
        "index": NO_INDEX[:-2],
        "data_policy": NO_TEXT,
    },
    "posterior_draws": {**CHAINS, "seed": NO_SEED, "index": NO_INDEX, "data_policy": NO_TEXT},
    "quadrature_log_evidence": {
        **SHARED,
        "method": NO_CHOICE,
        "num_points": NO_COUNT,
        "max_nodes": NO_COUNT,
        "tolerance": [*NO_NUMBER, 0, -1, True],
    },
    "to_arviz": {
        **SHARED,
        "terms": NO_TENSOR,
        "evidence": NO_TENSOR,
        "annealed": NO_TENSOR,
        "posterior": NO_TENSOR,
        "num_draws": NO_COUNT,
    },
}
"""Function → argument → values that it refuses."""

NOT_YET = {
    "compare_runs", "encode", "impute", "interpolate", "log_evidence_from_weights", "rate_distortion", "reconstruct",
    "refit_prior", "sample", "score",
}  # fmt: skip
"""Functions whose numbers and names are not in the table yet."""

ELSEWHERE = {"bits_per_dimension", "load", "netcdf_bytes", "pair_from_networks", "save", "write_report"}
"""Functions of other things than numbers and names, which have tables of their own in their rooms' tests."""


@pytest.fixture(scope="module")
def given(isolated_globals):
    """Function → what it is called with when all is well."""
    networks = {"latent_dim": 2, "data_shape": (6,), "hidden_dims": (4,), "activation": "tanh"}
    with isolated_globals(seed=0):
        model, guide = VAE(**networks), AmortizedNormalGuide(**networks)
        linear = LinearGaussianVAE(latent_dim=2, data_shape=(6,))
        x, rows = (torch.bernoulli(torch.full((count, 6), 0.5)) for count in (3, 150))
    pair, data = {"model": model, "guide": guide}, bv.load_data(rows)
    others = {
        "bidirectional_bounds": pair,
        "calibrate_guide": pair,
        "compare_models": {"models": {"a": (model, guide), "b": (model, guide)}, "x": x},
        "diagnose": {**pair, "data": data},
        "exact_posterior_draws": {"model": linear, "x": x},
        "fit": {**pair, "data": data, "progress": "none"},
        "importance_weighted_bound": {},
        "load_data": {"source": np.eye(120, 6)},
        "nuts_draws": {"model": model, "x": x[:1]},
    }
    return {name: others.get(name, {**pair, "x": x}) for name in TABLE}


def test_every_public_function_is_in_the_table():
    functions = {name for name in bv.__all__ if inspect.isfunction(getattr(bv, name))}
    assert functions == TABLE.keys() | ELSEWHERE | NOT_YET
    assert sum(len(values) for arguments in TABLE.values() for values in arguments.values()) > 1000


def error_of(call):
    """What a call raises; None where it raises nothing."""
    try:
        call()
    except Exception as error:
        return error


@pytest.mark.parametrize("name", TABLE)
def test_a_value_that_nobody_can_mean_is_one_documented_error(given, name):
    for argument, values in TABLE[name].items():
        for value in values:
            error = error_of(lambda: getattr(bv, name)(**given[name], **{argument: value}))  # noqa: B023
            assert isinstance(error, BayesVaeError), f"{argument}={value!r}: {error!r}"
            assert len(str(error)) > 20, (argument, value)
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", str(error)), (argument, value)
