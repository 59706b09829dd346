"""Each script in experiments/ runs, with settings that make it short."""

import importlib
import inspect
import math
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "study"))
SHORT = {
    "epochs": 1,
    "num_particles": 4,
    "num_observations": 12,
    "num_temperatures": 3,
    "kl_weights": (1.0, 3.0),
    "device": "cpu",
    "seed": 1,
}


def test_there_are_scripts():
    assert "svi_by_hand" in NAMES


@pytest.mark.usefixtures("clean_globals")
@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_and_gives_its_figures(name, capsys, tmp_path):
    main = importlib.import_module(f"bayes_vae.experiments.{name}").main
    known = inspect.signature(main).parameters
    assert {"seed", "device"} <= set(known)
    settings = {**SHORT, "out": str(tmp_path)}
    figures = main(**{key: value for key, value in settings.items() if key in known})
    assert all(isinstance(value, float) and math.isfinite(value) for value in figures.values())
    assert "out" not in known or (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    said = " ".join(capsys.readouterr().out.split())
    question, answer = importlib.import_module(f"bayes_vae.experiments.{name}").__doc__.split("\n\n")[:2]
    assert said.startswith(" ".join(f"{question} {answer}".split())), "the plain answer comes before the numbers"
    assert "On the digits" not in answer, "the plain answer comes before the numbers"


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
