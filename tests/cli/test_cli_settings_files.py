"""Settings from files: what overrides what, what is refused with which words, and a run repeated from its own."""

import json
import shutil
from dataclasses import fields

import pytest
import torch
import yaml

import bayes_vae as bv
from bayes_vae import settings as settings_module
from bayes_vae.cli.settings_files import read_settings, settings_text
from bayes_vae.data import load_data
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import SECTIONS, PairSettings, TrainingSettings

LISTED = ", ".join(SECTIONS)
COMMANDS_WITH_SETTINGS = ("train", "evaluate", "compare", "demo")


@pytest.fixture
def write(tmp_path):
    def file(text, name="settings.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return file


@pytest.fixture
def effective(command):
    """What a command would run with, as ``--print-config`` says."""

    def read(*words):
        outcome = command(*words, "--print-config")
        assert (outcome.code, outcome.err) == (0, "")
        return yaml.safe_load(outcome.out)

    return read


def test_every_settings_class_has_a_section():
    classes = [name for name in settings_module.__all__ if name.endswith("Settings")]
    assert sorted(kind.__name__ for kind in SECTIONS.values()) == sorted(classes)


def test_a_file_is_overridden_by_flags_wherever_they_stand(write, effective):
    path = write("training: {epochs: 7, learning_rate: 1e-2}\npair:\n  hidden_dims: [5, 6]\n")
    for words in (["--config", path, "--epochs", "3"], ["--epochs=3", f"--config={path}"]):
        found = effective("train", *words)
        assert found["training"]["epochs"] == 3
        assert found["training"]["learning_rate"] == 0.01
        assert found["pair"]["hidden_dims"] == [5, 6]
        assert found["training"]["batch_size"] == TrainingSettings().batch_size


@pytest.mark.parametrize(
    "words",
    [
        ["--training.epochs", "5", "--pair.hidden_dims", "4,3"],
        ["--training.epochs=5", "--pair.hidden-dims=4,3"],
        ["--epochs", "5", "--pair.hidden_dims", "4", "3"],
    ],
)
def test_flags_with_and_without_their_section(effective, words):
    found = effective("train", *words)
    assert (found["training"]["epochs"], found["pair"]["hidden_dims"]) == (5, [4, 3])


@pytest.mark.parametrize("name", COMMANDS_WITH_SETTINGS)
@pytest.mark.parametrize("flag", ["--print-config", "--print_config"])
def test_what_is_printed_can_be_fed_back(command, write, name, flag):
    words = ["RUN"] if name in ("evaluate", "compare") else []
    printed = command(name, *words, "--seed", "11", flag)
    assert printed.code == 0
    assert "seed: 11" in printed.out
    again = command(name, *words, "--config", write(printed.out), flag)
    assert again.out == printed.out


def test_all_settings_are_printed(effective):
    for name, sections in (("train", ("data", "pair", "training")), ("compare", ("compare",))):
        found = effective(name, *(["RUN"] if name == "compare" else []))
        assert {section: list(values) for section, values in found.items()} == {
            section: [field.name for field in fields(SECTIONS[section])] for section in sections
        }


def test_one_file_serves_several_commands(write, effective):
    path = write("training: {epochs: 4}\nevaluate: {num_particles: 8}\ncompare: {rungs: [1, 2]}\ndata:\n")
    assert effective("train", "--config", path)["training"]["epochs"] == 4
    assert effective("evaluate", "RUN", "--config", path)["evaluate"]["num_particles"] == 8
    assert effective("compare", "RUN", "--config", path)["compare"]["rungs"] == [1, 2]
    assert effective("demo", "--config", path)["training"]["epochs"] == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1.e-3", 1e-3), (".5", 0.5), ("1", 1.0), ("2.0e-05", 2e-5), ("5E-1", 0.5)],
)
def test_numbers_in_every_notation(write, text, value):
    path = write(f"training: {{learning_rate: {text}, seed: -3}}")
    assert read_settings(path).sections == {"training": {"learning_rate": value, "seed": -3}}
    assert type(read_settings(path).sections["training"]["learning_rate"]) is float


def test_no_value_is_allowed_where_the_setting_has_none(write):
    sections = read_settings(write("data: {data_root: null}\nevaluate: {num_observations: ~}")).sections
    assert sections == {"data": {"data_root": None}, "evaluate": {"num_observations": None}}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "training:\n"])
def test_a_file_may_say_nothing(write, effective, text):
    assert effective("train", "--config", write(text)) == effective("train")


