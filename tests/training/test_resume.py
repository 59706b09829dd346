"""A resumed training is bit for bit the one that was not interrupted; without part of its state it is not."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.errors import RunError, SettingsError, Terminated, UnfinishedRunWarning
from bayes_vae.process import ENDING_SIGNALS, ending_signals_raise
from bayes_vae.runs import Run, RunDirectory
from bayes_vae.runs.config import config_of, extension_note
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training

EPOCHS, BATCH_SIZE = 6, 17


@pytest.fixture(scope="module")
def data() -> Data:
    """Sixty small gray images, binarized anew at each use."""
    generator = torch.Generator().manual_seed(0)
    return bv.load_data(torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8), policy="stochastic")


def pair(data, **settings):
    return build_pair(PairSettings(**{"latent_dim": 2, "hidden_dims": (8,), **settings}), data)


def fit(data, programs=None, **options):
    defaults = {} if "resume" in options else {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": 1e-2}
    return bv.fit(*(programs or pair(data)), data, progress="none", **{**defaults, **options})


def interrupted_after(monkeypatch, steps, act=lambda: os.kill(os.getpid(), signal.SIGINT)):
    """Let something happen within the given step of training, counted from its start."""
    whole = Training.step

    def step(self):
        if self.total_steps + 1 == steps:
            act()
        whole(self)

    monkeypatch.setattr(Training, "step", step)


def without_seconds(history):
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in history]


def differences(one: Run, other: Run) -> list[str]:
    """Names of all that differs between two trainings, but for the time that they took."""
    found = ["history"] if without_seconds(one.history) != without_seconds(other.history) else []
    for name in ("best_state", "last_state"):
        found += _differences(name, getattr(one, name), getattr(other, name))
    for name in ("optimizer", "random", "epoch"):
        found += _differences(name, getattr(one.checkpoint, name), getattr(other.checkpoint, name))
    return found + (["best_epoch"] if one.best_epoch != other.best_epoch else [])


def _differences(name, one, other):
    if one.keys() != other.keys():
        return [f"{name}: keys"]
    return [f"{name}: {key}" for key in one if not torch.equal(one[key], other[key])]


@pytest.fixture(scope="module")
def whole(data):
    """The training that nobody interrupted, and its steps in one epoch."""
    run = fit(data)
    assert len(run.history) == EPOCHS
    assert (len(data.train) // BATCH_SIZE, len(data.train) % BATCH_SIZE) == (2, 14)
    return run


STEPS = {"at an epoch's end": 9, "after a step within": 10, "after the first": 1, "after the last": EPOCHS * 3 - 1}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_resumed_in_memory_is_bit_for_bit_the_whole(data, whole, monkeypatch, tmp_path, steps):
    with monkeypatch.context() as patched:
        interrupted_after(patched, steps)
        if steps < 4:
            with pytest.raises(KeyboardInterrupt):
                fit(data, out=tmp_path / "run")
            first = tmp_path / "run"
        else:
            first = fit(data)
            assert first.interrupted
            assert len(first.history) == (steps - 1) // 3
            assert first.checkpoint.epochs_done * 3 + first.checkpoint.steps_done == steps
    assert differences(fit(data, resume=first), whole) == []


@pytest.mark.parametrize("steps", [9, 10])
def test_resumed_from_disk_is_bit_for_bit_the_whole(data, whole, monkeypatch, tmp_path, steps):
    with monkeypatch.context() as patched:
        interrupted_after(patched, steps)
        assert fit(data, out=tmp_path / "run").interrupted
    assert RunDirectory(tmp_path / "run").unfinished
    assert not (tmp_path / "run" / "model.safetensors").exists()
    resumed = fit(data, resume=tmp_path / "run")
    assert differences(resumed, whole) == []
    directory = RunDirectory(tmp_path / "run")
    assert not directory.unfinished
    assert without_seconds(directory.history) == without_seconds(whole.history)
    assert _differences("weights", directory.weights("best"), whole.best_state) == []
    assert _differences("weights", directory.weights("last"), whole.last_state) == []
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "training.json",
        "training.safetensors",
    ]


def test_interrupted_again_and_again(data, whole, monkeypatch, tmp_path):
    for steps in (4, 5, 11, 15):
        with monkeypatch.context() as patched:
            interrupted_after(patched, steps)
            options = {"resume": tmp_path / "run"} if steps > 4 else {"out": tmp_path / "run"}
            assert fit(data, **options).interrupted
    assert differences(fit(data, resume=tmp_path / "run"), whole) == []


def lose(checkpoint, part):
    if part == "order":
        order = checkpoint.epoch["order"]
        return replace(checkpoint, epoch={**checkpoint.epoch, "order": order.flip(0)})
    if part in ("torch", "batches"):
        other = torch.Generator().manual_seed(5).get_state()
        return replace(checkpoint, random={**checkpoint.random, part: other})
    if part == "sums":
        return replace(checkpoint, epoch={**checkpoint.epoch, "sums": torch.zeros_like(checkpoint.epoch["sums"])})
    if part == "steps_done":
        return replace(checkpoint, steps_done=checkpoint.steps_done + 1)
    if part == "best":
        return replace(checkpoint, best_weights=checkpoint.weights)
    return replace(checkpoint, optimizer={} if part == "optimizer" else only(checkpoint.optimizer, part))


def only(optimizer, part):
    """The optimizer's state with zeros for one of its tensors."""
    return {key: value * (not key.endswith(f"/{part}")) for key, value in optimizer.items()}


