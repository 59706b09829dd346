"""Training with each objective: what the settings name is what is trained; cycles of the KL weight; what is refused."""

import pytest
import torch

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.errors import SettingsError
from bayes_vae.objectives import (
    DoublyReparameterizedObjective,
    Elbo,
    ImportanceWeightedObjective,
    StickingTheLandingObjective,
)
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.training import build_pair, loop
from bayes_vae.training.named_objective import objective_of
from bayes_vae.training.schedules import kl_weight_at
from bayes_vae.training.stopping import epochs_without_progress, out_of_patience

CHOICES = {
    "importance-weighted": ImportanceWeightedObjective,
    "doubly-reparameterized": DoublyReparameterizedObjective,
    "sticking-the-landing": StickingTheLandingObjective,
}


@pytest.fixture(scope="module")
def data() -> Data:
    """Sixty small gray images, binarized anew at each use."""
    generator = torch.Generator().manual_seed(0)
    return bv.load_data(torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8), policy="stochastic")


def fit(data, **options):
    model, guide = build_pair(PairSettings(latent_dim=2, hidden_dims=(8,)), data)
    return bv.fit(model, guide, data, **{"epochs": 2, "batch_size": 17, "progress": "none", **options})


@pytest.mark.parametrize("name", CHOICES)
def test_the_settings_name_the_objective(name):
    made = objective_of(TrainingSettings(objective=name, num_particles=3))
    assert type(made) is CHOICES[name]
    assert made.num_particles == 3


def test_the_settings_of_the_elbo_reach_it():
    made = objective_of(TrainingSettings(kl="analytic", num_particles=2, free_bits=0.3, kl_weight=0.7))
    assert type(made) is Elbo
    assert (made.kl, made.num_particles, made.free_bits, made.kl_weight) == ("analytic", 2, 0.3, 0.7)


