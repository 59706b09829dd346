"""Every argument of every public function with values that nobody can mean: one documented error, at once."""

import inspect
import re

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError, DataError, SettingsError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE, ConditionalVAE, LinearGaussianVAE

NO_NUMBER = ["5", "x", "", "\x1b[2J", b"x", float("nan"), np.float32("nan"), object(), {}, 1j]
NO_COUNT = [*NO_NUMBER, 1.5, -1, True, 2**70, float("inf"), [5], torch.tensor(1.5)]
NO_LIST = [-1, float("nan"), 1e300, object(), 2**70, True, 1j, torch.tensor(1.5), "x", b"x", {}]
NO_SWITCH = [*NO_NUMBER, 1, 0, [True], None]
NO_TEXT = [5, float("nan"), b"x", object(), {}, [5], 1j]
NO_CHOICE = [*NO_NUMBER, 5, [5]]
NO_INDEX = [*NO_NUMBER, 5, [5], 2**70]
NO_TENSOR = [*NO_NUMBER, 5, [5], True, 2**70]
NO_SHARE = ["x", "", b"x", float("nan"), np.float32("nan"), float("inf"), -1, 1.5, object(), {}, 1j, 2**70]
NO_PATH = [5, float("nan"), b"x", object(), {}, [5], 1j, None, "", " ", "a\0b", "\ud800", "x" * 5000]
NO_PROGRAM = [*NO_NUMBER, 5, [5], None]
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
        "source": [value for value in NO_TENSOR if value != ""],
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
        "source": [*NO_CHOICE, "distributions"],
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
    "compare_runs": {
        "runs": [*NO_LIST, ["gone"], [5], ["a\0b"], [None], []],
        "num_observations": NO_COUNT,
        "num_particles": NO_COUNT,
        "num_temperatures": NO_COUNT,
        "seed": NO_SEED,
        "device": NO_CHOICE,
    },
    "encode": {**SHARED, "num_particles": [*NO_COUNT, 1]},
    "impute": {**SHARED, "num_draws": NO_COUNT, "num_particles": NO_COUNT},
    "interpolate": {"num_steps": [*NO_COUNT, 1], "path": NO_CHOICE},
    "log_evidence_from_weights": {
        "log_weights": [*NO_TENSOR, [], [[]], [["a"]], "gone.nc"],
        "group": NO_TEXT,
        "name": NO_TEXT,
        "discrete_latents": NO_SWITCH,
        "data_policy": NO_TEXT,
    },
    "rate_distortion": {
        **SHARED,
        "betas": [*NO_LIST, [], ["1"], [0], [1, 1], [float("nan")], [float("inf")], [-1], [True], [2**1030], [1e300]],
        "num_temperatures": NO_COUNT,
        "num_chains": NO_COUNT,
        "num_leapfrog": NO_COUNT,
    },
    "reconstruct": {"seed": NO_SEED, "mean": NO_SWITCH},
    "refit_prior": {
        "prior": [*NO_CHOICE, 5, {"name": "nonsense"}, {"name": "mixture", "num_components": "x"}],
        "settings": [*NO_NUMBER, 5, [5]],
        "epochs": NO_COUNT,
        "patience": NO_COUNT,
        "batch_size": NO_COUNT,
        "num_components": NO_COUNT,
        "num_transforms": NO_COUNT,
        "learning_rate": [*NO_NUMBER, 0, -1, True, 2**1030],
        "num_observations": NO_COUNT,
        "num_particles": [*NO_COUNT, 1],
        "num_temperatures": NO_COUNT,
        "seed": NO_SEED,
        "device": NO_CHOICE,
    },
    "sample": {"num_observations": NO_COUNT, "seed": NO_SEED, "mean": NO_SWITCH, "label": [*NO_COUNT, 99]},
    "score": {
        **SHARED,
        "num_particles": NO_COUNT,
        "num_temperatures": NO_COUNT,
        "reference": NO_TENSOR,
        "kl": NO_CHOICE,
    },
    "bits_per_dimension": {"log_probability": ["5", "", b"x", object(), {}, 1j, True, [5], None], "model": NO_PROGRAM},
    "load": {"path": NO_PATH, "model": NO_PROGRAM[:-1], "guide": NO_PROGRAM[:-1]},
    "netcdf_bytes": {"container": NO_TENSOR},
    "pair_from_networks": {
        "encoder": NO_PROGRAM,
        "decoder": NO_PROGRAM,
        "latent_dim": [*NO_COUNT, 0],
        "data_shape": [*NO_LIST, [0], [-1], ["6"], [1.5], [2**70]],
        "encoder_output": NO_CHOICE,
        "decoder_output": NO_CHOICE,
        "parameter_axis": [*NO_NUMBER, 1.5, True, 99, -99, [5]],
        "split": NO_SWITCH,
        "input_shape": [*NO_LIST, [0], [-2], ["6"], [1.5], [2**70]],
        "mask_input": NO_SWITCH,
        "likelihood": [*NO_CHOICE, {"name": "nonsense"}, {"nonsense": 1}],
        "prior": [*NO_CHOICE, {"name": "nonsense"}, {"nonsense": 1}],
    },
    "save": {"run": [*NO_TENSOR, None], "path": NO_PATH, "overwrite": NO_SWITCH},
    "write_report": {
        "run": NO_PATH,
        "settings": [*NO_NUMBER, 5, [5]],
        "data": NO_TENSOR,
        "pair": [*NO_TENSOR, (), (5, 5)],
        "progress": [5, "x", {}],
    },
    "report_pair": {
        "path": [*NO_PATH, "report.txt", "."],
        "settings": [*NO_NUMBER, 5, [5]],
        "data": NO_TENSOR,
        "name": NO_TEXT,
        "history": [5, "x", [5]],
        "overwrite": NO_SWITCH,
        "progress": [5, "x", {}],
        "num_observations": NO_COUNT,
        "num_particles": [*NO_COUNT, 1],
        "num_diagnosed": [*NO_COUNT, 5],
        "seed": NO_SEED,
        "device": ["cuda", 5],
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

CALLED = {
    "checks": ["there is no check"],
    "pair": ["the model must be"],
    "path": ["run directory"],
    "runs": ["run directory"],
    "source": ["data"],
}
"""Argument → what else its messages call it."""


@pytest.fixture(scope="module")
def given(isolated_globals, tmp_path_factory):
    """Function → what it is called with when all is well."""
    networks = {"latent_dim": 2, "data_shape": (6,), "hidden_dims": (4,), "activation": "tanh"}
    with isolated_globals(seed=0):
        model, guide = VAE(**networks), AmortizedNormalGuide(**networks)
        linear = LinearGaussianVAE(latent_dim=2, data_shape=(6,))
        x, rows = (torch.bernoulli(torch.full((count, 6), 0.5)) for count in (3, 150))
    pair, data = {"model": model, "guide": guide}, bv.load_data(rows)
    runs = [tmp_path_factory.mktemp("table") / str(latent_dim) for latent_dim in (1, 2)]
    for latent_dim, run in enumerate(runs, 1):
        of_one = {**networks, "latent_dim": latent_dim}
        with isolated_globals(seed=0):
            untrained = VAE(**of_one), AmortizedNormalGuide(**of_one)
        trained = bv.fit(*untrained, data, epochs=1, progress="none")
        bv.save(trained, run)
    with isolated_globals(seed=0):
        conditional = ConditionalVAE(**networks, num_classes=3)
    missing = x.masked_fill(torch.eye(3, 6, dtype=torch.bool), torch.nan)
    others = {
        "bidirectional_bounds": pair,
        "bits_per_dimension": {"log_probability": -3.0, "model": model},
        "calibrate_guide": pair,
        "compare_models": {"models": {"a": (model, guide), "b": (model, guide)}, "x": x},
        "compare_runs": {"runs": runs, "x": x, "num_particles": 2, "num_temperatures": 0},
        "diagnose": {**pair, "data": data},
        "exact_posterior_draws": {"model": linear, "x": x},
        "fit": {**pair, "data": data, "progress": "none"},
        "importance_weighted_bound": {},
        "impute": {**pair, "x": missing},
        "interpolate": {**pair, "x": x[:2]},
        "load": {"path": runs[0]},
        "load_data": {"source": np.eye(120, 6)},
        "log_evidence_from_weights": {"log_weights": np.zeros((5, 3))},
        "netcdf_bytes": {},
        "nuts_draws": {"model": model, "x": x[:1]},
        "pair_from_networks": {
            "encoder": torch.nn.Linear(6, 4),
            "decoder": torch.nn.Linear(2, 6),
            "latent_dim": 2,
            "data_shape": (6,),
            "encoder_output": "loc-and-log-scale",
            "split": True,
            "decoder_output": "logits",
        },
        "refit_prior": {**pair, "data": data},
        "save": {"run": trained, "path": runs[0].parent / "saved"},
        "write_report": {"run": runs[0], "data": data},
        "report_pair": {**pair, "data": data, "path": runs[0].parent / "report.html"},
        "sample": {"model": conditional, "num_observations": 2},
    }
    return {name: others.get(name, {**pair, "x": x}) for name in TABLE}


def test_every_public_function_is_in_the_table():
    functions = {name for name in bv.__all__ if inspect.isfunction(getattr(bv, name))}
    assert functions == TABLE.keys()
    assert sum(len(values) for arguments in TABLE.values() for values in arguments.values()) > 1000


def error_of(call):
    """What a call raises; None where it raises nothing."""
    try:
        call()
    except Exception as error:
        return error


@pytest.mark.parametrize("name", TABLE)
def test_a_value_that_nobody_can_mean_is_one_documented_error(given, name):
    defaults = inspect.signature(getattr(bv, name)).parameters
    for argument, values in TABLE[name].items():
        about = defaults.get(argument)
        needed = about is not None and about.default is not None and "None" not in str(about.annotation)
        for value in [*values, *([None] if needed else [])]:
            error = error_of(lambda: getattr(bv, name)(**{**given[name], argument: value}))  # noqa: B023
            assert isinstance(error, BayesVaeError), f"{argument}={value!r}: {error!r}"
            words = [argument, *CALLED.get(argument, [])]
            assert any(word in str(error) for word in words), f"{argument}={value!r}: {error}"
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", str(error)), (argument, value)


STRANGE = {
    "complex": lambda x: x.to(torch.complex64),
    "sparse": lambda x: x.to_sparse(),
    "meta": lambda x: x.to("meta"),
    "quantized": lambda x: torch.quantize_per_tensor(x.nan_to_num(), 0.1, 0, torch.quint8),
}
"""Tensors that hold no plain numbers."""

OF_X = [name for name in TABLE if "x" in inspect.signature(getattr(bv, name)).parameters]


@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", OF_X)
def test_a_tensor_that_holds_no_plain_numbers_is_one_documented_error(given, name, kind):
    strange = STRANGE[kind](given[name]["x"])
    with pytest.raises(DataError, match="x must be a dense tensor of real numbers, got one o"):
        getattr(bv, name)(**{**given[name], "x": strange})


@pytest.mark.parametrize("name", [name for name in OF_X if "guide" in inspect.signature(getattr(bv, name)).parameters])
def test_arguments_in_another_order_are_one_documented_error(given, name):
    model, guide, x = (given[name][which] for which in ("model", "guide", "x"))
    rest = {key: value for key, value in given[name].items() if key not in ("model", "guide", "x")}
    for order in ((x, model, guide), (model, x, guide), (guide, x, model)):
        with pytest.raises(SettingsError, match=r"take \(model, guide, x\) in this order, got \("):
            getattr(bv, name)(*order, **rest)
