"""Settings that cannot work together are refused before anything runs, and whatever is not refused takes a step."""

import dataclasses
import itertools

import pytest
import torch

from bayes_vae.data import load_data
from bayes_vae.errors import SettingsError
from bayes_vae.pairs import build_pair
from bayes_vae.parts.compatibility import check_combination, with_fitting_policy
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings
from bayes_vae.settings.literals import GuideName, Objective, PriorName
from bayes_vae.training.named_objective import objective_of

SMALL = PairSettings(latent_dim=2, hidden_dims=(4,), num_components=2, num_transforms=1, num_refinements=1)
ANALYTIC, FREE_BITS = TrainingSettings(kl="analytic"), TrainingSettings(free_bits=0.1)
STICKING = TrainingSettings(objective="sticking-the-landing")
TRAININGS = {
    **{name: TrainingSettings(objective=name, num_particles=2) for name in Objective.__args__},
    "analytic": ANALYTIC,
    "free bits": FREE_BITS,
}


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", policy="stochastic")


@pytest.mark.parametrize(
    ("pair", "training", "words"),
    [
        ({"structure": "two-layer", "guide": "local"}, None, "structure 'two-layer' does not go with guide 'local'"),
        ({"structure": "two-layer", "prior": "flow"}, None, "structure 'two-layer' does not go with prior 'flow'"),
        ({"structure": "conditional", "network": "conv"}, None, "'conditional' does not go with network 'conv'"),
        ({"prior": "vamp", "guide": "local"}, None, "prior 'vamp' does not go with guide 'local': .* an encoder"),
        ({"prior": "vamp", "guide": "prior"}, None, "prior 'vamp' does not go with guide 'prior'"),
        ({"prior": "mixture", "guide": "prior"}, None, "guide 'prior' does not go with prior 'mixture': .* the choice"),
        ({"guide": "autoregressive-flow", "latent_dim": 1}, None, "latent_dim of at least 2, got 1"),
        ({"guide": "low-rank", "rank": 3}, None, "'low-rank' needs latent_dim of at least 3, its rank, got 2"),
        (
            {"network": "conv", "hidden_dims": ()},
            None,
            "needs a number of hidden_dims of at least 1, got 0",
        ),
        ({"likelihood": "categorical", "noise": "shared"}, None, "noise 'shared' goes with likelihood 'normal' only"),
        ({"structure": "semi-supervised"}, STICKING, "'semi-supervised' does not go with objective 'sticking-the-land"),
        ({"guide": "spline-flow"}, ANALYTIC, "kl 'analytic' needs a closed form .* guide 'spline-flow'"),
        ({"prior": "mixture"}, ANALYTIC, "kl 'analytic' needs a closed form .* prior 'mixture'"),
        ({"structure": "two-layer"}, ANALYTIC, "kl 'analytic' needs a closed form .* structure 'two-layer'"),
        ({"guide": "full-covariance"}, FREE_BITS, "free_bits needs the KL of each latent dimension"),
        ({"guide": "local", "prior": "flow"}, FREE_BITS, "free_bits needs the KL of each latent dimension"),
        ({"structure": "two-layer"}, FREE_BITS, "free_bits needs the KL of each latent dimension"),
    ],
)
def test_what_cannot_work_together_is_refused_with_the_reason(pair, training, words):
    with pytest.raises(SettingsError, match=words):
        check_combination(dataclasses.replace(SMALL, **pair), training)


@pytest.mark.parametrize("prior", PriorName.__args__)
def test_what_is_not_refused_takes_a_step(prior, digits, isolated_globals):
    index = torch.arange(3)
    tried = 0
    for guide, (name, training) in itertools.product(GuideName.__args__, TRAININGS.items()):
        pair = dataclasses.replace(SMALL, prior=prior, guide=guide)
        try:
            check_combination(pair, training)
        except SettingsError:
            continue
        with isolated_globals(seed=0):
            model, guide_program = build_pair(pair, digits)
            loss = objective_of(training, model)(model, guide_program)(digits.train.observations(index), index=index)
            loss.backward()
        assert torch.isfinite(loss), (guide, name)
        tried += 1
    assert tried >= {"vamp": 3 * 4, "mixture": 7 * 4}.get(prior, 8 * 4)


def test_a_policy_that_was_not_chosen_fits_the_likelihood():
    assert with_fitting_policy(DataSettings(), PairSettings(likelihood="normal")).policy == "none"
    assert with_fitting_policy(DataSettings(), PairSettings()).policy is None
    local = PairSettings(guide="local")
    assert with_fitting_policy(DataSettings(), local).policy == "static"
    assert with_fitting_policy(DataSettings(policy="threshold"), local).policy == "threshold"
    with pytest.raises(
        SettingsError, match="guide 'local' does not go with policy 'stochastic': it has one q for each"
    ):
        with_fitting_policy(DataSettings(policy="stochastic"), local)
    chosen = DataSettings(policy="static")
    assert with_fitting_policy(chosen, PairSettings(likelihood="normal")) == chosen


@pytest.mark.parametrize(("structure", "sees"), [("vae", "no label"), ("conditional", "every label")])
def test_a_number_of_labels_is_for_models_that_infer_the_others(structure, sees):
    data = DataSettings(num_labelled=50)
    with pytest.raises(
        SettingsError, match=f"num_labelled goes with .* 'semi-supervised' only: '{structure}' sees {sees}"
    ):
        with_fitting_policy(data, PairSettings(structure=structure))
    assert with_fitting_policy(data, PairSettings(structure="semi-supervised")).num_labelled == 50
