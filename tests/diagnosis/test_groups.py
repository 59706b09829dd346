"""The time of a diagnosis: what is cheap comes first, what there is no time for is said, and no draw depends on it."""

import pytest

from bayes_vae import diagnose
from bayes_vae.diagnosis.measure import groups
from bayes_vae.diagnosis.measure.groups import GROUPS, Budget, Group, check_names, measure
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.errors import SettingsError


class Clock:
    """Seconds that pass only while something is measured."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(groups.time, "perf_counter", lambda: self.now)

    def group(self, name, passes, seconds):
        def wait(subject):
            self.now += seconds
            return {f"number_of_{name}": Measurement(1.0)}

        return Group(name, (f"number_of_{name}",), wait, passes, of_rows=False)


class Nothing:
    """As much of a subject as measuring looks at."""

    most_train = 800

    class data:  # noqa: N801
        train = range(800)

    def __init__(self):
        self.measured, self.notes, self.void = {}, {}, set()


def measured(monkeypatch, *times, **budget):
    clock, subject = Clock(monkeypatch), Nothing()
    monkeypatch.setattr(groups, "GROUPS", tuple(clock.group(*one) for one in times))
    spent = Budget(start=0.0, **budget)
    measure(subject, spent)
    return subject, spent, clock


def test_a_check_that_would_take_too_long_is_left_out(monkeypatch):
    subject, budget, clock = measured(
        monkeypatch, ("a", 100, 1.0), ("b", 200, 2.0), ("c", 6000, 60.0), ("d", 300, 3.0), seconds=30
    )
    assert set(subject.measured) == {"number_of_a", "number_of_b", "number_of_d"}
    assert budget.made == ["a", "b", "d"]
    assert clock.now == 6.0
    assert subject.notes == {
        "number_of_c": "the check c would take about 60 s, and of 30 s 27 s are left: give at least 63 seconds."
    }


def test_a_long_check_is_announced(monkeypatch):
    said = []
    measured(monkeypatch, ("a", 100, 1.0), ("b", 2000, 20.0), seconds=60, announce=said.append)
    assert said == ["b: about 20 s"]


def test_named_checks_are_made_whatever_the_time(monkeypatch):
    subject, _, _ = measured(monkeypatch, ("a", 100, 1.0), ("b", 2000, 20.0), ("c", 1, 1.0), checks=("a", "b"))
    assert set(subject.measured) == {"number_of_a", "number_of_b"}
    assert subject.notes == {"number_of_c": "the check c was not asked for."}


def test_unknown_checks_and_no_time_are_refused(patient):
    with pytest.raises(SettingsError, match="there is no check 'speed': choose among splits, elbo"):
        check_names(["elbo", "speed"])
    healthy = patient("healthy")
    with pytest.raises(SettingsError, match="seconds must be above 0, the time that a diagnosis may take, got 0"):
        diagnose(healthy.model, healthy.guide, healthy.data, seconds=0)


def test_the_clock_changes_no_number(patient):
    healthy = patient("healthy")
    pair = healthy.model, healthy.guide, healthy.data
    some = diagnose(*pair, num_observations=100, checks=("codes", "elbo", "balance"))
    assert some.checks == ("elbo", "codes", "balance")
    assert some.healthy is None
    assert "the check best-q was not asked for." in dict(some.not_checked).values()
    again = diagnose(*pair, num_observations=100, checks=some.checks)
    assert again.to_json() == some.to_json()
    short = diagnose(*pair, num_observations=100, seconds=1e-9)
    assert set(short.checks) < {group.name for group in GROUPS}
    for name, number in short.measurements.items():
        if name in some.measurements:
            assert number == some.measurements[name]


def test_the_cheapest_checks_come_first():
    """But for those that look at what an earlier, dearer one found, no check stands far behind a dearer one."""
    passes = [group.passes for group in GROUPS]
    assert max(passes[:13]) <= min(passes[13:])
