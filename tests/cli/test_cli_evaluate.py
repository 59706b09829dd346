"""``bayes-vae evaluate`` and ``bayes-vae compare``."""

import json
import math
import shutil
from pathlib import Path

import pytest
from processes import evaluations
from processes.starting import values

import bayes_vae as bv
from bayes_vae.cli.results import annealing, bits
from bayes_vae.cli.tables import annealing_text, bits_text, evidence_lines
from bayes_vae.estimators.arviz_import import import_arviz
from bayes_vae.estimators.rungs.quadrature_rung import GRID
from bayes_vae.models import VAE
from bayes_vae.reference_pairs import reference_pair
from bayes_vae.runs import RunDirectory
from bayes_vae.runs.manifest import read_manifest

pytestmark = pytest.mark.libraries

FEW = ["--num-particles", "40", "--num-observations", "20"]
SHORT = ["--rungs", "1", "5", "50", "--num-observations", "20"]

EVERY_FIGURE = {
    "symbol",
    "name",
    "value",
    "monte_carlo_error",
    "data_error",
    "num_particles",
    "num_observations",
    "estimator",
    "data_policy",
    "kl_weight",
    "seed",
    "pixel_seed",
    "note",
    "reading",
}


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, to write in."""
    return shutil.copytree(trained, tmp_path / "run")


def test_the_terms_are_those_of_the_library(command, run):
    result = command("evaluate", run, *FEW, "--seed", "3", "--json").json
    data = bv.load_data("digits", policy="stochastic")
    x, index = data.test.observations(slice(0, 20), seed=3), data.test.index[:20]
    model, guide = bv.load(run)
    terms = bv.elbo_terms(model, guide, x, 40, seed=3, index=index).averages()
    bound = bv.estimate_log_evidence(model, guide, x, 40, seed=3, index=index).averages()
    terms["importance_weighted_bound"] = bound["log_evidence"]
    terms |= bv.quadrature_log_evidence(model, guide, x, seed=3, index=index, **GRID).averages()
    names = ["expected_log_likelihood", "kl_to_prior", "elbo", "importance_weighted_bound", "log_evidence"]
    assert list(result["terms"]) == [*names, "inference_gap"]
    for name in names:
        assert result["terms"][name]["value"] == pytest.approx(terms[name].value, rel=1e-6)
        assert result["terms"][name]["data_error"] == pytest.approx(terms[name].data_error, rel=1e-4)
    gap = result["terms"]["log_evidence"]["value"] - result["terms"]["elbo"]["value"]
    assert result["terms"]["inference_gap"]["value"] == pytest.approx(gap, abs=1e-6)
    assert result["reliability"]["doubling_step"] == pytest.approx(bound["doubling_step"].value, rel=1e-3)


def test_two_processes_print_once_what_one_prints(command, run):
    words = ["evaluate", run, *FEW, "--num-temperatures", "3", "--json"]
    one = command(*words).json
    (run / "evaluation.json").unlink()
    (first, printed), others = values(2, evaluations.command, *words)
    assert (first, others) == (0, (0, ""))
    two = json.loads(printed)
    for each in (one, two):
        each["annealing"].pop("seconds")
    for name, term in one["terms"].items():
        numbers = ("value", "monte_carlo_error", "data_error")
        for number in numbers:
            found, expected = (each["terms"][name].pop(number) for each in (two, one))
            assert found == (None if expected is None else pytest.approx(expected, rel=1e-4, abs=1e-6)), (name, term)
    assert two["terms"] == one["terms"]
    assert two["leading"] == one["leading"]
    assert json.loads((run / "evaluation.json").read_text())["terms"].keys() == one["terms"].keys()
    assert "z" in import_arviz().from_netcdf(run / "evaluation.nc").prior


def test_every_figure_carries_its_conditions(command, run):
    terms = command("evaluate", run, *FEW, "--seed", "3", "--json").json["terms"]
    conditions = {"num_observations": 20, "data_policy": "stochastic", "kl_weight": 1, "seed": 3}
    for name, term in terms.items():
        assert set(term) == EVERY_FIGURE
        assert conditions.items() <= term.items()
        assert term["num_particles"] == (0 if name in ("log_evidence", "inference_gap") else 40)
    assert terms["kl_to_prior"]["estimator"] == "closed form"
    assert terms["importance_weighted_bound"]["symbol"] == "L_40"
    assert terms["log_evidence"]["estimator"] == "quadrature on a grid, D = 2"
    assert terms["log_evidence"]["reading"]["kind"] == "quadrature"


def test_bits_per_dimension_of_a_probability(command, run):
    """64 pixels of zeros and ones; the sentence has the number of the JSON."""
    result = command("evaluate", run, *FEW, "--json").json
    bits, log_evidence = result["bits_per_dimension"], result["terms"]["log_evidence"]
    assert bits["value"] == pytest.approx(-log_evidence["value"] / 64 / math.log(2))
    assert bits["data_error"] == pytest.approx(log_evidence["data_error"] / 64 / math.log(2))
    assert bits["monte_carlo_error"] == pytest.approx(log_evidence["monte_carlo_error"] / 64 / math.log(2))
    assert 0 < bits["value"] < 1
    assert f"{bits['value']:.4f} bits per dimension ± " in command("evaluate", run, *FEW).out


def test_a_density_has_no_bits_and_a_blank_error_stays_blank(isolated_globals):
    term = {"value": -3.0, "monte_carlo_error": math.nan, "data_error": 0.2, "estimator": "importance"}
    networks = {"latent_dim": 1, "data_shape": (3,), "hidden_dims": (2,)}
    with isolated_globals():
        density, probability = VAE(**networks, likelihood="normal"), VAE(**networks)
    assert bits(term, density) is None
    assert bits_text(None) == []
    (line,) = bits_text(bits(term, probability))
    assert line.startswith("1.4427 bits per dimension ± 0.0962 data, from log p(x)")


def test_evaluation_json_is_part_of_the_run(command, run):
    result = command("evaluate", run, *FEW, "--json").json
    stored = json.loads(RunDirectory(run).read_file("evaluation.json"))
    written = {"file": str(run / "evaluation.json"), "container": str(run / "evaluation.nc")}
    assert result == {"run": str(run), **stored, **written}


def test_evaluation_nc_is_what_arviz_reads(command, run, tmp_path):
    result = command("evaluate", run, *FEW, "--num-draws", "3", "--json").json
    content = RunDirectory(run).read_file("evaluation.nc")
    (tmp_path / "copy.nc").write_bytes(content)
    container = import_arviz().from_netcdf(tmp_path / "copy.nc")
    assert container.variational_posterior["z"].shape[:3] == (1, 3, 20)
    elbo = container.sample_stats["elbo"].mean().item()
    assert elbo == pytest.approx(result["terms"]["elbo"]["value"], rel=1e-6)
    assert not hasattr(container, "posterior")
    labels = bv.load_data("digits").test.labels[:20]
    assert container.constant_data["labels"].values.tolist() == labels.tolist()


def test_a_run_of_double_precision_is_evaluated_in_it(command, tmp_path, tiny):
    assert command("train", *tiny, "--precision", "64", "--out", tmp_path / "run").code == 0
    outcome = command("evaluate", tmp_path / "run", *FEW, "--num-temperatures", "5", "--json")
    assert outcome.code == 0
    assert outcome.json["terms"]["log_evidence"]["value"] < 0
    assert command("compare", tmp_path / "run", *SHORT, "--num-temperatures", "5").code == 0


def test_no_draws_write_no_container(command, run):
    result = command("evaluate", run, *FEW, "--num-draws", "0", "--json").json
    assert result["container"] is None
    assert not (run / "evaluation.nc").exists()


def test_a_table_for_a_person(command, run):
    outcome = command("evaluate", run, *FEW)
    assert outcome.code == 0
    for symbol in ("E_q log p(x|z)", "KL(q(z|x) ‖ p(z))", "ELBO", "log p(x)", "± Monte Carlo", "± data"):
        assert symbol in outcome.out
    assert "effective sample size" in outcome.out
    assert "50 temperatures, 4 chains," in outcome.out
    assert "the last doubling gained" in outcome.out
    assert (
        "Nats per observation · K = 40 · N = 20 test observations of digits · data policy: stochastic · KL weight 1 · "
        "seed 0." in outcome.out
    )


def test_observations_that_failed_are_counted_below_the_table():
    reading = {"kind": "quadrature", "failed": 2, "num_observations": 20}
    evidence = {"estimator": "quadrature on a grid, D = 2", "reading": reading}
    words = "quadrature: the first error is from refinement, not Monte Carlo; not converged for 2 of 20"
    assert evidence_lines(evidence) == ["", f"log p(x), quadrature on a grid, D = 2: {words}."]
    assert evidence_lines({**evidence, "reading": {**reading, "failed": 0}}) == []


def test_a_start_at_several_modes_is_said_below_the_table():
    pair = reference_pair("bimodal")
    found = bv.annealed_log_evidence(pair.model, pair.guide, pair.x, num_temperatures=2)
    assert found.start == "mixture of normals"
    text = annealing_text(annealing(found, ""))
    assert text.startswith("Annealed from normals fitted to the modes of each observation, from the guide and")


def test_with_few_particles_there_is_no_reliability_and_it_says_so(command, run):
    words = ["evaluate", run, "--num-particles", "6", "--num-observations", "5", "--num-temperatures", "0"]
    outcome = command(*words)
    assert "6 particles are too few for a k̂" in outcome.out
    assert "lower bound, not converged" in outcome.out
    assert "Not annealed: num_temperatures is 0." in outcome.out
    result = command(*words, "--json").json
    assert result["reliability"]["pareto_k_share_above"] is None
    assert result["reliability"]["pareto_k_threshold"] is None
    assert result["terms"]["importance_weighted_bound"]["monte_carlo_error"] is None


def test_more_observations_than_there_are_means_all(command, run):
    result = command("evaluate", run, "--num-particles", "2", "--num-observations", "99999", "--json").json
    assert result["terms"]["elbo"]["num_observations"] == 300


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_another_policy_is_noted(command, run, name):
    outcome = command(name, run, *(FEW if name == "evaluate" else SHORT), "--policy", "threshold", "--json")
    assert outcome.code == 0
    assert outcome.json["data"]["policy"] == "threshold"
    assert outcome.err.startswith(
        "note: data policy threshold, but the run was trained with stochastic: figures of different policies cannot be "
        "compared.\n"
    )


def test_other_data_are_noted(command, run, tmp_path):
    import numpy as np

    np.save(tmp_path / "other.npy", np.ones((40, 8, 8), dtype=np.uint8))
    outcome = command("evaluate", run, "--num-particles", "2", "--data", tmp_path / "other.npy", "--json")
    assert outcome.code == 0
    assert "note: these are not the data that the run was trained on (then digits, now other.npy)" in outcome.err


def test_figures_of_other_data_replace_none_of_the_runs_own(command, run, tmp_path):
    import numpy as np

    own = Path(command("evaluate", run, *FEW, "--json").json["file"])
    before = own.read_bytes()
    files = set()
    for value in (0, 1):
        np.save(tmp_path / "an other.npy", np.full((40, 8, 8), value, dtype=np.uint8))
        result = command("evaluate", run, *FEW, "--data", tmp_path / "an other.npy", "--json").json
        assert "evaluation-an_other_npy-" in result["file"]
        files |= {result["file"], result["container"]}
    assert len(files) == 4
    assert own.read_bytes() == before
    assert files < {str(run / name) for name in read_manifest(run)}


def test_the_files_of_an_evaluation_are_of_the_same_one(command, run):
    assert command("evaluate", run, *FEW, "--json").json["container"]
    assert (run / "evaluation.nc").exists()
    assert command("evaluate", run, *FEW, "--num-draws", "0", "--json").json["container"] is None
    assert not (run / "evaluation.nc").exists()
    assert "evaluation.nc" not in read_manifest(run)


def test_a_ladder_without_k_leaves_no_older_figure_of_it(command, run):
    assert (
        command("compare", run, "--rungs", "1", "50", *SHORT[SHORT.index("--num-observations") :], "--json").code == 0
    )
    assert (run / "figures" / "pareto_k.png").exists()
    result = command("compare", run, "--rungs", "1", "5", "--num-observations", "6", "--json").json
    assert result["pareto_k_figure"] is None
    assert not (run / "figures" / "pareto_k.png").exists()


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_what_is_no_run_is_one_line(command, tmp_path, name):
    outcome = command(name, tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert "is not a run directory" in outcome.err


def test_a_run_of_unnamed_data_asks_for_them(command, tmp_path, isolated_globals):
    import torch

    from bayes_vae.settings import PairSettings
    from bayes_vae.training import build_pair

    pixels = torch.zeros(40, 8, 8, dtype=torch.uint8)
    data = bv.load_data(pixels, policy="threshold")
    with isolated_globals(seed=0):
        run = bv.fit(*build_pair(PairSettings(2, (4,)), data), data, epochs=1, progress="none")
    bv.save(run, tmp_path / "run")
    outcome = command("evaluate", tmp_path / "run")
    assert outcome.code == 2
    assert "was trained on 'array', which is not a data set that can be loaded by name" in outcome.err
    assert "--data FILE" in outcome.err


def test_a_run_saved_in_python_finds_its_data_by_name(command, tmp_path, isolated_globals):
    from bayes_vae.settings import PairSettings
    from bayes_vae.training import build_pair

    data = bv.load_data("digits", policy="threshold")
    with isolated_globals(seed=0):
        run = bv.fit(*build_pair(PairSettings(2, (4,)), data), data, epochs=1, progress="none")
    bv.save(run, tmp_path / "run")
    outcome = command("evaluate", tmp_path / "run", *FEW, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json["data"] == {"name": "digits", "split": "test", "policy": "threshold"}


def test_given_data_alone_are_enough_for_a_run_of_unnamed_data(command, tmp_path, isolated_globals):
    import numpy as np

    from bayes_vae.settings import PairSettings
    from bayes_vae.training import build_pair

    pixels = np.eye(8, dtype=np.uint8)[np.arange(40) % 8]
    np.save(tmp_path / "mine.npy", pixels)
    data = bv.load_data(pixels, policy="static")
    with isolated_globals(seed=0):
        run = bv.fit(*build_pair(PairSettings(2, (4,)), data), data, epochs=1, progress="none")
    bv.save(run, tmp_path / "run")
    outcome = command("evaluate", tmp_path / "run", *FEW, "--data", tmp_path / "mine.npy", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json["data"] == {"name": "mine.npy", "split": "test", "policy": "static"}


def test_the_ladder_rises_and_is_drawn(command, run):
    result = command("compare", run, *SHORT, "--json").json
    bounds = [rung["value"] for rung in result["rungs"][:3]]
    assert bounds == sorted(bounds)
    assert [rung["name"] for rung in result["rungs"]] == ["ELBO", "L_5", "L_50", "annealed", "quadrature"]
    assert [rung["num_particles"] for rung in result["rungs"]] == [1, 5, 50, 4, 0]
    for rung in result["rungs"]:
        assert set(rung) == EVERY_FIGURE | {"seconds"}
    assert result["rungs"][3]["estimator"] == "annealed from the guide, 50 temperatures"
    assert result["rungs"][4]["estimator"] == "quadrature on a grid, D = 2"
    assert result["annealing"]["num_temperatures"] == 50
    for name in ("ladder", "pareto_k"):
        assert RunDirectory(run).read_file(f"figures/{name}.png").startswith(b"\x89PNG")


def test_the_ladder_as_a_table(command, run):
    outcome = command("compare", run, *SHORT, "--num-temperatures", "0")
    assert "The ELBO falls short of log p(x) by quadrature by" in outcome.out
    assert "Not annealed: num_temperatures is 0." in outcome.out
    assert (
        "K = 50 · N = 20 test observations of digits · data policy: stochastic · KL weight 1 · seed 0." in outcome.out
    )
    assert str(run / "figures" / "ladder.png") in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "--rungs", "1", "3", "5"], "rungs must start at 1"),
        (["compare", "--rungs"], "rungs must start at 1"),
        (["compare", "--tolerance", "0"], "tolerance must be positive"),
        (["compare", "--tolerance", "0.1", "--num-temperatures", "0"], "tolerance is of the annealed rungs"),
        (["compare", "--num-observations", "0"], "num_observations must be at least 1"),
        (["evaluate", "--num-particles", "1"], "num_particles must be at least 2"),
        (["evaluate", "--policy", "gray"], "unknown data policy 'gray'"),
        (["evaluate", "--device", "abacus"], "unknown device 'abacus'"),
    ],
)
def test_what_cannot_work_is_one_line(command, run, words, message):
    outcome = command(words[0], run, *words[1:])
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"bayes-vae: {message}")


def test_a_tolerance_out_of_reach_keeps_the_ladder_and_says_so(command, run, monkeypatch):
    monkeypatch.setattr("bayes_vae.estimators.annealing.annealed.MOST_TEMPERATURES", 2)
    words = ["--rungs", "1,2", "--num-observations", "4", "--num-temperatures", "1", "--tolerance", "1e-12"]
    outcome = command("compare", run, *words)
    assert outcome.code == 0
    assert "No converged rung: two levels still differ by" in outcome.out
    assert all(f"  {rung}  " in outcome.out for rung in ("ELBO", "L_2", "annealed"))
