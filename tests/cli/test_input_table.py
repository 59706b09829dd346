"""Input that cannot be meant, over every flag of every command and every public function: a sentence, and nothing else.

The command line ends with exit code 2, without a traceback and without a result; nothing is written.
"""

import re
from dataclasses import fields
from typing import get_type_hints

import pytest
import torch

import bayes_vae as bv
from bayes_vae.cli.entry import COMMANDS
from bayes_vae.cli.settings_files import shape_of_type
from bayes_vae.errors import BayesVaeError
from bayes_vae.settings import (
    SECTIONS,
    CompareSettings,
    DataSettings,
    DiagnoseSettings,
    EncodeSettings,
    EvaluateSettings,
    ExplainSettings,
    ExploreSettings,
    PairSettings,
    RateDistortionSettings,
    RefitPriorSettings,
    ReportSettings,
    SampleSettings,
    ScoreSettings,
    TrainingSettings,
)

OF_COMMANDS = {
    "train": (DataSettings, PairSettings, TrainingSettings),
    "evaluate": (EvaluateSettings,),
    "compare": (CompareSettings,),
    "explain": (ExplainSettings,),
    "explore": (ExploreSettings,),
    "score": (ScoreSettings,),
    "encode": (EncodeSettings,),
    "sample": (SampleSettings,),
    "diagnose": (DiagnoseSettings,),
    "report": (ReportSettings,),
    "refit-prior": (RefitPriorSettings,),
    "rate-distortion": (RateDistortionSettings,),
    "sweep": (DataSettings, PairSettings, TrainingSettings),
}

WRITING = {"score": "new.csv", "encode": "new.npz", "sample": "new.png"}
"""Commands that ask for the file that they write."""


def grid_but_for(flag):
    """A small grid of a sweep, in which another setting varies."""
    name = "latent_dim" if flag == "seed" else "seed"
    return ["--vary", f"{name}=1,2", "--out", f"new/{{{name}}}"]


NO_WHOLE_NUMBER = ["x", "1.5", "nan", "1e99", "٣x", "0x10", "--", "1,2", "", " ", "\x1b[2J"]
TOO_LARGE = ["99999999999", "9" * 30, "-" + "9" * 30]
NO_NUMBER = ["--", "x", "nan", "inf", "-inf", "1e999", "", " ", "1;2"]
NO_CHOICE = ["--", "nonsense", "", " ", "\x1b]0;x\x07", "../.."]
NO_TEXT = ["--", "", " ", "a\0b"]


def bad_values(flag, hint):
    """Values that a flag of this type does not take, and what is said of each."""
    choices, several, kind, _ = shape_of_type(hint)
    if choices:
        return [(value, "invalid choice|expected text|expected a value") for value in NO_CHOICE]
    if kind is int:
        words = "expected a whole number|expected a value|expected text|must"
        values = [value for value in NO_WHOLE_NUMBER if not several or value not in ("1,2", "", " ")]
        large = TOO_LARGE[1:] if flag == "seed" else TOO_LARGE
        return [(value, words) for value in [*values, *large]]
    if kind is bool:
        return [(value, "ignored explicit argument|expected a value") for value in NO_CHOICE]
    if kind is float:
        return [(value, "expected a number|expected text|expected a value") for value in NO_NUMBER]
    return [(value, "expected text|must|expected a value") for value in NO_TEXT]


FLAGS = [
    (command, field.name, get_type_hints(settings)[field.name])
    for command, every in OF_COMMANDS.items()
    for settings in every
    for field in fields(settings)
]
NUM_CASES = sum(len(bad_values(flag, hint)) for _, flag, hint in FLAGS)


def test_the_table_covers_every_command_that_takes_settings():
    assert set(OF_COMMANDS) == set(COMMANDS) - {"demo", "experiment"}
    assert {settings for every in OF_COMMANDS.values() for settings in every} == set(SECTIONS.values())
    assert NUM_CASES >= 300


