"""The table of combinations: every bundled settings file trains, is measured, saved and loaded."""

import dataclasses

import pytest
import torch

import bayes_vae as bv
from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.settings_files import bundled_settings, read_settings
from bayes_vae.cli.train import train
from bayes_vae.parts.compatibility import check_combination
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings
from bayes_vae.settings.literals import GuideName, LikelihoodName, NoiseScale, Objective, PriorName, Structure
from bayes_vae.terms.rows import prepare_for

NAMES = sorted(bundled_settings())


def settings_of(name):
    """The settings of a bundled file; networks and training made small."""
    sections = read_settings(name).sections
    kinds = {"data": DataSettings, "pair": PairSettings, "training": TrainingSettings}
    data, pair, training = (build_settings(kind, sections[section]) for section, kind in kinds.items())
    small = {"hidden_dims": (4,) if pair.network == "conv" else (16,), "num_components": 3, "top_hidden_dims": (8,)}
    short = {"epochs": 1, "batch_size": 433, "kl_warmup_epochs": min(1, training.kl_warmup_epochs), "device": "cpu"}
    return data, dataclasses.replace(pair, **small), dataclasses.replace(training, **short)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_pair_trains_and_comes_back_the_same(name, tmp_path):
    data, pair, training = settings_of(name)
    result, opened = train(data, pair, training, tmp_path / "run", figures=False)
    assert result["ending"] == "all epochs"
    rows, about = opened.test_rows(6, 0), {"seed": 0}
    before = bv.elbo_terms(opened.model, opened.guide, rows, 8, **about)
    model, guide = bv.load(tmp_path / "run")
    prepare_for(model, guide, rows)
    after = bv.elbo_terms(model, guide, rows, 8, **about)
    assert torch.isfinite(before.elbo).all()
    torch.testing.assert_close(after.elbo, before.elbo)
    about["seed"] = 1
    sampled = bv.elbo_terms(model, guide, rows, 8, kl="sampled", **about)
    bound = bv.estimate_log_evidence(model, guide, rows, 8, **about)  # of the same draws, so never below their ELBO
    assert (bound.log_evidence >= sampled.elbo - 1e-3).all()


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("likelihood", LikelihoodName),
        ("prior", PriorName),
        ("guide", GuideName),
        ("structure", Structure),
        ("noise", NoiseScale),
    ],
)
def test_every_choice_of_a_pair_has_a_settings_file(field, choices):
    used = {getattr(settings_of(name)[1], field) for name in NAMES}
    assert used == set(choices.__args__)


def test_every_objective_has_a_settings_file():
    assert {settings_of(name)[2].objective for name in NAMES} == set(Objective.__args__)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_file_says_what_it_is_and_is_a_combination_that_works(name):
    first = bundled_settings()[name].read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    data, pair, training = settings_of(name)
    assert data.data == "digits"
    check_combination(pair, training)
