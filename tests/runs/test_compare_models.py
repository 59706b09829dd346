"""Comparing pairs and runs by their evidence."""

import shutil
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.runs.designs import _design, designs_of
from bayes_vae.runs.directory import read_config

pytestmark = pytest.mark.usefixtures("clean_globals")


@pytest.fixture
def two_models():
    """Return observations of the first of two models, and both with exact guides."""
    torch.manual_seed(0)
    models = [LinearGaussianVAE(2, (5,), noise_scale=scale).double() for scale in (0.5, 1.0)]
    with torch.no_grad():
        x = models[0].sample(80, seed=3)
    return x, {name: (model, ExactLinearGaussianGuide(model)) for name, model in zip("ab", models, strict=True)}


def test_the_model_that_made_the_data_wins_by_the_closed_form(two_models):
    x, pairs = two_models
    found = bv.compare_models(pairs, x, num_particles=50, num_temperatures=8)
    truth = (pairs["a"][0].log_evidence(x) - pairs["b"][0].log_evidence(x)).detach()
    difference = found.differences[0]
    assert difference.best.name == "a"
    assert difference.verdict == "better"
    assert abs(difference.average.value - float(truth.mean())) <= 4 * difference.average.monte_carlo_error + 1e-9
    assert found.contenders[0].num_parameters == sum(weight.numel() for weight in pairs["a"][0].parameters())
    assert found.contenders[0].elbo.shape == (80,)


def test_each_model_has_draws_of_its_own_and_the_order_given_does_not_matter(two_models):
    x, pairs = two_models
    settings = {"num_particles": 20, "num_temperatures": 0}
    narrow = {name: (model, _off(guide)) for name, (model, guide) in pairs.items()}
    forth = bv.compare_models(narrow, x, **settings)
    back = bv.compare_models(dict(reversed(narrow.items())), x, **settings)
    torch.testing.assert_close(forth.contenders[0].elbo, back.contenders[0].elbo, rtol=0, atol=0)
    twice = bv.compare_models({"one": narrow["a"], "two": narrow["a"]}, x, **settings)
    assert not torch.equal(*(each.elbo for each in twice.contenders))


def _off(exact):
    def guide(x):
        q = exact.variational_posterior(x)
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(q.mean, 1.5 * q.variance.sqrt()).to_event(1))

    return guide


def test_runs_are_compared_with_pairs_and_with_numbers(two_models, tmp_path):
    data = bv.load_data("digits", policy="static")
    torch.manual_seed(0)
    networks = {"latent_dim": 2, "data_shape": data.data_shape, "hidden_dims": (16,)}
    pair = VAE(**networks), AmortizedNormalGuide(**networks)
    bv.save(bv.fit(*pair, data, epochs=1, progress="none"), tmp_path / "run")
    x = data.test[:20]
    found = bv.compare_models(
        {"run": tmp_path / "run", "pair": pair, "numbers": torch.full((20,), -60.0)},
        x,
        num_particles=20,
        num_temperatures=0,
    )
    assert {each.name for each in found.contenders} == {"run", "pair", "numbers"}
    assert found.data_policy == "static"


@pytest.fixture
def run_on(tmp_path):
    """``run_on("static")``: the folder of a run on the digits under a policy."""

    def train(policy, rows=slice(None)):
        data = bv.load_data("digits", policy=policy)
        data = replace(data, train=data.train[rows])
        torch.manual_seed(0)
        networks = {"latent_dim": 2, "data_shape": data.data_shape, "hidden_dims": (4,)}
        pair = VAE(**networks), AmortizedNormalGuide(**networks)
        folder = tmp_path / f"{policy}-{rows.stop}"
        bv.save(bv.fit(*pair, data, epochs=1, batch_size=500, progress="none"), folder)
        return folder

    return train


GRID = [(3, 0), (3, 1), (5, 0), (5, 1)]
"""Hidden units and seed of four runs."""


@pytest.fixture
def seeds(tmp_path):
    """``seeds(4, 0)``: the folder of a run with so many hidden units and that seed."""
    data = bv.load_data("digits", policy="static")

    def train(width, seed, weights_seed=None, **settings):
        torch.manual_seed(seed if weights_seed is None else weights_seed)
        networks = {"latent_dim": 2, "data_shape": data.data_shape, "hidden_dims": (width,)}
        pair = VAE(**networks), AmortizedNormalGuide(**networks)
        folder = tmp_path / f"w{width}-s{seed}{weights_seed or ''}"
        run = bv.fit(*pair, data, epochs=1, batch_size=500, progress="none", seed=seed, **settings)
        bv.save(replace(run, settings={**run.settings, "data": {"data": "digits", "policy": "static"}}), folder)
        return folder

    return train


