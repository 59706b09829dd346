"""``bayes-vae refit-prior``: the run that it saves, what it refuses, and every command on the new run."""

import errno
import json

import pytest
from matplotlib.image import imread

from bayes_vae.cli import main
from bayes_vae.runs import RunDirectory, load

QUICK = ["--num-observations", "20", "--num-particles", "10", "--num-temperatures", "0", "--epochs", "20"]


@pytest.fixture(scope="module")
def holed(tmp_path_factory, isolated_globals):
    """A run whose codes lie far from its prior: the KL counted a tenth in training."""
    out = tmp_path_factory.mktemp("holed") / "run"
    words = ["--latent-dim", "3", "--hidden-dims", "16", "--epochs", "5", "--batch-size", "50", "--kl-weight", "0.1"]
    with isolated_globals():
        assert main(["train", *words, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def refitted(holed, tmp_path_factory, isolated_globals):
    """That run with a refitted mixture."""
    out = tmp_path_factory.mktemp("refitted") / "run"
    with isolated_globals():
        assert main(["refit-prior", str(holed), "--out", str(out), "--num-components", "5", *QUICK]) == 0
    return out


def test_it_saves_a_run_with_the_new_prior(holed, refitted):
    old, new = load(holed)[0], load(refitted)[0]
    assert (old.prior_family.name, new.prior_family.name) == ("standard-normal", "mixture")
    assert new.prior_family.options == {"num_components": 5}
    for name, value in old.decoder.state_dict().items():
        assert (value == new.decoder.state_dict()[name]).all()
    directory = RunDirectory(refitted)
    assert directory.settings["refit_prior"]["num_components"] == 5
    assert directory.settings["data"] == RunDirectory(holed).settings["data"]
    assert " && bayes-vae refit-prior " in directory.config["command"]
    assert (
        directory.read_file("figures/refitted_prior.png") == (refitted / "figures" / "refitted_prior.png").read_bytes()
    )
    result = json.loads(directory.read_file("refitted_prior.json"))
    assert result["kept"] == "new"
    assert result["log_evidence"]["rise"]["value"] > 0
    card = (refitted / "MODEL_CARD.md").read_text()
    assert "A variational autoencoder, its prior refitted to the codes of the training rows" in card
    assert "## Refitted prior" in card
    assert "--resume" not in card
    assert imread(refitted / "figures" / "refitted_prior.png").shape[1] > 500


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--num-particles", "2", "--num-temperatures", "0", "--num-observations", "5"],
        ["compare", "--rungs", "1,2", "--num-temperatures", "0", "--num-observations", "5"],
        ["explain", "--num-particles", "2", "--num-temperatures", "0"],
        ["rate-distortion", "--num-temperatures", "4", "--num-observations", "3"],
    ],
)
def test_commands_open_the_new_run(command, refitted, words):
    outcome = command(words[0], refitted, *words[1:], "--json")
    assert outcome.code == 0
    assert outcome.json


def test_diagnose_and_report_open_the_new_run(command, refitted):
    assert command("diagnose", refitted, "--num-observations", "20", "--seconds", "5").code in (0, 1, 3)
    few = ["--num-observations", "4", "--num-particles", "4", "--num-temperatures", "0", "--num-gap-observations", "0"]
    few += ["--num-encoded", "20", "--num-simulated", "0", "--num-diagnosed", "0"]
    assert command("report", refitted, *few).code == 0
    said = (refitted / "report.html").read_text()
    assert "are a pair that was trained before; its prior, " in said
    assert "were trained by SVI" not in said


def test_it_can_be_refitted_again_and_says_where_nothing_is_gained(command, refitted, tmp_path):
    """A fit with far too large steps is worse than the prior that is there: exit code 1, and no run."""
    words = ["--out", tmp_path / "again", "--prior", "learned-normal", *QUICK[:-1], "1", "--learning-rate", "1"]
    outcome = command("refit-prior", refitted, *words, "--json")
    assert outcome.code == 1
    assert outcome.json["kept"] == "old"
    assert outcome.json["new_run"] is None
    assert not (tmp_path / "again").exists()
    text = command("refit-prior", refitted, *words)
    assert "he old prior is kept" in text.out
    assert f"Nothing was written: keep {refitted}" in text.out


def test_no_training_repeats_or_resumes_it(command, refitted, tmp_path):
    repeated = command("train", "--config", refitted, "--out", tmp_path / "new")
    assert repeated.code == 2
    assert "is a run whose prior was refitted, which training cannot repeat" in repeated.err
    resumed = command("train", "--resume", refitted, "--epochs", "9", "--out", tmp_path / "new")
    assert resumed.code == 2
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_nothing_but_the_figures_are_printed(command, holed, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bayes_vae.runs.files.os.fsync", full)
    outcome = command("refit-prior", holed, "--out", tmp_path / "new", "--num-components", "5", *QUICK, "--json")
    assert outcome.code == 2
    assert outcome.json["kept"] == "new"
    assert "could not be written (" in outcome.err
    assert not (tmp_path / "new").exists()


def test_the_figures_are_printed(command, holed, tmp_path):
    outcome = command("refit-prior", holed, "--out", tmp_path / "flow", "--prior", "flow", *QUICK)
    assert outcome.code == 0
    assert "he new prior is kept." in outcome.out
    assert outcome.out.count("marginal_kl_to_prior") == 2
    assert f"Saved as {tmp_path / 'flow'}; drawn in" in outcome.out
    again = command("refit-prior", holed, "--out", tmp_path / "flow", "--prior", "flow", *QUICK)
    assert again.code == 2
    assert "already holds a run" in again.err
    over = command("refit-prior", holed, "--out", tmp_path / "flow", "--prior", "flow", *QUICK, "--overwrite")
    assert over.code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say where the run with the new prior goes: --out NEWRUN"),
        (["--out", "RUN"], "--out is the run itself"),
        (
            ["--out", "new", "--policy", "threshold"],
            "fits to the training rows of the run itself, but these are other data",
        ),
        (["--out", "new", "--prior", "cauchy"], "prior must be one of standard-normal, learned-normal, mixture"),
        (["--out", "new", "--prior", "standard-normal"], "has nothing to fit"),
        (["--out", "new", "--learning-rate", "0"], "learning_rate must be above 0, got 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(command, holed, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    outcome = command("refit-prior", holed, *(holed if word == "RUN" else word for word in words))
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "new").exists()