@pytest.mark.parametrize(
    "part", ["optimizer", "exp_avg", "exp_avg_sq", "step", "torch", "batches", "order", "sums", "steps_done"]
)
def test_without_part_of_the_state_it_is_another_training(data, whole, monkeypatch, part):
    """The negative control of all the above."""
    with monkeypatch.context() as patched:
        interrupted_after(patched, 10)
        first = fit(data)
    assert differences(fit(data, resume=first), whole) == []
    assert differences(fit(data, resume=replace(first, checkpoint=lose(first.checkpoint, part))), whole) != []


def test_the_best_weights_so_far_are_part_of_the_state(data, monkeypatch):
    """With a huge learning rate the first epochs stay the best."""
    rates = {"learning_rate": 2.0, "final_learning_rate": 2.0}
    whole = fit(data, **rates)
    with monkeypatch.context() as patched:
        interrupted_after(patched, 16)
        first = fit(data, **rates)
    assert whole.best_epoch == first.best_epoch < 5
    assert differences(fit(data, resume=first), whole) == []
    lost = replace(first, checkpoint=lose(first.checkpoint, "best"))
    assert differences(fit(data, resume=lost), whole) != []


class RunningMean(nn.Module):
    """Takes off a mean of all batches so far, which changes with each step."""

    def __init__(self, size) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(size))

    def forward(self, rows):
        centred = rows - self.running_mean
        if self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * rows.detach().flatten(0, -2).mean(0)
        return centred