REFUSED = {
    "training: {epochs: many}": ": training.epochs: expected a whole number, got 'many'.",
    "training: {epochs: 3.0}": ": training.epochs: expected a whole number, got 3.0.",
    "training: {epochs: true}": ": training.epochs: expected a whole number, got True.",
    "training: {epochs: null}": ": training.epochs: expected a whole number, got None.",
    "training: {epochs: 010}": ": training.epochs: expected a whole number, got '010'.",
    "training: {epochs: 1:30}": ": training.epochs: expected a whole number, got '1:30'.",
    "training: {epochs: '3'}": ": training.epochs: expected a whole number, got '3'.",
    "training: {epochs: 1_000}": ": training.epochs: expected a whole number, got '1_000'.",
    "training: {epochs: 2026-01-01}": ": training.epochs: expected a whole number, got '2026-01-01'.",
    "training: {epochs: !!bool x}": " is not YAML that can be read (KeyError).",
    "training: {epochs: !!timestamp x}": " is not YAML that can be read (AttributeError).",
    "training: {learning_rate: true}": ": training.learning_rate: expected a number, got True.",
    "training: {learning_rate: .inf}": ": training.learning_rate: expected a number, got '.inf'.",
    "training: {learning_rate: 1e999}": ": training.learning_rate: expected a number, got inf.",
    f"training: {{learning_rate: 1{'0' * 400}}}": f": training.learning_rate: expected a number, got 1{'0' * 17}..."
    f"{'0' * 19}.",
    "training: {precision: 16}": ": training.precision: expected one of 32, bf16-mixed, 64, got 16.",
    "training: {kl: false}": ": training.kl: expected one of auto, analytic, sampled, got False.",
    "training: {learning_rate: fast}": ": training.learning_rate: expected a number, got 'fast'.",
    "training: {kl_weight: [1]}": ": training.kl_weight: expected a number, got [1].",
    "data: {data: ''}": ": data.data: expected text, got ''.",
    "pair: {activation: no}": ": pair.activation: expected text, got False.",
    "data: {data: 3}": ": data.data: expected text, got 3.",
    "data: {policy: statik}": ": data.policy: expected one of stochastic, static, threshold, none, got 'statik'; did "
    "you mean static?",
    "pair: {hidden_dims: 5}": ": pair.hidden_dims: expected a list of whole numbers, got 5.",
    "pair: {hidden_dims: '5'}": ": pair.hidden_dims: expected a list of whole numbers, got '5'.",
    "pair: {hidden_dims: [5, 1.5]}": ": pair.hidden_dims: expected a whole number, got 1.5.",
    "pair: {hidden_dims: [5, x]}": ": pair.hidden_dims: expected a whole number, got 'x'.",
    "training: {epohcs: 3}": ": training.epohcs: no such setting; did you mean epochs?",
    "training: {latent_dim: 3}": ": training.latent_dim: no such setting; it belongs under pair.",
    "trainin: {epochs: 3}": ": trainin: no such setting; did you mean training?",
    "epochs: 3": ": epochs: no such setting; it belongs under training or refit_prior.",
    "training.epochs: 3": ": training.epochs: no such setting; did you mean training?",
    "Training: {epochs: 3}": ": Training: no such setting; did you mean training?",
    "training:\n- epochs: 3": ": training: expected settings below it, got [{'epochs': 3}].",
    "training: {epochs: 3}\n---\npair:": ", line 2: but found another document.",
    "training: {<<: {epochs: 3}}": ", line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:merge'.",
    "3: 4": f": 3: no such setting; choose from {LISTED}.",
    "training: 3": ": training: expected settings below it, got 3.",
    "[1, 2]": f": expected the sections {LISTED}, got [1, 2].",
    "training: {epochs: 3}\ntraining: {seed: 4}": ", line 2: the key 'training' occurs twice here.",
    "training:\n  epochs: 3\n  epochs: 4": ", line 3: the key 'epochs' occurs twice here.",
    "training: {epochs: 3": ", line 1: expected ',' or '}', but got '<stream end>'.",
    "? [1]\n: 2": ", line 1: no key.",
    "training: !!python/object/apply:os.getcwd []": ", line 1: could not determine a constructor for the tag "
    "'tag:yaml.org,2002:python/object/apply:os.getcwd'.",
    "a: &a [*a]": f": a: no such setting; choose from {LISTED}.",
    "[" * 2_000: " is not YAML that can be read (RecursionError).",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_what_is_refused_names_the_file_and_the_key(write, command, text):
    path = write(text)
    assert command("train", "--config", path) == (2, "", f"bayes-vae: {path}{REFUSED[text]}\n")


def test_a_choice_that_reads_as_a_number_needs_no_quotes(write):
    assert read_settings(write("training: {precision: 64}")).sections == {"training": {"precision": "64"}}


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"\x93NUMPY\x01\x00v\x00", b"a: \x00", "# é".encode("latin-1"), "a: 1".encode("utf-16")],
)
def test_other_files_are_refused(tmp_path, command, content):
    path = tmp_path / "data.npy"
    path.write_bytes(content)
    assert command("train", "--config", path).err == (
        f"bayes-vae: {path} is not a settings file: expected YAML, a text in UTF-8.\n"
    )


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "data.npy"
    with path.open("wb") as file:
        file.truncate(2_000_000)
    with pytest.raises(SettingsError, match=r"is not a settings file: it has more than 1,000,000 bytes"):
        read_settings(path)


