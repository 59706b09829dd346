"""Early stopping, clipping, schedules, precision, callbacks, history: each against what it should be."""

import itertools
import math

import pytest
import torch

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.errors import SettingsError
from bayes_vae.objectives import Elbo
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.training import build_pair, loop, machine, tensorboard_callback
from bayes_vae.training.schedules import burda_learning_rate, learning_rate_at
from bayes_vae.training.stopping import epochs_without_progress, out_of_patience


@pytest.fixture(scope="module")
def data() -> Data:
    """Sixty small gray images, binarized anew at each use."""
    generator = torch.Generator().manual_seed(0)
    return bv.load_data(torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8), policy="stochastic")


def fit(data, **options):
    model, guide = build_pair(PairSettings(latent_dim=2, hidden_dims=(8,)), data, options.get("seed", 0))
    return bv.fit(model, guide, data, **{"epochs": 2, "batch_size": 17, "progress": "none", **options})


def test_cosine_is_what_it_was():
    """Half a cosine over all epochs, as before other schedules came."""
    settings = TrainingSettings(epochs=8, learning_rate=3e-3, final_learning_rate=2e-5)
    for done in (0.0, 1.25, 4.0, 7.9):
        expected = 2e-5 + (3e-3 - 2e-5) * 0.5 * (1 + math.cos(math.pi * done / 8))
        assert learning_rate_at(done, settings) == expected


def test_the_published_schedule_has_3280_epochs_at_eight_rates():
    rates = [burda_learning_rate(epoch) for epoch in range(3280)]
    stages = [(rate, len(list(group))) for rate, group in itertools.groupby(rates)]
    assert [count for _, count in stages] == [3**i for i in range(8)]
    assert [rate for rate, _ in stages] == pytest.approx([1e-3 * 10 ** (-i / 7) for i in range(8)], rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"schedule": "constant"}, [8e-3] * 5),
        ({"schedule": "steps", "step_epochs": 2, "step_factor": 0.5}, [8e-3, 8e-3, 4e-3, 4e-3, 2e-3]),
        ({"schedule": "burda"}, [8e-3, *[8e-3 * 10 ** (-1 / 7)] * 3, 8e-3 * 10 ** (-2 / 7)]),
    ],
)
def test_schedules_are_those_of_the_optimizer(data, settings, rates):
    used = []

    def look(state):
        used.append(state.row["learning_rate"])

    run = fit(data, epochs=5, learning_rate=8e-3, callbacks=[look], **settings)
    assert used == pytest.approx(rates, rel=1e-12)
    assert [row["learning_rate"] for row in run.history] == used