def test_runs_that_differ_only_in_their_seed_are_one_row(seeds):
    runs = [seeds(width, seed) for width, seed in GRID]
    found = bv.compare_runs(runs, num_observations=7, num_particles=2, num_temperatures=0)
    assert {each.name: [one.name for one in each.seeds] for each in found.contenders} == {
        "w3": [str(runs[0]), str(runs[1])],
        "w5": [str(runs[2]), str(runs[3])],
    }
    assert found.num_observations == 7
    means = torch.stack([each.log_evidence.mean() for each in found.contenders[0].seeds])
    assert found.contenders[0].spread == pytest.approx(float(means.std()))


def test_what_is_trained_otherwise_is_another_row(seeds):
    runs = [seeds(3, 0), seeds(3, 1, learning_rate=1e-3), seeds(3, 2, objective="sticking-the-landing")]
    assert [len(group) for group in designs_of(runs).values()] == [1, 1, 1]


def test_an_interrupted_training_and_programs_from_elsewhere_are_rows_of_their_own(seeds, tmp_path):
    runs = [seeds(3, 0), seeds(3, 1), seeds(3, 2)]
    config = read_config(runs[0])
    assert _design(config, 7) == _design(read_config(runs[1]), 8)
    stopped = {**config, "outcome": {**config["outcome"], "interrupted": True}}
    foreign = {**config, "guide": {"class": None, "description": "mine.guide"}}
    unfinished = {name: value for name, value in config.items() if name != "outcome"}
    assert [_design(one, 7) for one in (stopped, foreign, unfinished)] == ["7", "7", "7"]


def test_no_design_is_lost_where_folders_are_numbered_through(seeds, tmp_path):
    runs = [seeds(width, seed).rename(tmp_path / f"run{number}") for number, (width, seed) in enumerate(GRID)]
    found = designs_of(runs)
    assert [[run.path for run in group] for group in found.values()] == [runs[:2], runs[2:]]
    assert list(found) == [f"{runs[0]}, {runs[1]}", f"{runs[2]}, {runs[3]}"]


def test_runs_of_one_design_are_no_comparison(seeds):
    with pytest.raises(SettingsError, match="these 2 runs differ only in their seed"):
        bv.compare_runs([seeds(3, 0), seeds(3, 1)])


def test_one_training_is_no_second_seed(seeds):
    run = seeds(3, 0)
    again = shutil.copytree(run, run.with_name("again"))
    with pytest.raises(SettingsError, match=r"w3-s0 and .*again have the same settings and the same seed, 0"):
        bv.compare_runs([run, again, seeds(5, 0)])


def test_networks_from_python_with_other_first_weights_are_other_seeds(seeds):
    runs = [seeds(3, 0), seeds(3, 0, weights_seed=7)]
    assert [len(group) for group in designs_of(runs).values()] == [2]


def test_a_run_that_is_named_twice_is_refused(seeds):
    run = seeds(3, 0)
    with pytest.raises(SettingsError, match="is named twice"):
        bv.compare_runs([run, run.parent / "." / run.name])


def test_trainings_in_a_list_are_one_row(two_models):
    x, pairs = two_models
    found = bv.compare_models({"a": [pairs["a"], pairs["a"]], "b": pairs["b"]}, x, num_particles=9, num_temperatures=0)
    best = found.contenders[0]
    assert (best.name, best.num_seeds) == ("a", 2)
    assert not torch.equal(*(each.elbo for each in best.seeds)), "each training has draws of its own"


def test_a_list_of_numbers_is_one_training_and_a_list_of_lists_several():
    numbers = [torch.tensor(-1.0), -2.0, torch.tensor(-3.0)]
    found = bv.compare_models({"one": numbers, "two": [[-4.0, -5.0, -6.0], torch.tensor([-4.0, -5.0, -9.0])]})
    assert [(each.name, each.num_seeds) for each in found.contenders] == [("one", 1), ("two", 2)]


def test_runs_of_other_policies_are_not_compared(run_on):
    runs = {"a": run_on("static"), "b": run_on("threshold")}
    with pytest.raises(
        SettingsError, match=r"'a' and 'b' cannot be compared: one was trained under another data policy"
    ):
        bv.compare_models(runs, bv.load_data("digits", policy="static").test[:5])


def test_runs_of_other_data_are_not_compared(run_on):
    runs = {"a": run_on("static"), "b": run_on("static", slice(0, 900))}
    with pytest.raises(SettingsError, match="'a' and 'b' cannot be compared: one was trained on other data"):
        bv.compare_models(runs, bv.load_data("digits", policy="static").test[:5])