def test_a_file_that_is_not_there(tmp_path):
    message = r"the settings file .*gone.yaml cannot be read \(No such file or directory\). Expected YAML, a run"
    with pytest.raises(SettingsError, match=message):
        read_settings(tmp_path / "gone.yaml")
    with pytest.raises(SettingsError, match=r"the settings file bernouli cannot be read .* Did you mean bernoulli\?$"):
        read_settings("bernouli")


def test_a_folder_that_is_no_run(command, tmp_path):
    outcome = command("train", "--config", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"bayes-vae: {tmp_path} is not a run directory: it has no manifest.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--training.epohcs", "3"], "--training.epohcs: no such setting; did you mean --training.epochs?"),
        (["--pair.x", "3"], "--pair.x: no such setting; pair has latent-dim, hidden-dims, activation, network, "),
        (["--epohcs", "3"], "unrecognized arguments: --epohcs 3; did you mean --epochs?"),
        (["--compare.seed", "3"], "unrecognized arguments: --compare.seed 3"),
        (["--training.epochs", "many"], "--epochs: expected a whole number, got many"),
        (["--config"], "argument --config: expected one argument"),
        (["--config", ""], "--config: expected text, got nothing"),
        (["--resume", ""], "--resume: expected text, got nothing"),
        (["--out="], "--out: expected text, got nothing"),
        (["--training.", "3"], "--training.: no such setting; training has epochs, batch-size, "),
        (["--json=1"], "argument --json: ignored explicit argument '1'"),
        (["--print-config=yes"], "argument --print-config: ignored explicit argument 'yes'"),
        (["--conf", "gone.yaml"], "unrecognized arguments: --conf gone.yaml; did you mean --config?"),
    ],
)
def test_wrong_flags_are_refused(command, words, message):
    outcome = command("train", *words)
    assert outcome.code == 2
    assert outcome.err.splitlines()[1].startswith(f"bayes-vae train: {message}")


def test_settings_that_a_command_does_not_take(write, command):
    path = write("training: {batch_size: 5}")
    assert command("demo", "--config", path)[:2] == (2, "")
    assert command("demo", "--config", path).err == (
        f"bayes-vae: {path}: training.batch_size: `bayes-vae demo` does not take this setting; of training it takes "
        "epochs, seed, device.\n"
    )


def test_values_that_cannot_work_name_the_file(write, command, tmp_path):
    path = write("training: {epochs: 0}")
    expected = f"bayes-vae: epochs must be at least 1, got 0. Some settings came from {path}.\n"
    assert command("train", "--config", path) == (2, "", expected)
    assert command("train", "--config", path, "--print-config") == (2, "", expected)
    assert command("train", "--config", path, "--epochs", "2", "--print-config").code == 0


def test_of_two_files_the_last_counts(write, effective):
    first, last = write("training: {epochs: 3}", "first.yaml"), write("training: {seed: 4}", "last.yaml")
    found = effective("train", "--config", first, "--config", last)["training"]
    assert (found["epochs"], found["seed"]) == (TrainingSettings().epochs, 4)


def test_help_does_not_read_the_file(command):
    assert command("train", "--config", "gone.yaml", "--help").code == 0


def test_text_keeps_what_yaml_would_take_for_something_else(write):
    sections = {"data": {"data": "1e-3", "data_root": "null"}, "pair": {"hidden_dims": ()}}
    assert read_settings(write(settings_text(sections))).sections == sections