@pytest.mark.parametrize(("name", "flag", "hint"), FLAGS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_value_that_a_flag_does_not_take(command, trained, tmp_path, monkeypatch, name, flag, hint):
    monkeypatch.chdir(tmp_path)
    where = [] if name in ("train", "sweep") else [trained]
    where += ["--out", "new"] if name in ("train", *WRITING) else grid_but_for(flag) if name == "sweep" else []
    for value, message in bad_values(flag, hint):
        code, out, err = command(name, *where, f"--{flag.replace('_', '-')}={value}", "--json")
        assert (code, out) == (2, ""), (value, err)
        assert re.search(message, err), (value, err)
        assert flag in err.replace("-", "_"), (value, err)
        assert "Traceback" not in err
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", err), (value, err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "experiment"])
@pytest.mark.parametrize("flag", ["--config", "--out", "--resume", "--data", "--policy", "--data-root", "--device"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_unset_variable_is_no_value(command, trained, tmp_path, monkeypatch, name, flag, value):
    monkeypatch.chdir(tmp_path)
    where = [] if name in ("train", "demo", "sweep") else [trained]
    if name in WRITING and flag != "--out":
        where += ["--out", "new"]
    code, out, err = command(name, *where, f"{flag}={value}")
    assert (code, out) == (2, "")
    assert re.search(f"{flag}: expected text, got nothing|unrecognized arguments: {flag}|invalid choice", err)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Name → a path that no run or settings can be read from."""
    import os

    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "endless").symlink_to("/dev/zero")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / "manifest.json")
    (tmp_path / "looped").mkdir()
    (tmp_path / "looped" / "manifest.json").symlink_to("/dev/zero")
    (tmp_path / "\x1b[2Jname").mkdir()
    return ["pipe", "circle", "endless", "sparse", "piped", "looped", "\x1b[2Jname", "gone", "~nouser", "x" * 5000]


OF_A_RUN = [name for name in COMMANDS if name not in ("train", "demo", "experiment", "sweep")]


@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_path_that_no_run_can_be_read_from(command, places, name):
    for place in places:
        code, out, err = command(name, place, *(["--out", WRITING[name]] if name in WRITING else []))
        assert (code, out) == (2, ""), (place, err)
        assert "is not a run directory" in err or "File name too long" in err, (place, err)
        assert "\x1b" not in err


def test_a_path_that_no_settings_can_be_read_from(command, places):
    for place in places:
        code, out, err = command("train", "--config", place, "--out", "new")
        assert (code, out) == (2, ""), (place, err)
        assert re.search("is not a run directory|is not a settings file|cannot be read|File name too long", err), (
            place,
            err,
        )
        assert "\x1b" not in err


@pytest.mark.parametrize("path", ["", " ", "a\0b", "~nouser", "gone", "x" * 5000, "\ud800"])
@pytest.mark.parametrize("function", [bv.load, bv.runs.RunDirectory, bv.runs.read_config], ids=lambda one: one.__name__)
def test_a_path_that_is_none_is_one_error_from_python_too(tmp_path, monkeypatch, function, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BayesVaeError, match="is not a run directory"):
        function(path)


@pytest.fixture(scope="module")
def pair(isolated_globals):
    networks = {"latent_dim": 2, "data_shape": (6,), "hidden_dims": (4,), "activation": "tanh"}
    with isolated_globals(seed=0):
        return bv.models.VAE(**networks), bv.guides.AmortizedNormalGuide(**networks)


X = torch.zeros(3, 6)
NO_COUNTS = ["5", 1.5, 0, -1, True, float("nan"), 10**10, 10**30, [5], object()]

COUNTS = {
    "log_terms num_particles": lambda pair, value: bv.log_terms(*pair, X, value),
    "elbo_terms num_particles": lambda pair, value: bv.elbo_terms(*pair, X, value),
    "estimate_log_evidence num_particles": lambda pair, value: bv.estimate_log_evidence(*pair, X, value),
    "annealed_log_evidence num_temperatures": (
        lambda pair, value: bv.annealed_log_evidence(*pair, X, num_temperatures=value)
    ),
    "annealed_log_evidence num_chains": lambda pair, value: bv.annealed_log_evidence(*pair, X, num_chains=value),
    "annealed_log_evidence num_leapfrog": lambda pair, value: bv.annealed_log_evidence(*pair, X, num_leapfrog=value),
    "aggregate_posterior_terms num_particles": lambda pair, value: bv.aggregate_posterior_terms(*pair, X, value),
    "bayes_rule_on_grid num_points": lambda pair, value: bv.bayes_rule_on_grid(*pair, X, num_points=value),
    "calibrate_guide num_draws": lambda pair, value: bv.calibrate_guide(*pair, num_draws=value),
    "posterior_draws num_draws": lambda pair, value: bv.posterior_draws(*pair, X, num_draws=value),
    "posterior_draws num_chains": lambda pair, value: bv.posterior_draws(*pair, X, num_chains=value),
    "nuts_draws num_draws": lambda pair, value: bv.nuts_draws(pair[0], X[:1], num_draws=value),
    "log_terms batch_size": lambda pair, value: bv.log_terms(*pair, X, 2, batch_size=value),
    "log_terms chunk_size": lambda pair, value: bv.log_terms(*pair, X, 2, chunk_size=value),
    "evaluate num_particles": lambda pair, value: bv.evaluate(*pair, X, value, num_temperatures=0),
    "compare rungs": lambda pair, value: bv.compare(*pair, X, (1, value), num_temperatures=0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_is_none_is_refused_by_every_function(pair, name):
    for value in NO_COUNTS:
        with pytest.raises(BayesVaeError, match=r"must (be|start)"):
            COUNTS[name](pair, value)


@pytest.mark.parametrize("size", [10**9, 2 * 10**8])
def test_what_does_not_fit_the_memory_is_said_at_once(pair, size, monkeypatch):
    monkeypatch.setattr("bayes_vae.terms.memory.available_memory", lambda device: 10**9)
    asked = {
        "num_particles": lambda: bv.log_terms(*pair, X, size),
        "num_particles of a batch": lambda: bv.estimate_log_evidence(*pair, X, size),
        "num_points": lambda: bv.bayes_rule_on_grid(*pair, X, num_points=size),
        "num_draws": lambda: bv.posterior_draws(*pair, X, num_draws=size),
    }
    for ask in asked.values():
        with pytest.raises(BayesVaeError, match=r"would need [\d,.]+ GB of memory, and 1.0 GB are free: ask for fewer"):
            ask()


@pytest.mark.parametrize("flag", ["--jobs", "--num-observations"])
def test_numbers_of_a_sweep(command, tmp_path, monkeypatch, flag):
    monkeypatch.chdir(tmp_path)
    for value in [*NO_WHOLE_NUMBER, *TOO_LARGE, "0", "-1", "²"]:
        code, out, err = command("sweep", *grid_but_for(flag), f"{flag}={value}")
        assert (code, out) == (2, ""), (value, err)
        assert f"{flag}: expected " in err, (value, err)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", err), (value, err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", ["seed=1.5,2", "seed=x,1", "latent_dim=-1", "seed=", "=1", "seed", "\x1b[2J=1", "", "x=1,2"]
)
def test_what_no_grid_is_made_of(command, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("sweep", "--vary", words, "--out", "new/{seed}")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert list(tmp_path.iterdir()) == []


TOO_LARGE_TO_TRAIN = [
    ["--latent-dim", "900000000"],
    ["--hidden-dims", "900000000"],
    ["--hidden-dims", "1000000", "1000000"],
    ["--latent-dim", "100000", "--guide", "full-covariance"],
    ["--structure", "two-layer", "--top-latent-dim", "900000000"],
    ["--prior", "mixture", "--num-components", "900000000"],
    ["--prior", "vamp", "--num-components", "900000000"],
    ["--objective", "importance-weighted", "--num-particles", "900000000"],
]


@pytest.mark.parametrize("words", TOO_LARGE_TO_TRAIN, ids=" ".join)
def test_what_does_not_fit_the_memory_is_not_trained(command, tmp_path, words):
    code, out, err = command("train", *words, "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert re.search(r"would need [\d,.]+ GB of memory, and [\d,.]+ GB are free: ask for fewer", err), err
    assert list(tmp_path.iterdir()) == []
