"""Flags out of settings."""

from dataclasses import dataclass, fields

import pytest

from bayes_vae.cli.flags import Flags, build_settings, field_help
from bayes_vae.settings import CompareSettings, DataSettings, EvaluateSettings, PairSettings, TrainingSettings

SETTINGS = [DataSettings, PairSettings, TrainingSettings, EvaluateSettings, CompareSettings]


def parse(settings, *words):
    parser = Flags("test", "[--flag value ...]", "A test.")
    parser.add_settings(settings, "settings")
    return build_settings(settings, parser.parse_args(words))


@pytest.mark.parametrize("settings", SETTINGS)
def test_without_flags_the_settings_are_their_defaults(settings):
    assert parse(settings) == settings()


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_field_has_its_help(settings):
    assert list(field_help(settings)) == [field.name for field in fields(settings)]
    assert all(field_help(settings).values())


@pytest.mark.parametrize(
    "words",
    [
        ["--latent-dim", "3", "--hidden-dims", "20", "10"],
        ["--latent_dim", "3", "--hidden_dims", "20,10"],
        ["--latent_dim=3", "--hidden-dims=20,10"],
        ["--hidden-dims", "20,", "10", "--latent-dim=3"],
    ],
)
def test_dashes_underscores_and_lists(words):
    assert parse(PairSettings, *words) == PairSettings(latent_dim=3, hidden_dims=(20, 10))


def test_a_list_may_be_empty():
    assert parse(PairSettings, "--hidden-dims", "--latent-dim", "3") == PairSettings(3, ())


def test_values_keep_their_underscores_and_commas():
    assert parse(DataSettings, "--data=my_data,1.npy").data == "my_data,1.npy"
    assert parse(DataSettings, "--data", "my_data,1.npy", "--data-root", "a_b").data_root == "a_b"


def test_optional_numbers():
    assert parse(EvaluateSettings, "--num-observations", "7").num_observations == 7
    assert parse(TrainingSettings, "--learning-rate", "1e-2", "--seed", "-1").learning_rate == 0.01


@pytest.mark.parametrize(
    ("settings", "words", "message"),
    [
        (PairSettings, ["--latent-dim", "x"], "--latent-dim: expected a whole number, got x"),
        (PairSettings, ["--hidden-dims", "5", "x"], "--hidden-dims: expected a whole number, got x"),
        (TrainingSettings, ["--learning-rate", "fast"], "--learning-rate: expected a number, got fast"),
        (EvaluateSettings, ["--num-observations", "2.5"], "--num-observations: expected a whole number, got 2.5"),
        (DataSettings, ["--policy", "gray"], "argument --policy: invalid choice: 'gray'"),
        (PairSettings, ["--latent", "3"], "unrecognized arguments: --latent 3"),
    ],
)
def test_wrong_values_are_told_in_two_lines(capsys, settings, words, message):
    with pytest.raises(SystemExit, match="2"):
        parse(settings, *words)
    usage, problem = capsys.readouterr().err.splitlines()
    assert usage == "usage: bayes-vae test [--flag value ...]"
    assert problem.startswith(f"bayes-vae test: {message}")
    assert problem.endswith("(see bayes-vae test --help)")


def test_help_shows_defaults_and_survives_a_percent_sign():
    @dataclass(frozen=True)
    class Odd:
        """Odd settings.

        Args:
            share_above: how many
                above 5 %.
        """

        share_above: float = 0.5

    parser = Flags("test", "", "A test.")
    parser.add_settings(Odd, "odd")
    assert "--share-above X  how many above 5 % (default: 0.5)" in parser.format_help()


def test_only_some_fields_and_other_defaults():
    parser = Flags("test", "", "A test.")
    parser.add_settings(TrainingSettings, "training", only=["epochs", "seed"], epochs=3)
    options = parser.parse_args([])
    assert vars(options) == {"epochs": 3, "seed": 0}
    assert build_settings(TrainingSettings, options) == TrainingSettings(epochs=3)
