"""Each script in experiments/ runs, with settings that make it short."""

import importlib
import inspect
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
SHORT = {"epochs": 1, "num_particles": 4, "device": "cpu", "seed": 1}


def test_there_are_scripts():
    assert "svi_by_hand" in NAMES


@pytest.mark.usefixtures("clean_globals")
@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_and_gives_its_figures(name, capsys):
    main = importlib.import_module(f"bayes_vae.experiments.{name}").main
    known = inspect.signature(main).parameters
    assert {"seed", "device"} <= set(known)
    figures = main(**{key: value for key, value in SHORT.items() if key in known})
    assert all(isinstance(value, float) for value in figures.values())
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_shows_and_how_long_it_takes(name):
    text = importlib.import_module(f"bayes_vae.experiments.{name}").__doc__
    assert len(text.partition("\n")[0]) < 120
    assert "Takes about" in text


@pytest.mark.usefixtures("clean_globals")
def test_svi_by_hand_sums_up_what_it_prints():
    from bayes_vae.experiments import svi_by_hand

    figures = svi_by_hand.main(epochs=1, num_particles=4, device="cpu")
    assert figures["elbo"] == pytest.approx(figures["expected_log_likelihood"] - figures["kl_to_prior"])
    assert figures["gap"] == pytest.approx(figures["log_evidence"] - figures["elbo"])