class Forgetful(nn.Module):
    """A pair with dropout, running statistics and a ``param`` site: state outside the weights' gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 6), RunningMean(6), nn.Dropout(0.3), nn.Linear(6, 2))
        self.decoder = nn.Linear(2, 4)

    def model(self, x):
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("z", dist.Normal(self.encoder(x), scale).to_event(1))


def test_buffers_dropout_and_param_sites_too(data, monkeypatch, tmp_path, isolated_globals):
    def build():
        with isolated_globals(seed=0):
            vae = Forgetful()
        return vae.model, vae.guide

    whole = fit(data, build())
    with monkeypatch.context() as patched:
        interrupted_after(patched, 10)
        fit(data, build(), out=tmp_path / "run")
    resumed = fit(data, build(), resume=tmp_path / "run")
    assert any("running_mean" in key for key in resumed.last_state)
    assert differences(resumed, whole) == []


@pytest.mark.parametrize("schedule", ["constant", "steps", "burda"])
def test_more_epochs_are_those_of_one_go_where_the_schedule_does_not_know_the_total(data, schedule):
    settings = {"schedule": schedule, "step_epochs": 2}
    first = fit(data, epochs=3, **settings)
    resumed = fit(data, resume=first, epochs=EPOCHS)
    assert differences(resumed, fit(data, **settings)) == []
    assert (first.extended_at, resumed.extended_at) == ((), (3,))
    assert extension_note(config_of(resumed)) is None


def test_more_epochs_of_a_cosine_go_on_at_the_new_cosine(data, whole, capsys):
    """The rate rises to where a cosine over the new total is, so it is not the training of one go."""
    first = fit(data, epochs=3)
    resumed = bv.fit(*pair(data), data, resume=first, epochs=EPOCHS, progress="lines")
    rates = [[row["learning_rate"] for row in run.history] for run in (first, resumed, whole)]
    assert rates[1][3:] == rates[2][3:]
    assert rates[1][:3] == rates[0]
    assert rates[1][3] > rates[0][2]
    assert differences(resumed, whole) != []
    assert (
        "note: the cosine schedule now spans 6 epochs instead of 3: the learning rate goes on at 0.00501, where it "
        "stood at 2e-05; this is not the training that 6 epochs in one go would be" in capsys.readouterr().err
    )


def test_a_run_remembers_each_time_it_was_extended(data, tmp_path):
    first = fit(data, epochs=1)
    second = fit(data, resume=first, epochs=3, out=tmp_path / "run")
    assert second.extended_at == (1,)
    assert RunDirectory(tmp_path / "run").config["extended_at"] == [1]
    last = fit(data, resume=tmp_path / "run", epochs=4)
    assert last.extended_at == (1, 3)
    assert "trained to 1, then to 3 epochs, then extended to 4: under the cosine" in extension_note(config_of(last))


def test_fewer_epochs_finish_an_unfinished_run(data, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        interrupted_after(patched, 10)
        fit(data, out=tmp_path / "run")
    run = fit(data, resume=tmp_path / "run", epochs=2)
    assert (len(run.history), run.ending) == (3, "all epochs")
    assert not RunDirectory(tmp_path / "run").unfinished


def test_a_finished_run_is_never_written_to(data, tmp_path):
    fit(data, epochs=2, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert len(fit(data, resume=tmp_path / "run", epochs=3).history) == 3
    fit(data, resume=tmp_path / "run", epochs=3, out=tmp_path / "longer")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert len(RunDirectory(tmp_path / "longer").history) == 3


def test_a_saved_run_can_be_resumed(data, tmp_path):
    run = fit(data, epochs=2, schedule="constant")
    bv.save(run, tmp_path / "run")
    assert differences(fit(data, resume=tmp_path / "run", epochs=4), fit(data, resume=run, epochs=4)) == []


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ({}, {}, "the run is finished, its 2 epochs are done: nothing is left to resume. Ask for more epochs."),
        (
            {"patience": 1, "epochs": 9, "min_delta": 99.0},
            {},
            "the run ran out of patience after 2 epochs: nothing is left to resume. Ask for more patience.",
        ),
    ],
)
def test_nothing_left_to_do(data, settings, changes, message):
    run = fit(data, **{"epochs": 2, **settings})
    with pytest.raises(RunError, match=message):
        fit(data, resume=run, **changes)


def test_other_data_are_refused(data, whole):
    values = torch.cat([getattr(data, split).values for split in ("train", "validation", "test")])
    with pytest.raises(RunError, match=r"not the data of the run: the digest was \w{12} there \(array\) and is \w"):
        fit(bv.load_data(values, policy="stochastic"), resume=whole, epochs=9)
    splits = {name: replace(getattr(data, name), policy="static") for name in ("train", "validation", "test")}
    with pytest.raises(RunError, match="the data policy was stochastic there .array. and is static here"):
        fit(replace(data, **splits), resume=whole, epochs=9)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"latent_dim": 3}, "not the networks of the run: model's latent_dim is 2 there and 3 here"),
        ({"activation": "relu"}, "not the networks of the run: model's activation is .tanh. there and .relu. here"),
    ],
)
def test_other_networks_are_refused(data, whole, networks, message):
    model, guide = pair(data, **networks)
    before = model.decoder[0].weight.clone()
    with pytest.raises(RunError, match=message):
        fit(data, (model, guide), resume=whole, epochs=9)
    assert torch.equal(model.decoder[0].weight, before)


def test_other_networks_of_ones_own_are_refused(data, isolated_globals):
    with isolated_globals(seed=0):
        vae, other = Forgetful(), Forgetful()
        other.decoder = nn.Linear(2, 4, bias=False)
    run = fit(data, (vae.model, vae.guide), epochs=1)
    with pytest.raises(RunError, match=r"decoder.bias is \(4,\) float32 there and missing here. Build the pair as for"):
        fit(data, (other.model, other.guide), resume=run, epochs=2)


def test_other_settings_are_refused(data, whole):
    with pytest.raises(SettingsError, match=r"keeps its settings, but seed is 0 in the run and 1 now\. Leave it out"):
        fit(data, resume=whole, seed=1)


def test_a_run_without_a_checkpoint_is_refused(data, whole, tmp_path):
    run = replace(whole, checkpoint=None)
    with pytest.raises(RunError, match="this Run holds no checkpoint to resume from. Pass one that fit returned"):
        fit(data, resume=run)
    bv.save(run, tmp_path / "run")
    with pytest.raises(RunError, match=r"holds no checkpoint to resume from \(no optimizer state\): .* start a new"):
        fit(data, resume=tmp_path / "run")


def test_settings_of_another_release_are_refused(data, whole):
    sections = {"training": {**whole.settings["training"], "momentum": 0.9}}
    with pytest.raises(RunError, match=r"settings that this release does not know .*momentum.* Resume with the "):
        fit(data, resume=replace(whole, settings=sections))


def test_an_unfinished_run_loads_with_its_best_weights_and_says_so(data, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        interrupted_after(patched, 10)
        run = fit(data, out=tmp_path / "run")
    with pytest.warns(
        UnfinishedRunWarning, match=r"is unfinished \(3 of 6 epochs are done\): .*best weights so far, of"
    ):
        model, _ = bv.load(tmp_path / "run")
    for name, value in model.state_dict().items():
        assert torch.equal(run.best_state[f"model.{name}"], value)


def test_checkpoints_within_an_epoch(data, whole, monkeypatch, tmp_path):
    """After what nobody catches, training goes on from the last checkpoint within the epoch."""

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    with monkeypatch.context() as patched:
        interrupted_after(patched, 12, kill)
        with pytest.raises(Killed):
            fit(data, out=tmp_path / "run", checkpoint_every_steps=2)
    checkpoint = RunDirectory(tmp_path / "run").checkpoint()
    assert (checkpoint.epochs_done, checkpoint.steps_done) == (3, 1)
    assert differences(fit(data, resume=tmp_path / "run", checkpoint_every_steps=0), whole) == []


SCRIPT = """
import sys, time, torch, bayes_vae as bv
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
generator = torch.Generator().manual_seed(0)
values = torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8)
data = bv.load_data(values, policy="stochastic")
model, guide = build_pair(PairSettings(latent_dim=2, hidden_dims=(8,)), data)
bv.fit(model, guide, data, epochs=100000, batch_size=17, out=sys.argv[1], schedule="constant", learning_rate=1e-2,
       checkpoint_every_steps=2, callbacks=[lambda state: time.sleep(0.1)], progress="none")