# A run, repeated.


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take longer than these trainings, and are not what is compared."""
    monkeypatch.setattr("bayes_vae.cli.figures.write_training_figures", lambda run, seed: {})


def files_of(run):
    names = ("model.safetensors", "checkpoints/best.safetensors", "checkpoints/last.safetensors")
    return [(run / name).read_bytes() for name in names]


def curves_of(run):
    """The history without what a clock measured."""
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in RunDirectory(run).history]


@pytest.mark.parametrize("what", ["folder", "config.json"])
def test_a_run_is_repeated_bit_for_bit(no_figures, command, trained, tmp_path, what):
    config = trained if what == "folder" else trained / what
    outcome = command("train", "--config", config, "--out", tmp_path / "again")
    assert outcome.code == 0
    assert "note:" not in outcome.err
    assert files_of(tmp_path / "again") == files_of(trained)
    assert curves_of(tmp_path / "again") == curves_of(trained)
    stored, first = RunDirectory(tmp_path / "again").config, RunDirectory(trained).config
    assert {**stored, "created": "", "command": ""} == {**first, "created": "", "command": ""}


def test_another_seed_gives_another_run(no_figures, command, trained, tmp_path):
    assert command("train", "--config", trained, "--seed", "1", "--out", tmp_path / "again").code == 0
    assert files_of(tmp_path / "again") != files_of(trained)


def test_a_run_stores_what_repeating_it_needs(trained):
    config = RunDirectory(trained).config
    for section in ("data", "pair", "training"):
        assert list(config["settings"][section]) == [field.name for field in fields(SECTIONS[section])]
    assert config["command"].startswith("bayes-vae train --latent-dim 2 --hidden-dims 8 --epochs 2 --out ")
    assert config["data"]["digest"] == load_data("digits").digest
    assert {"python", "torch", "pyro", "numpy", "bayes_vae", "torchvision"} <= set(config["versions"])
    assert {"platform", "threads", "dtype", "matmul_precision"} <= set(config["machine"])


def changed_copy(run, tmp_path, change):
    """A copy of a run whose configuration was changed and listed anew."""
    import hashlib

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    change(config)
    content = json.dumps(config).encode()
    (copy / "config.json").write_bytes(content)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["config.json"] = hashlib.sha256(content).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_a_changed_configuration_is_not_believed(command, trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace('"epochs": 2', '"epochs": 3'))
    for name in (copy, copy / "config.json"):
        outcome = command("train", "--config", name, "--out", tmp_path / "again")
        assert outcome.code == 2
        assert "config.json is not the file that was written" in outcome.err
    assert not (tmp_path / "again").exists()


def test_a_configuration_without_its_run_is_refused(trained, tmp_path):
    alone = shutil.copy(trained / "config.json", tmp_path / "config.json")
    with pytest.raises(SettingsError, match=r"it does not lie in its run directory, so it cannot be checked"):
        read_settings(alone)


def test_other_data_than_the_runs_are_refused_unless_asked_for(command, trained, tmp_path, monkeypatch):
    copy = changed_copy(trained, tmp_path, lambda config: config["data"].update(digest="0" * 64))
    monkeypatch.setattr("bayes_vae.training.fit", lambda *_, **__: pytest.fail("training started"))
    outcome = command("train", "--config", copy, "--out", tmp_path / "again")
    assert outcome.code == 2
    assert "the data set 'digits' is not what the run was trained on" in outcome.err
    assert "its digest is b0b79090f19f…, in training" in outcome.err


def test_other_data_by_flag_are_noted(no_figures, command, trained, tmp_path):
    import numpy as np

    np.save(tmp_path / "mine.npy", np.eye(20, dtype=np.uint8))
    words = ["--data", tmp_path / "mine.npy", "--policy", "none"]
    outcome = command("train", "--config", trained, *words, "--out", tmp_path / "again")
    assert outcome.code == 0
    words = "note: the data set 'mine.npy' is not what the run was trained on (digits): this is a separate training"
    assert words in outcome.err


def test_another_machine_is_noted_and_threads_are_taken_over(no_figures, command, trained, tmp_path):
    threads = torch.get_num_threads() + 1

    def change(config):
        config["versions"]["torch"] = "2.4.0"
        config["machine"]["threads"] = threads

    copy = changed_copy(trained, tmp_path, change)
    outcome = command("train", "--config", copy, "--out", tmp_path / "again")
    assert outcome.code == 0
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("note: the run was made with")]
    assert line.startswith("note: the run was made with torch 2.4.0 (now ")
    assert "threads" not in line
    assert RunDirectory(tmp_path / "again").config["machine"]["threads"] == threads
    assert torch.get_num_threads() == threads - 1


def test_a_run_from_python_says_that_a_script_repeats_it(tmp_path, isolated_globals):
    from bayes_vae.training import build_pair

    data = load_data("digits")
    with isolated_globals():
        pair = build_pair(PairSettings(latent_dim=2, hidden_dims=(4,)), data)
        bv.save(bv.fit(*pair, data, epochs=1, progress="none"), tmp_path / "run")
    with pytest.raises(RunError, match=r"has no settings of its data and pair: it was trained from Python"):
        read_settings(tmp_path / "run")


def test_settings_of_a_later_release_are_refused(trained, tmp_path):
    copy = changed_copy(trained, tmp_path, lambda config: config["settings"]["training"].update(warp=9))
    with pytest.raises(SettingsError, match=r"config.json: training.warp: no such setting"):
        read_settings(copy)
