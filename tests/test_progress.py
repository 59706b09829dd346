"""How far long work is, and how long it will take."""

import io
import sys

import pytest
import torch

import bayes_vae as bv
from bayes_vae import progress as shown_progress
from bayes_vae.errors import SettingsError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.progress import ProgressBar, shown


@pytest.fixture
def clock(monkeypatch):
    """Sets what the time is at each look, the first two at the beginning."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(shown_progress.time, "monotonic", lambda: Clock.now)
    return Clock


def told(clock, seconds, done, total=1000):
    """Tell that so much is done at these seconds, of work that began at 0."""
    clock.now = 0.0
    with ProgressBar("ladder") as progress:
        for clock.now, each in zip(seconds, done, strict=True):
            progress(each, total)


@pytest.fixture
def estimates(clock, monkeypatch, capsys):
    """The estimates alone."""
    monkeypatch.setattr(shown_progress, "SECONDS_BETWEEN_LINES", 1000.0)

    def of(seconds, done):
        told(clock, seconds, done)
        return capsys.readouterr().err.splitlines()

    return of


def test_a_line_now_and_then(clock, capsys):
    told(clock, [1.0, 11.0, 12.0, 30.0, 31.0], [1000, 2000, 3000, 4000, 5000], 5000)
    assert capsys.readouterr().err.splitlines() == [
        "ladder: 40% of 5,000 observations",
        "ladder: 80% of 5,000 observations",
    ]


def test_long_work_is_told_with_an_estimate_once_and_again_if_it_doubles(estimates):
    # at the pace since the first report 144, 156, 167 and 542 seconds
    assert estimates([1.0, 3.0, 4.0, 5.0, 60.0], [1, 15, 20, 25, 110]) == [
        "ladder: about 2.4 minutes in all, of which 3 s have passed",
        "ladder: about 9 minutes in all, of which 1.0 minutes have passed",
    ]


def test_what_is_done_once_before_the_first_report_is_not_taken_for_the_pace(estimates):
    # 20 seconds of preparation for the first thousandth; then 10 thousandths a second
    assert estimates([20.0, 23.0, 30.0], [1, 31, 101]) == [
        "ladder: about 2.0 minutes in all, of which 23 s have passed"
    ]


def test_an_estimate_that_was_twice_too_long_is_corrected(estimates):
    assert estimates([1.0, 4.0, 15.0, 16.0], [1, 16, 400, 600]) == [
        "ladder: about 3.3 minutes in all, of which 4 s have passed",
        "ladder: about 36 s in all, of which 15 s have passed",
    ]


def test_corrections_do_not_come_in_a_row(estimates):
    # at their paces 15, 201, 65, 28 and 28 seconds; the first after a hundredth of the work
    assert estimates([1.0, 3.1, 3.2, 3.3, 3.4, 20.0], [1, 2, 12, 40, 100, 700]) == [
        "ladder: about 3.3 minutes in all, of which 3 s have passed",
        "ladder: about 28 s in all, of which 20 s have passed",
    ]


def test_work_that_may_take_no_longer_is_not_said_to(clock, capsys):
    clock.now = 0.0
    with ProgressBar("diagnosis", "checks", most=60.0) as progress:
        for clock.now, each in ((1.0, 1), (3.0, 15)):
            progress(each, 1000)
    assert capsys.readouterr().err.splitlines() == ["diagnosis: about 1.0 minutes in all, of which 3 s have passed"]


def test_work_of_less_than_a_minute_has_no_estimate(estimates):
    assert estimates([3.0, 50.0], [60, 1000]) == []


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressBar("ladder") as progress:
        progress(2, 4)
        progress(4, 4)
    assert "ladder:   0%" in stream.getvalue()
    assert "observations" not in stream.getvalue()


def test_what_can_be_asked_for():
    def own(done, total):
        pass

    with shown(True, "ladder") as bar, shown(own, "ladder") as same, shown(None, "") as none, shown(False, "") as off:
        assert isinstance(bar, ProgressBar)
        assert (same, none, off) == (own, None, None)


WITH_PROGRESS = {
    "elbo_terms": {},
    "annealed_log_evidence": {"num_temperatures": 3},
    "evaluate": {"num_particles": 10, "num_temperatures": 3},
    "compare": {"rungs": (1, 10), "num_temperatures": 3},
    "diagnose": {"checks": ["splits"]},
    "calibrate_guide": {"num_observations": 40, "num_draws": 19},
    "bidirectional_bounds": {"num_observations": 4, "num_temperatures": 3},
    "reconstruct": {},
    "sample": {"num_observations": 2},
    "compare_models": {"num_particles": 10, "num_temperatures": 3},
    "refit_prior": {"prior": "learned-normal", "epochs": 1, "num_particles": 2, "num_temperatures": 0},
    "nuts_draws": {"num_draws": 5, "num_warmup": 5, "num_chains": 2},
}
"""Function → arguments that make it quick; between them all that reads ``progress`` for itself."""


@pytest.fixture(scope="module")
def given(isolated_globals):
    """Function → what it is of."""
    networks = {"latent_dim": 2, "data_shape": (6,), "hidden_dims": (4,)}
    with isolated_globals(seed=0):
        model, guide = VAE(**networks), AmortizedNormalGuide(**networks)
        rows = torch.bernoulli(torch.full((200, 6), 0.5))
    pair, data = {"model": model, "guide": guide}, bv.load_data(rows)
    others = {
        "diagnose": {**pair, "data": data},
        "refit_prior": {**pair, "data": data},
        "calibrate_guide": pair,
        "bidirectional_bounds": pair,
        "sample": {"model": model},
        "compare_models": {"models": {"a": (model, guide), "b": (model, guide)}, "x": rows[:5]},
        "nuts_draws": {"model": model, "x": rows[:1]},
    }
    return {name: {**others.get(name, {**pair, "x": rows[:5]}), **WITH_PROGRESS[name]} for name in WITH_PROGRESS}


@pytest.mark.filterwarnings("ignore::bayes_vae.errors.BayesVaeWarning")
@pytest.mark.parametrize("name", WITH_PROGRESS)
def test_each_function_shows_its_progress_and_its_estimate(given, name, monkeypatch, capsys):
    monkeypatch.setattr(shown_progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(shown_progress.TimeEstimate, "__call__", lambda self, done, total: "about 3 minutes in all")
    getattr(bv, name)(**given[name], progress=True)
    assert ": about 3 minutes in all" in capsys.readouterr().err


def test_a_long_training_tells_its_time_after_two_seconds(given, monkeypatch, capsys):
    now = iter(range(10_000))
    monkeypatch.setattr(shown_progress.time, "monotonic", lambda: float(next(now)))
    bv.fit(*(given["diagnose"][which] for which in ("model", "guide", "data")), epochs=10, batch_size=20)
    # 10 epochs of 8 steps, each of a second: known two seconds after the first, corrected never
    assert [line for line in capsys.readouterr().err.splitlines() if "about" in line] == [
        "training: about 1.3 minutes in all, of which 3 s have passed"
    ]


@pytest.mark.parametrize("name", WITH_PROGRESS)
@pytest.mark.parametrize("wrong", [5, "yes", {}])
def test_progress_that_cannot_be_called_is_refused(given, name, wrong):
    with pytest.raises(SettingsError, match="progress must be True, or a function that is called with"):
        getattr(bv, name)(**given[name], progress=wrong)
