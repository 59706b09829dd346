"""``bayes-vae experiment``."""

import re

import pytest

from bayes_vae.cli.experiment import experiments


def test_without_a_name_the_scripts_are_listed(command):
    outcome = command("experiment")
    assert outcome.code == 0
    assert re.search(r"^  svi_by_hand +The whole idea as a visible loop", outcome.out, re.MULTILINE)
    assert command("experiment", "--json").json == experiments()


@pytest.mark.usefixtures("clean_globals")
def test_a_script_runs_with_the_flags_of_its_main(command):
    words = ["--epochs", "1", "--num-particles", "4", "--device", "cpu", "--json"]
    outcome = command("experiment", "svi-by-hand", *words)
    assert outcome.code == 0
    assert outcome.json["gap"] >= 0
    assert "epoch   1   training ELBO" in outcome.err


def test_an_unknown_script_is_answered_with_the_closest(command):
    outcome = command("experiment", "svi_by_hnd")
    assert outcome.code == 2
    assert outcome.err == (
        "bayes-vae: no experiment is called 'svi_by_hnd': did you mean svi_by_hand? "
        "`bayes-vae experiment` lists them.\n"
    )
