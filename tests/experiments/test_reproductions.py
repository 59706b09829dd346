"""Published figures that scripts reproduce: exact ones in full, and what the results file says."""

import json

import pytest
import torch

import bayes_vae as bv
from bayes_vae.cli import main as command
from bayes_vae.experiments.reproduce import iwae_table, linear_vae
from bayes_vae.models import LinearGaussianVAE

pytestmark = pytest.mark.usefixtures("clean_globals")


@pytest.fixture(scope="module")
def moments():
    x = bv.load_data("digits", policy="none").train.observations().flatten(1).double()
    return x, torch.cov(x.T, correction=0)


@pytest.mark.parametrize("noise", [None, 0.6])
def test_the_best_evidence_is_that_of_the_principal_directions(moments, noise):
    """W = U (Λ − σ²)^½ of Tipping and Bishop, eq. 7, has the evidence of the closed form, and no other W has more."""
    x, covariance = moments
    eigenvalues, directions = torch.linalg.eigh(covariance)
    eigenvalues, directions = eigenvalues.flip(0), directions.flip(1)
    best, used = linear_vae.best_evidence(eigenvalues.clamp(min=0), 8, noise)
    variance = eigenvalues[8:].mean() if noise is None else torch.tensor(noise**2, dtype=torch.float64)
    model = LinearGaussianVAE(8, (64,)).double()
    weight = directions[:, :8] * (eigenvalues[:8] - variance).clamp(min=0).sqrt()
    model.load_state_dict({"weight": weight, "bias": x.mean(0), "log_scale": variance.log() / 2})
    with torch.no_grad():
        assert float(model.log_evidence(x).mean()) == pytest.approx(best, abs=1e-9)
    assert used == int((eigenvalues[:8] > variance).sum())
    model.weight.data += 0.01 * torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        assert float(model.log_evidence(x).mean()) < best


def test_the_elbo_from_the_covariance_is_that_of_the_pair(moments):
    """Of random weights, with the best guide; another guide of independent dimensions has a lower one."""
    x, covariance = moments
    weight = torch.randn(64, 3, generator=torch.Generator().manual_seed(1)).double()
    noise = torch.tensor(0.7, dtype=torch.float64)
    found = linear_vae.elbo_of_best_guide(covariance, weight, noise.log())
    end = linear_vae.judged(x, weight, noise, torch.eye(64).double())
    assert float(found) == pytest.approx(end.elbo, abs=1e-9)
    assert end.elbo < end.log_evidence - 1e-3


def test_every_start_ends_at_probabilistic_pca(capsys, tmp_path):
    file = tmp_path / "there" / "linear.json"
    flags = ["--num-starts", "2", "--latent-dim", "4", "--results", str(file)]
    assert command(["experiment", "reproduce/linear-vae", *flags]) == 0
    said, written = capsys.readouterr().out, json.loads(file.read_text())
    found = {figure["name"]: figure for figure in written["figures"]}
    assert len(found) == 13
    for name, figure in found.items():
        assert abs(figure["value"] - figure["published"]) < 1e-3, name
    assert "no start ended in a worse maximum" in said
    assert written["settings"]["num_starts"] == 2
    assert {"versions", "machine", "seconds", "reproduction"} <= set(written)


def test_reproductions_stand_in_the_list_of_experiments(capsys):
    assert command(["experiment"]) == 0
    assert "reproduce/linear_vae" in capsys.readouterr().out


def test_a_row_is_trained_once_and_then_evaluated(capsys, tmp_path):
    small = {"data": "digits", "epochs": 1, "num_observations": 12, "num_particles": 40, "num_annealed": 3}
    small |= {"rows": ("vae", "iwae_5_two"), "runs": str(tmp_path / "runs"), "device": "cpu"}
    first = iwae_table.main(**small)
    assert "epoch 1/1" in capsys.readouterr().err
    file = tmp_path / "table.json"
    assert iwae_table.main(**small, results=str(file)) == first
    assert "epoch" not in capsys.readouterr().err
    assert set(bv.load(tmp_path / "runs" / "vae")[0].state_dict()) > {"decoder.0.weight"}
    figures = json.loads(file.read_text())["figures"]
    assert [figure["published"] for figure in figures] == [None] * 7, "nothing is published of the digits"
    assert figures[0]["differs"] == "1 of 3,280 epochs, batches of 100, not 20, 12 test images"
    for row in ("VAE, one layer", "importance weighted, k = 5, two layers"):
        assert first[f"{row}: −L_40"] < first[f"{row}: −ELBO"]


def test_a_row_that_was_interrupted_goes_on(capsys, tmp_path):
    data = bv.load_data("digits", policy="stochastic")
    row, settings = iwae_table.ROWS["vae"], {"batch_size": 500, "seed": 0, "device": "cpu"}
    cpu = torch.device("cpu")
    whole = iwae_table.trained(row, data, tmp_path / "whole", {**settings, "epochs": 2}, cpu)

    def stop(state):
        raise KeyboardInterrupt

    model, guide = iwae_table.new_pair(row.pair, data, 0, cpu)
    sections = {"data": iwae_table.as_json(iwae_table.DataSettings(policy="stochastic"))}
    with pytest.raises(KeyboardInterrupt):
        bv.fit(
            model, guide, data, out=tmp_path / "stopped", schedule="burda", learning_rate=1e-3, epochs=2,
            callbacks=[stop], interruptible=False, sections=sections, **settings,
        )  # fmt: skip
    again = iwae_table.trained(row, data, tmp_path / "stopped", {**settings, "epochs": 2}, cpu)
    for one, other in zip(whole, again, strict=True):
        for name, weight in one.state_dict().items():
            assert torch.equal(weight, other.state_dict()[name]), name


def test_a_row_that_is_not_there_is_refused(capsys):
    assert command(["experiment", "reproduce/iwae-table", "--rows", "vea"]) == 2
    assert "no row is called vea: the rows are vae, iwae_5" in capsys.readouterr().err