@pytest.mark.parametrize(
    "options",
    [*({"objective": name, "num_particles": 4} for name in CHOICES), {"free_bits": 0.05}, {"kl": "sampled"}],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_each_objective_improves_what_it_is_about(data, options):
    """The validation ELBO rises from an objective that sees the ELBO or a tighter bound."""
    history = fit(data, epochs=15, learning_rate=2e-2, **options).history
    assert history[-1]["validation_elbo"] > history[0]["validation_elbo"] + 0.05
    assert history[-1]["train_elbo"] == pytest.approx(
        history[-1]["train_expected_log_likelihood"] - history[-1]["train_kl_to_prior"]
    )


@pytest.mark.parametrize("name", CHOICES)
def test_a_step_follows_the_gradient_of_its_objective(data, monkeypatch, name):
    """The gradient that the optimizer sees is the one of the objective on that batch, as a mean over observations."""
    seen, whole = [], loop.Training._step

    def step(self, rows, epochs_done):
        random = torch.get_rng_state()
        batches = self.batches.get_state()
        x = self.data.train.training_batch(rows, self.batches)
        loss = CHOICES[name](3)(self.model, self.guide)
        mean = loss.terms(x, index=self.data.train.index[rows]).loss.mean()
        expected = torch.autograd.grad(mean, self.parameters)
        torch.set_rng_state(random)
        self.batches.set_state(batches)
        sums = whole(self, rows, epochs_done)
        seen.append([(p.grad, wanted) for p, wanted in zip(self.parameters, expected, strict=True)])
        return sums

    monkeypatch.setattr(loop.Training, "_step", step)
    fit(data, epochs=1, objective=name, num_particles=3)
    assert len(seen) == 3
    for pairs in seen:
        for found, wanted in pairs:
            torch.testing.assert_close(found, wanted)


def test_an_objective_resumes_bit_for_bit(data):
    options = {"objective": "doubly-reparameterized", "num_particles": 3}
    whole, first = fit(data, epochs=3, schedule="constant", **options), fit(data, schedule="constant", **options)
    resumed = fit(data, resume=first, epochs=3)
    assert all(torch.equal(value, resumed.last_state[key]) for key, value in whole.last_state.items())


def test_a_step_has_the_weight_of_its_place_in_the_cycle(data, monkeypatch):
    used, whole = [], loop.Training._step

    def step(self, rows, epochs_done):
        sums = whole(self, rows, epochs_done)
        used.append(self.loss.current_kl_weight)
        return sums

    monkeypatch.setattr(loop.Training, "_step", step)
    run = fit(data, epochs=6, kl_warmup_epochs=2, kl_cycle_epochs=3, kl_weight=0.5)
    third = 1 / 12
    cycle = [0, third, 2 * third, 3 * third, 4 * third, 5 * third, 0.5, 0.5, 0.5]
    assert used == pytest.approx(cycle * 2)
    assert [row["kl_weight"] for row in run.history] == [0.0, 0.25, 0.5] * 2


def test_the_weight_is_a_function_of_the_epoch():
    settings = TrainingSettings(kl_warmup_epochs=2, kl_cycle_epochs=8, kl_weight=2.0)
    assert [kl_weight_at(epoch, settings) for epoch in (0.0, 0.5, 2.0, 7.9, 8.0, 17.0)] == [
        0.0,
        0.5,
        2.0,
        2.0,
        0.0,
        1.0,
    ]


@pytest.mark.parametrize(
    ("elbos", "skip", "cycle", "expected"),
    [
        ([-1.0, *[-2.0] * 7], 2, 4, 4),
        ([-1.0, *[-2.0] * 5], 2, 4, 2),
        ([-3.0, -3.0, -3.0, -1.0, -2.0, -2.0], 2, 4, 0),
        ([-3.0, -3.0, -3.0, -1.0, -2.0, -2.0, -2.0], 2, 4, 1),
        ([-1.0, *[-2.0] * 7], 2, 0, 6),
    ],
)
def test_epochs_of_a_rise_do_not_count_against_patience(elbos, skip, cycle, expected):
    """In every cycle: while the weight rises the ELBO at weight 1 may fall."""
    assert epochs_without_progress(elbos, skip=skip, cycle=cycle) == expected
    history = [{"validation_elbo": elbo} for elbo in elbos]
    settings = TrainingSettings(patience=4, kl_warmup_epochs=skip, kl_cycle_epochs=cycle)
    assert out_of_patience(history, settings) is (expected >= 4)


WEIGHED = "has no KL to weigh: L_K is the logarithm of a mean of weights"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "importance-weighted", "num_particles": 5, "kl_weight": 0.5}, WEIGHED),
        ({"objective": "doubly-reparameterized", "num_particles": 5, "kl_warmup_epochs": 3}, WEIGHED),
        ({"objective": "importance-weighted"}, "with num_particles=1 is the ELBO: give at least 2"),
        ({"objective": "importance-weighted", "num_particles": 5, "free_bits": 0.1}, "free_bits are taken off"),
        ({"objective": "sticking-the-landing", "free_bits": 0.1}, "do not go with objective 'sticking-the-landing'"),
        ({"free_bits": 0.1, "kl": "sampled"}, "objective 'elbo' and kl 'sampled'"),
        ({"objective": "sticking-the-landing", "kl": "analytic"}, "kl 'analytic' does not go with objective"),
        ({"objective": "importance-weighted", "num_particles": 5, "kl": "analytic"}, "a closed form has no draws"),
        ({"kl_cycle_epochs": 4}, "needs 0 < kl_warmup_epochs < kl_cycle_epochs.*got kl_warmup_epochs=0"),
        ({"kl_cycle_epochs": 4, "kl_warmup_epochs": 4}, "kl_warmup_epochs=4 and kl_cycle_epochs=4"),
        ({"objective": "rws"}, "objective must be one of elbo, importance-weighted"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(**settings)