def test_the_optimizer_has_the_rate_of_the_history(data, monkeypatch):
    rates, whole = [], loop.Training.step

    def step(self):
        whole(self)
        rates.append(self.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(loop.Training, "step", step)
    run = fit(data, epochs=3)
    assert rates[2::3] == [row["learning_rate"] for row in run.history]


@pytest.mark.parametrize(
    ("elbos", "min_delta", "skip", "expected"),
    [
        ([], 0.0, 0, 0),
        ([-3.0], 0.0, 0, 0),
        ([-3.0, -3.0], 0.0, 0, 1),
        ([-3.0, -2.9, -2.8, -2.7], 0.25, 0, 0),
        ([-3.0, -2.9, -2.8], 0.25, 0, 2),
        ([-3.0, -5.0, -4.0, -4.0], 0.0, 3, 1),
        ([-3.0, -2.0, -9.0, -1.0], 0.0, 0, 0),
    ],
)
def test_epochs_without_progress(elbos, min_delta, skip, expected):
    """Small rises add up: they are measured from the value that last counted, not from the last epoch."""
    assert epochs_without_progress(elbos, min_delta, skip) == expected
    history = [{"validation_elbo": elbo} for elbo in elbos]
    settings = TrainingSettings(patience=2, min_delta=min_delta, kl_warmup_epochs=skip)
    assert out_of_patience(history, settings) is (expected >= 2)


def test_early_stopping_keeps_the_best_weights(data, tmp_path):
    """With a huge learning rate the first epoch is the best, and training stops three epochs later."""
    rates = {"learning_rate": 2.0, "schedule": "constant"}
    run = fit(data, epochs=50, patience=3, out=tmp_path / "run", **rates)
    elbos = [row["validation_elbo"] for row in run.history]
    assert run.ending == "patience"
    assert len(elbos) == run.best_epoch + 3
    assert max(elbos) == elbos[run.best_epoch - 1]
    assert RunDirectory(tmp_path / "run").config["outcome"]["ending"] == "patience"
    longer = fit(data, resume=run, patience=5, epochs=50, **rates)
    assert len(longer.history) == len(fit(data, epochs=50, patience=5, **rates).history) == run.best_epoch + 5


def test_without_patience_nothing_stops(data):
    run = fit(data, epochs=8, learning_rate=2.0, schedule="constant")
    assert (len(run.history), run.ending) == (8, "all epochs")


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_the_gradient_is_shortened_to_the_norm(data, monkeypatch, clip_norm):
    """The optimizer sees a gradient of that length over all parameters; the history, its length before."""
    seen, whole = [], torch.optim.Adam.step

    def step(self, *args, **kwargs):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        seen.append(float(torch.cat(gradients).norm()))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    row = fit(data, epochs=1, clip_norm=clip_norm).history[0]
    if clip_norm:
        assert seen == pytest.approx([0.05] * 3, rel=1e-5)
        assert row["gradient_norm"] > 1
    else:
        assert row["gradient_norm"] == pytest.approx(sum(seen) / 3, rel=1e-5)


def test_a_gradient_that_is_short_enough_is_left_alone(data):
    runs = [fit(data, clip_norm=norm) for norm in (0.0, 1e6)]
    assert all(torch.equal(runs[0].last_state[key], value) for key, value in runs[1].last_state.items())


def test_double_precision(data, tmp_path):
    """In 64 bits the first epoch's figures are those of 32 up to rounding, and the weights are doubles, on disk too."""
    single, double = fit(data), fit(data, precision="64", out=tmp_path / "run")
    assert double.history[0]["train_kl_to_prior"] != single.history[0]["train_kl_to_prior"]
    assert {value.dtype for value in double.last_state.values()} == {torch.float64}
    model, _ = bv.load(tmp_path / "run")
    assert model.decoder[0].weight.dtype == torch.float64
    longer = fit(data, resume=tmp_path / "run", epochs=3)
    assert {value.dtype for value in longer.last_state.values()} == {torch.float64}


def test_bfloat16_products_and_float32_sums(data, monkeypatch):
    """Layers compute in bfloat16, yet densities are float32, the weights too, and the result is near that of 32."""
    dtypes, whole = set(), Elbo.terms_of_rows

    def terms_of_rows(self, *pair, **options):
        terms = whole(self, *pair, **options)
        dtypes.update(term.dtype for term in terms)
        return terms

    monkeypatch.setattr(Elbo, "terms_of_rows", terms_of_rows)
    mixed, single = fit(data, precision="bf16-mixed"), fit(data)
    assert dtypes == {torch.float32}
    assert {value.dtype for value in mixed.last_state.values()} == {torch.float32}
    figures = [run.history[-1]["train_elbo"] for run in (mixed, single)]
    assert figures[0] != figures[1]
    assert figures[0] == pytest.approx(figures[1], abs=0.05)
    assert not mixed.model.decoder[0]._forward_hooks


def test_what_the_machine_lacks_is_refused(data, monkeypatch):
    with pytest.raises(SettingsError, match="device 'cuda:99' is not here: torch sees"):
        fit(data, device="cuda:99")
    with pytest.raises(SettingsError, match="unknown device 'abacus': use cpu, cuda, cuda:0, … or auto"):
        fit(data, device="abacus")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="device cuda cannot train with precision bf16-mixed: use precision 32"):
        machine.resolve_device(TrainingSettings(device="cuda", precision="bf16-mixed"))
    with pytest.raises(SettingsError, match="device mps cannot train with precision 64: use precision 32"):
        machine.resolve_device(TrainingSettings(device="mps", precision="64"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, steps, burda, got 'linear'"),
        ({"precision": "16"}, "precision must be one of 32, bf16-mixed, 64, got '16'"),
        ({"step_factor": 0.0}, "step_factor must be above 0 and at most 1, got 0"),
        ({"step_epochs": 0}, "step_epochs must be at least 1"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"patience": 1.5}, "patience must be a whole number, got 1.5"),
        ({"clip_norm": -1.0}, "clip_norm must be at least 0"),
        ({"learning_rate": 0.0, "schedule": "constant"}, "learning_rate must be above 0, got 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(**settings)


def test_callbacks_see_each_epoch_and_can_stop(data):
    states = []

    def keep(state):
        states.append((state.epoch, state.step, state.row, state.model.training))

    def stop(state):
        return state.epoch == 3

    run = fit(data, epochs=9, callbacks=[stop, keep])
    assert run.ending == "callback"
    assert [state[:2] for state in states] == [(1, 3), (2, 6), (3, 9)]
    assert [state[2] for state in states] == run.history
    assert not any(state[3] for state in states)


def test_a_callback_cannot_change_the_history(data):
    run = fit(data, callbacks=[lambda state: state.row.clear()])
    assert run.history[0]["epoch"] == 1
    undisturbed = fit(data)
    assert all(torch.equal(run.last_state[key], value) for key, value in undisturbed.last_state.items())


def test_what_callbacks_draw_changes_no_training(data):
    drawn = []

    def draw(state):
        drawn.append(state.model.sample(2))

    run, undisturbed = fit(data, callbacks=[draw]), fit(data)
    assert all(torch.equal(run.last_state[key], value) for key, value in undisturbed.last_state.items())
    assert not torch.equal(drawn[0], drawn[1])


def test_an_error_in_a_callback_leaves_a_checkpoint(data, tmp_path):
    def fail(state):
        if state.epoch == 2:
            raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="the user's own"):
        fit(data, epochs=3, callbacks=[fail], out=tmp_path / "run")
    assert RunDirectory(tmp_path / "run").checkpoint().epochs_done == 2
    assert len(fit(data, resume=tmp_path / "run", epochs=3).history) == 3


def test_the_history_as_a_table(data):
    run = fit(data)
    frame = run.history_frame()
    assert frame.index.tolist() == [1, 2]
    assert frame["validation_elbo"].tolist() == [row["validation_elbo"] for row in run.history]
    names = {"learning_rate", "kl_weight", "gradient_norm", "seconds", "train_kl_to_prior", "validation_elbo_error"}
    assert names <= set(frame.columns)


def test_tensorboard_is_asked_for_where_it_is_missing(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("bayes_vae.training.tensorboard.importlib.import_module", missing)
    with pytest.raises(SettingsError, match=r"not installed .*Install it with: pip install 'bayes_vae\[tensorboard\]'"):
        tensorboard_callback(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_the_figures(data, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra: pip install 'bayes_vae[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(data, callbacks=[tensorboard_callback(tmp_path / "tensorboard")])
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag, name in {"validation/elbo": "validation_elbo", "gradient_norm": "gradient_norm"}.items():
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [1, 2]
        assert [scalar.value for scalar in scalars] == pytest.approx([row[name] for row in run.history], rel=1e-6)
