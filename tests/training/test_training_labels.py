"""Training pairs with two layers, with given labels, and with labels that are latents."""

from dataclasses import replace

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import DataError, RunError, SettingsError
from bayes_vae.guides import ConditionalNormalGuide, SemiSupervisedGuide, TwoLayerNormalGuide
from bayes_vae.models import ConditionalVAE, SemiSupervisedVAE, TwoLayerVAE
from bayes_vae.objectives import EnumeratedElbo
from bayes_vae.settings import TrainingSettings
from bayes_vae.training.loop import Training
from bayes_vae.training.named_objective import objective_of

LABELLED = {"latent_dim": 2, "data_shape": (4,), "num_classes": 3, "hidden_dims": (16,)}
LAYERED = {"latent_dim": 2, "top_latent_dim": 1, "data_shape": (4,), "hidden_dims": (8,), "top_hidden_dims": (4,)}
STRUCTURES = {
    "two layers": (TwoLayerVAE, TwoLayerNormalGuide, LAYERED),
    "conditional": (ConditionalVAE, ConditionalNormalGuide, LABELLED),
    "semi-supervised": (SemiSupervisedVAE, SemiSupervisedGuide, LABELLED),
}


@pytest.fixture(scope="module")
def data():
    """Four pixels that say the class: 0 is 1000, 1 is 0110 and 2 is 0001, each pixel wrong one time in twenty."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 3
    patterns = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    wrong = torch.rand(240, 4, generator=generator) < 0.05
    values = patterns[labels] ^ wrong.long()
    return bv.load_data(values.to(torch.uint8), kind="binary", labels=labels, policy="none")


def make(structure, seed=0, **options):
    model, guide, settings = STRUCTURES[structure]
    torch.manual_seed(seed)
    return model(**settings), guide(**settings, **options)


def fit(pair, data, **options):
    return bv.fit(*pair, data, **{"epochs": 2, "batch_size": 32, "progress": "none", "device": "cpu", **options})


@pytest.mark.parametrize("structure", STRUCTURES)
def test_training_raises_the_validation_elbo(structure, data, clean_globals):
    run = fit(make(structure), data, epochs=6, learning_rate=2e-2)
    elbos = [row["validation_elbo"] for row in run.history]
    assert elbos[-1] > elbos[0] + 0.1


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_run_directory_gives_the_pair_back(structure, data, tmp_path, clean_globals):
    run = fit(make(structure), data, out=tmp_path / "run")
    model, guide = bv.load(tmp_path / "run")
    x = data.test.observations()
    inputs = (x, data.test.labels) if structure == "conditional" else x
    for ours, theirs in ((run.model, model), (run.guide, guide)):
        assert type(theirs) is type(ours)
        assert theirs.settings == ours.settings
    found = [bv.elbo_terms(*pair, inputs, 5, seed=0).elbo for pair in ((run.model, run.guide), (model, guide))]
    torch.testing.assert_close(*found)


def test_a_resumed_training_is_the_same(data, clean_globals):
    data = data.with_visible_labels(12)
    whole = fit(make("semi-supervised"), data, epochs=3, schedule="constant")
    first = fit(make("semi-supervised"), data, epochs=1, schedule="constant")
    resumed = fit(make("semi-supervised", seed=1), data, resume=first, epochs=3)
    for name, weight in whole.last_state.items():
        assert torch.equal(weight, resumed.last_state[name]), name


def test_resuming_with_other_labels_is_refused(data, clean_globals):
    first = fit(make("semi-supervised"), data.with_visible_labels(12), epochs=1)
    with pytest.raises(RunError, match="training saw 12 labels there, and sees 6 labels here"):
        fit(make("semi-supervised"), data.with_visible_labels(6), resume=first, epochs=2)
    with pytest.raises(RunError, match="training saw 12 labels there, and sees all labels here"):
        fit(make("semi-supervised"), data, resume=first, epochs=2)


def test_a_few_labels_name_the_classes(data, clean_globals):
    """Three labels of 144 rows: the classifier finds the classes and their names."""
    run = fit(make("semi-supervised"), data.with_visible_labels(3), epochs=25, learning_rate=2e-2)
    found = run.guide.classify(data.test.observations()).argmax(-1)
    assert float((found == data.test.labels).double().mean()) > 0.8


def test_hidden_labels_are_never_looked_at(data, clean_globals):
    """Wrong labels where training does not see them change nothing, to the last bit."""
    shown = data.with_visible_labels(6)
    lied = torch.where(shown.train.visible, shown.train.labels, 2 - shown.train.labels)
    other = replace(
        shown,
        train=replace(shown.train, labels=lied),
        validation=replace(shown.validation, labels=2 - shown.validation.labels),
    )
    runs = [fit(make("semi-supervised"), each) for each in (shown, other)]
    assert all(torch.equal(weight, runs[1].last_state[name]) for name, weight in runs[0].last_state.items())
    assert [row["validation_elbo"] for row in runs[0].history] == [row["validation_elbo"] for row in runs[1].history]


def test_validation_of_a_conditional_model_is_given_the_labels(data, clean_globals):
    model, guide = make("conditional")
    training = Training(model, guide, data, TrainingSettings(device="cpu"), torch.device("cpu"))
    right = training._validation()["validation_elbo"]
    x, y = data.validation.observations(), data.validation.labels
    terms = bv.elbo_terms(model, guide, (x, y), 20, seed=0, index=data.validation.index)
    assert right == pytest.approx(float(terms.elbo.mean()), abs=0.2)
    with torch.no_grad():
        model.decoder[0].weight[:, 2:] *= 100
    changed = training._validation()["validation_elbo"]
    assert changed != pytest.approx(right, abs=0.2)


def test_data_without_labels_are_refused(clean_globals):
    data = bv.load_data(torch.zeros(60, 4, dtype=torch.uint8), kind="binary", policy="none")
    for structure in ("conditional", "semi-supervised"):
        with pytest.raises(DataError, match="VAE needs labels, and these data have none"):
            fit(make(structure), data)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("objective", "importance-weighted", "objective must be elbo for a model whose label is a latent"),
        ("free_bits", 0.5, r"free_bits must be 0 for a model whose label is a latent, got 0\.5"),
        ("kl", "analytic", "kl must be auto or sampled for a model whose label is a latent, got analytic"),
    ],
)
def test_objectives_without_a_sum_over_labels_are_refused(setting, value, message):
    settings = TrainingSettings(**{setting: value, "num_particles": 2})
    with pytest.raises(SettingsError, match=message):
        objective_of(settings, SemiSupervisedVAE)
    assert not isinstance(objective_of(settings), EnumeratedElbo)


def test_the_objective_sums_over_labels():
    objective = objective_of(TrainingSettings(num_particles=3, kl_weight=0.5), SemiSupervisedVAE)
    assert isinstance(objective, EnumeratedElbo)
    assert (objective.num_particles, objective.current_kl_weight) == (3, 0.5)
