"""Flags out of settings."""

from dataclasses import dataclass, fields

import pytest

from bayes_vae.cli.flags import Flags, build_settings, field_help
from bayes_vae.errors import SettingsError
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
        ["--hidden-dims", "20", ",", "10", "--latent-dim", "3"],
        ["--hidden-dims=20", "10", "--latent-dim", "3"],
        ["--hidden-dims", "20, 10", "--latent-dim", "3"],
    ],
)
def test_dashes_underscores_and_lists(words):
    assert parse(PairSettings, *words) == PairSettings(latent_dim=3, hidden_dims=(20, 10))


@pytest.mark.parametrize("words", [["--hidden-dims"], ["--hidden-dims="], ["--hidden-dims", ""]])
def test_a_list_may_be_empty(words):
    assert parse(PairSettings, *words, "--latent-dim", "3") == PairSettings(3, ())


def test_a_list_ends_at_the_next_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(PairSettings, "--hidden-dims", "5", "-h")
    assert capsys.readouterr().out.startswith("usage: bayes-vae test")


def test_of_a_flag_that_is_repeated_the_last_counts():
    assert parse(PairSettings, "--latent-dim", "3", "--latent_dim=4") == PairSettings(latent_dim=4)
    assert parse(PairSettings, "--hidden-dims", "3", "4", "--hidden-dims", "5").hidden_dims == (5,)


def test_values_keep_their_underscores_and_commas():
    assert parse(DataSettings, "--data=my_data,1.npy").data == "my_data,1.npy"
    assert parse(DataSettings, "--data", "my_data,1.npy", "--data-root", "a_b").data_root == "a_b"


def test_optional_numbers():
    assert parse(EvaluateSettings, "--num-observations", "7").num_observations == 7
    assert parse(TrainingSettings, "--learning-rate", "1e-2", "--seed", "-1").learning_rate == 0.01


@pytest.mark.parametrize("words", [["--kl-weight", "-2.5e-1"], ["--kl-weight", "-.25"], ["--kl-weight=-25E-2"]])
def test_negative_numbers_in_every_notation(words):
    with pytest.raises(SettingsError, match=r"kl_weight must be at least 0, got -0.25"):
        parse(TrainingSettings, *words)


def test_negative_numbers_in_a_list():
    with pytest.raises(SettingsError, match="each of hidden_dims must be at least 1, got -6"):
        parse(PairSettings, "--hidden-dims", "5", "-6")


@pytest.mark.parametrize(
    ("settings", "words", "message"),
    [
        (PairSettings, ["--latent-dim", "x"], "--latent-dim: expected a whole number, got x"),
        (PairSettings, ["--hidden-dims", "5", "x"], "--hidden-dims: expected a whole number, got x"),
        (TrainingSettings, ["--learning-rate", "fast"], "--learning-rate: expected a number, got fast"),
        (EvaluateSettings, ["--num-observations", "2.5"], "--num-observations: expected a whole number, got 2.5"),
        (PairSettings, ["--hidden-dims", "5,x"], "--hidden-dims: expected a whole number, got x"),
        (PairSettings, ["--hidden-dims", "5", "--rank"], "argument --rank: expected one argument"),
        (TrainingSettings, ["--epochs", "1e2"], "--epochs: expected a whole number, got 1e2"),
        (TrainingSettings, ["--epochs", ""], "--epochs: expected a whole number, got nothing"),
        (TrainingSettings, ["--epochs="], "--epochs: expected a whole number, got nothing"),
        (TrainingSettings, ["--epochs"], "argument --epochs: expected one argument"),
        (TrainingSettings, ["--epochs", "3", "4"], "unrecognized arguments: 4 (see"),
        (TrainingSettings, ["--epochs", "9" * 5000], "--epochs: expected a whole number, got 999"),
        (TrainingSettings, ["--learning-rate", "nan"], "--learning-rate: expected a number, got nan"),
        (TrainingSettings, ["--learning-rate", "-inf"], "argument --learning-rate: expected one argument"),
        (TrainingSettings, ["--learning-rate", "1e400"], "--learning-rate: expected a number, got 1e400"),
        (TrainingSettings, ["--learning-rate", "0x10"], "--learning-rate: expected a number, got 0x10"),
        (DataSettings, ["--data", ""], "--data: expected text, got nothing"),
        (DataSettings, ["--data"], "argument --data: expected one argument"),
        (DataSettings, ["--policy="], "argument --policy: invalid choice: ''"),
        (DataSettings, ["--policy", "gray"], "argument --policy: invalid choice: 'gray'"),
        (PairSettings, ["--latent", "3"], "unrecognized arguments: --latent 3; did you mean --latent-dim?"),
        (PairSettings, ["--hidden-dim=3"], "unrecognized arguments: --hidden-dim=3; did you mean --hidden-dims?"),
        (PairSettings, ["word", "--rnak", "3"], "unrecognized arguments: word --rnak 3; did you mean --rank?"),
        (PairSettings, ["--qwx"], "unrecognized arguments: --qwx (see"),
        (PairSettings, ["-l", "3"], "unrecognized arguments: -l 3 (see"),
        (PairSettings, ["--", "--rank", "3"], "unrecognized arguments: -- --rank 3"),
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
