"""``bayes-vae explain``."""

import shutil

import pytest
import torch

import bayes_vae as bv
from bayes_vae.cli import main
from bayes_vae.cli.explain import explain, explanation_text
from bayes_vae.cli.loading import open_run
from bayes_vae.errors import SettingsError
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import ExplainSettings

FEW = ["--num-particles", "40", "--num-temperatures", "2", "--num-points", "121"]


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, of two latent dimensions, to write in."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(scope="module")
def deep(tmp_path_factory, isolated_globals):
    """A run with three latent dimensions."""
    path = tmp_path_factory.mktemp("deep") / "run"
    words = ["train", "--latent-dim", "3", "--hidden-dims", "8", "--epochs", "1", "--out", str(path)]
    with isolated_globals():
        assert main(words) == 0
    return path


def terms_of(path, place):
    """The run's pair, and the one observation with its index."""
    test = bv.load_data("digits", policy="stochastic").test
    return *bv.load(path), test.observations([place], seed=3), test.index[[place]]


@pytest.mark.parametrize("points", ["121", "9"])
def test_the_terms_are_those_of_the_one_observation(command, run, within, points, recwarn):
    """Sums over the grid where it is fine enough; means over draws from q where it is too coarse."""
    few = [*FEW[:-1], points]
    result = command("explain", run, *few, "--index", "5", "--seed", "3", "--json").json
    model, guide, x, index = terms_of(run, 5)
    terms = bv.elbo_terms(model, guide, x, 40, seed=3, index=index)
    draws = bv.log_terms(model, guide, x, 40, seed=3, index=index)
    found = {name: term["value"] for name, term in result["terms"].items()}
    means = {"elbo": terms.elbo, "log_prior": draws.log_prior.mean(), "log_guide": draws.log_guide.mean()}
    errors = {"elbo": terms.elbo_error, **{name: getattr(draws, name).std() / 40**0.5 for name in list(means)[1:]}}
    assert result["grid"]["resolved"] == (points == "121")
    for name, mean in means.items():
        if points == "9":
            assert found[name] == pytest.approx(float(mean), rel=1e-6)
            assert result["terms"][name]["monte_carlo_error"] == pytest.approx(float(errors[name]))
        else:
            within(mean.detach().reshape(1), torch.tensor([found[name]]), errors[name].detach().reshape(1))
            assert result["terms"][name]["monte_carlo_error"] < 1e-3
            assert result["terms"][name]["estimator"] == "sum over a grid of 121 × 121"
    assert result["kl_per_dimension"] == pytest.approx(terms.kl_per_dimension[0].tolist())
    assert result["label"] == int(bv.load_data("digits").test.labels[5])


def test_the_exact_figures_add_up_and_none_lies_above_the_evidence(command, run):
    """On a grid log p(x) = ELBO + KL(q to posterior) to the last digit that is shown, and no gap is negative."""
    for index in ("5", "7", "11"):
        result = command("explain", run, *FEW, "--index", index, "--json").json
        found = {name: term["value"] for name, term in result["terms"].items()}
        assert found["log_evidence"] == result["grid"]["log_evidence"]
        assert found["inference_gap"] == result["grid"]["inference_gap"] > 0
        assert found["elbo"] + found["inference_gap"] == pytest.approx(found["log_evidence"], abs=1e-9)
        split = found["expected_log_likelihood"] - found["kl_to_prior"]
        assert found["elbo"] == pytest.approx(split, abs=1e-4)  # the KL is the closed form, in float32
        entropy = found["log_guide"] - found["log_prior"]
        assert found["kl_to_prior"] == pytest.approx(entropy, abs=1e-4)


def test_two_dimensions_are_drawn_on_a_grid_where_bayes_rule_holds(command, run):
    result = command("explain", run, *FEW, "--index", "5", "--seed", "3", "--json").json
    grid = result["grid"]
    assert result["why_no_grid"] == ""
    joint = grid["log_prior"] + grid["log_likelihood"]
    assert grid["log_posterior"] == pytest.approx(joint - grid["log_evidence"], abs=1e-9)
    model, guide, x, index = terms_of(run, 5)
    z = torch.tensor(grid["z"])
    assert grid["log_likelihood"] == pytest.approx(float(model.likelihood(z).log_prob(x[0]).detach()), rel=1e-5)
    assert grid["log_guide"] == pytest.approx(float(guide.variational_posterior(x).log_prob(z).detach()), rel=1e-5)
    exact = bv.quadrature_log_evidence(model, guide, x, index=index).log_evidence
    assert grid["log_evidence"] == pytest.approx(float(exact), abs=1e-3)
    assert result["figure"] == str(run / "figures" / "explain-5.png")
    assert RunDirectory(run).read_file("figures/explain-5.png").startswith(b"\x89PNG")


def test_a_person_reads_the_rule_and_where_it_was_drawn(command, run):
    outcome = command("explain", run, *FEW, "--index", "5")
    assert outcome.code == 0
    assert "Test observation 5 of digits (label " in outcome.out
    assert "log prior + log likelihood − log evidence = log posterior" in outcome.out
    assert f"Drawn in {run / 'figures' / 'explain-5.png'}" in outcome.out


def test_more_dimensions_have_no_grid_and_the_reason_is_said(deep):
    settings = ExplainSettings(num_particles=40, num_temperatures=2, num_points=121)
    opened = open_run(str(deep), "cpu", None, None, None)
    result = explain(opened, settings)
    opened.store()
    text = explanation_text(result)
    assert "No grid: z has 3 numbers, and 121 nodes along each would make 2e+06; the terms are means over" in text
    assert "KL by dimension: " in text
    assert result["grid"] is None
    assert sum(result["kl_per_dimension"]) == pytest.approx(result["terms"]["kl_to_prior"]["value"], rel=1e-6)
    assert RunDirectory(deep).read_file("figures/explain-0.png").startswith(b"\x89PNG")


def test_another_policy_has_a_picture_of_its_own(command, run):
    result = command("explain", run, *FEW, "--policy", "threshold", "--json").json
    assert result["figure"] == str(run / "figures" / "explain-0-threshold.png")


@pytest.mark.parametrize("place", ["300", "-1"])
def test_an_index_that_is_none_is_one_line(command, run, place):
    outcome = command("explain", run, "--index", place)
    assert (outcome.code, outcome.out) == (2, "")
    message = f"index must be one of the 300 test observations of digits, 0 to 299, got {place}."
    assert outcome.err == f"bayes-vae: {message}\n"


@pytest.mark.parametrize(("name", "least"), [("num_particles", 2), ("num_temperatures", 0), ("num_points", 5)])
def test_numbers_that_are_too_small_are_refused(name, least):
    with pytest.raises(SettingsError, match=f"{name} must be at least {least}, got {least - 1}"):
        ExplainSettings(**{name: least - 1})


def test_what_is_no_run_is_one_line(command, tmp_path):
    outcome = command("explain", tmp_path / "nothing")
    assert outcome.code == 2
    assert "there is no such folder" in outcome.err
