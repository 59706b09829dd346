"""``bayes-vae demo``."""

from functools import partial
from pathlib import Path

from bayes_vae.cli import demo
from bayes_vae.settings import CompareSettings, EvaluateSettings
from bayes_vae.training.loop import Training


def test_the_demo_shows_everything(command, tmp_path):
    outcome = command("demo", "--epochs", "1", "--latent-dim", "2", "--out", tmp_path / "run")
    assert outcome.code == 0
    for words in ("p(z|x) = p(x|z) p(z) / p(x)", "prior", "likelihood", "evidence", "exact posterior", "guide"):
        assert words in outcome.out
    for name in ("expected_log_likelihood", "kl_to_prior", "elbo", "log_evidence", "L_500", "falls short of"):
        assert name in outcome.out
    figures = [word for word in outcome.out.split() if word.endswith(".png")]
    assert len(figures) == 5
    assert all(Path(figure).is_file() for figure in figures)
    page = tmp_path / "run" / "explore.html"
    assert f"The interactive page is {page}" in outcome.out
    assert page.stat().st_size > 50_000


def test_the_demo_for_a_program(command, tmp_path, monkeypatch):
    few = {"num_observations": 30, "num_temperatures": 5}
    monkeypatch.setattr(demo, "EvaluateSettings", partial(EvaluateSettings, **few))
    monkeypatch.setattr(demo, "CompareSettings", partial(CompareSettings, **few))
    result = command("demo", "--epochs", "1", "--latent-dim", "1", "--out", tmp_path / "run", "--json").json
    assert set(result) == {"training", "evaluation", "comparison", "page"}
    assert result["page"]["file"] == str(tmp_path / "run-plane" / "explore.html")
    assert (tmp_path / "run-plane" / "explore.html").stat().st_size > 50_000
    assert result["evaluation"]["terms"]["elbo"]["num_particles"] == 500


def test_the_demo_stops_where_it_was_interrupted(monkeypatch, command, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "step", interrupt)
    outcome = command("demo", "--latent-dim", "2", "--out", tmp_path / "run")
    assert outcome.code == 130
    assert "log_evidence" not in outcome.out
    assert outcome.err.endswith(f"Resume with: bayes-vae train --resume {tmp_path / 'run'}\n")