def test_observations_of_another_policy_than_the_runs_are_refused(run_on):
    run, x = run_on("static"), bv.load_data("digits", policy="threshold").test[:5]
    with pytest.raises(SettingsError, match="trained with the data policy 'static', and these observations have"):
        bv.compare_models({"a": run, "b": torch.zeros(5)}, x, num_particles=2, num_temperatures=0)


def test_results_of_other_policies_or_of_other_drawn_pixels_are_refused():
    torch.manual_seed(0)
    networks = {"latent_dim": 2, "data_shape": (8, 8), "hidden_dims": (3,)}
    pair = VAE(**networks), AmortizedNormalGuide(**networks)

    def result(policy, seed):
        x = bv.load_data("digits", policy=policy).test[:3].seeded(seed)
        return bv.estimate_log_evidence(*pair, x, num_particles=4)

    first = result("stochastic", 0)
    assert bv.compare_models({"a": first, "b": result("stochastic", 0)}).data_policy == "stochastic"
    with pytest.raises(
        SettingsError, match="'a' is of the data policy 'stochastic', and that of 'b' of the data policy"
    ):
        bv.compare_models({"a": first, "b": result("threshold", 0)})
    with pytest.raises(SettingsError, match="is of pixels drawn by the seed 0, and that of 'b' of pixels drawn by the"):
        bv.compare_models({"a": first, "b": result("stochastic", 1)})


def test_an_evaluation_brings_its_elbo_and_what_speaks_for_its_evidence(two_models):
    x, pairs = two_models
    evaluation = bv.evaluate(*pairs["a"], x, num_particles=20, num_temperatures=0)
    found = bv.compare_models({"a": evaluation, "b": evaluation.log_evidence - 1})
    assert found.contenders[0].estimator == evaluation.estimator
    torch.testing.assert_close(found.contenders[0].elbo, evaluation.terms.elbo)
    assert found.differences[0].average.value == pytest.approx(1.0)


def test_a_pair_without_observations_is_refused(two_models):
    with pytest.raises(SettingsError, match="'a' is a pair, and no x was given"):
        bv.compare_models(two_models[1])


def test_densities_are_not_compared_with_probabilities():
    networks = {"latent_dim": 2, "data_shape": (4,), "hidden_dims": (3,)}
    pairs = {
        kind: (VAE(**networks, likelihood=kind), AmortizedNormalGuide(**networks)) for kind in ("bernoulli", "normal")
    }
    with pytest.raises(SettingsError, match="bernoulli gives x a probability, and normal gives x a density"):
        bv.compare_models(pairs, torch.zeros(3, 4))


def test_densities_of_programs_are_not_compared_with_probabilities():
    def model_with(likelihood):
        def model(x):
            with pyro.plate("rows", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.sample("x", likelihood(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 4)).to_event(1), obs=x)

        return model

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    kinds = {"coins": lambda logits: dist.Bernoulli(logits=logits), "normal": lambda loc: dist.Normal(loc, 1.0)}
    pairs = {name: (model_with(kind), guide) for name, kind in kinds.items()}
    with pytest.raises(SettingsError, match="coins gives x a probability, and normal gives x a density"):
        bv.compare_models(pairs, torch.zeros(3, 4))
    networks = {"latent_dim": 2, "data_shape": (4,), "hidden_dims": (3,)}
    ours = VAE(**networks, likelihood="bernoulli"), AmortizedNormalGuide(**networks)
    with pytest.raises(SettingsError, match="ours gives x a probability, and normal gives x a density"):
        bv.compare_models({"ours": ours, "normal": pairs["normal"]}, torch.zeros(3, 4))


def test_conditional_models_are_not_compared_with_others():
    from bayes_vae.guides import ConditionalNormalGuide
    from bayes_vae.models import ConditionalVAE

    networks = {"latent_dim": 2, "data_shape": (4,), "hidden_dims": (3,)}
    conditional = ConditionalVAE(**networks, num_classes=3), ConditionalNormalGuide(**networks, num_classes=3)
    plain = VAE(**networks), AmortizedNormalGuide(**networks)
    with pytest.raises(SettingsError, match=r"given is given the label y.*and plain gives log p\(x\)"):
        bv.compare_models({"given": conditional, "plain": plain}, torch.zeros(3, 4))


def test_a_name_is_a_text():
    with pytest.raises(SettingsError, match="each model needs a name"):
        bv.compare_models({3: [0.0], "b": [1.0]})