"""


def test_a_killed_process_leaves_a_run_that_goes_on(data, tmp_path):
    """SIGKILL at an arbitrary moment: the run ends as the uninterrupted one."""
    folder, root = tmp_path / "run", Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=root)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "manifest.json").exists() or len(RunDirectory(folder).history) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    done = RunDirectory(folder).checkpoint()
    epochs = done.epochs_done + 2
    resumed = fit(data, resume=folder, epochs=epochs)
    straight = fit(data, epochs=epochs, schedule="constant", checkpoint_every_steps=2)
    assert done.epochs_done >= 2
    assert differences(resumed, straight) == []
    assert not RunDirectory(folder).unfinished


def test_two_processes_never_train_one_run(data, monkeypatch, tmp_path):
    refused = []

    def second():
        with pytest.raises(RunError, match="is being trained by another process, and two would mix") as error:
            fit(data, resume=tmp_path / "run")
        refused.append(error)

    interrupted_after(monkeypatch, 4, second)
    fit(data, out=tmp_path / "run", epochs=2)
    assert refused


def test_the_handler_of_ctrl_c_is_back(data):
    before = signal.getsignal(signal.SIGINT)
    fit(data, epochs=1)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_acts_at_once(data, monkeypatch):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    interrupted_after(monkeypatch, 8, twice)
    run = fit(data)
    assert run.interrupted
    assert (run.checkpoint.epochs_done, run.checkpoint.steps_done) == (2, 0)


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_process_that_is_asked_to_end_leaves_a_checkpoint_and_ends(data, whole, monkeypatch, tmp_path, number):
    with monkeypatch.context() as patched:
        interrupted_after(patched, 10, lambda: os.kill(os.getpid(), number))
        with ending_signals_raise(), pytest.raises(Terminated) as ending:
            fit(data, out=tmp_path / "run")
    assert ending.value.number == number
    done = RunDirectory(tmp_path / "run").checkpoint()
    assert (done.epochs_done, done.steps_done) == (3, 1)
    assert signal.getsignal(number) is signal.SIG_DFL
    assert differences(fit(data, resume=tmp_path / "run"), whole) == []


def test_a_handler_of_the_users_own_is_left_alone(data, monkeypatch):
    arrived = []
    before = signal.signal(signal.SIGTERM, lambda *_: arrived.append("SIGTERM"))
    try:
        interrupted_after(monkeypatch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert not fit(data, epochs=2).interrupted
    finally:
        signal.signal(signal.SIGTERM, before)
    assert arrived == ["SIGTERM"]


@pytest.mark.parametrize("resume", ["", " "])
def test_an_empty_name_is_no_new_training(data, resume):
    with pytest.raises(RunError, match="resume is empty: name a run directory, or leave resume out"):
        fit(data, resume=resume)


@pytest.fixture(scope="module")
def midway(data):
    """A run that stopped after three epochs and one step."""
    with pytest.MonkeyPatch.context() as patched:
        interrupted_after(patched, 10)
        return fit(data)


def altered(checkpoint, part, key, value):
    return {part: {**getattr(checkpoint, part), key: value}}


NONSENSE = {
    "more steps than an epoch has": (
        lambda c: {"steps_done": 4},
        "it stands after 3 epochs and 4 steps of an epoch that has 3",
    ),
    "steps below zero": (lambda c: {"steps_done": -1}, "it stands after 3 epochs and -1 steps of an epoch that has 3"),
    "more epochs than history": (lambda c: {"epochs_done": 4}, "its history has 3 epochs, and 4 are done"),
    "less history": (lambda c: {"history": c.history[:-1]}, "its history has 2 epochs, and 3 are done"),
    "an epoch twice": (
        lambda c: {"history": c.history[:2] + c.history[:1]},
        "its history has 3 epochs, and 3 are done",
    ),
    "no figure": (
        lambda c: {"history": [*c.history[:2], {"epoch": 3}]},
        "epoch 3 of its history has no train_elbo",
    ),
    "a figure that is none": (
        lambda c: {"history": [*c.history[:2], {**c.history[2], "validation_elbo": float("nan")}]},
        "epoch 3 of its history has no validation_elbo",
    ),
    "another best epoch": (lambda c: {"best_epoch": 0}, "its best epoch is 0, and that of its history "),
    "time that runs backwards": (lambda c: {"seconds": -1.0}, "its epoch took -1.0 seconds so far"),
    "no order": (lambda c: {"epoch": {"sums": c.epoch["sums"]}}, "it lacks the order of its rows"),
    "a row twice": (
        lambda c: altered(c, "epoch", "order", torch.zeros_like(c.epoch["order"])),
        "the order of its rows is none of the 48 training rows",
    ),
    "sums that are none": (
        lambda c: altered(c, "epoch", "sums", c.epoch["sums"] * float("inf")),
        "the sums of its figures are of shape (3,), or not all finite",
    ),
    "an optimizer of another parameter": (
        lambda c: altered(c, "optimizer", "nobody/step", torch.tensor(1.0)),
        "its optimizer holds nobody/step of shape (), which no parameter here has",
    ),
    "an optimizer that diverged": (
        lambda c: altered(c, "optimizer", next(iter(c.optimizer)), torch.tensor(float("nan"))),
        ", which is not finite",
    ),
    "a generator of another kind": (
        lambda c: altered(c, "random", "torch", torch.zeros(3, dtype=torch.uint8)),
        "the state of its generator 'torch' is of another kind",
    ),
    "no generator": (lambda c: {"random": {}}, "it lacks the states of its generators"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_a_checkpoint_that_makes_no_sense_is_refused(data, midway, case):
    change, problem = NONSENSE[case]
    run = replace(midway, checkpoint=replace(midway.checkpoint, **change(midway.checkpoint)))
    message = (
        re.escape(f"the checkpoint of the run makes no sense: {problem}") if problem[0] != "," else re.escape(problem)
    )
    with pytest.raises(RunError, match=message):
        fit(data, resume=run)
