"""Tables, JSON and progress."""

import io
import json
import math
import sys

from bayes_vae.cli import output
from bayes_vae.cli.output import Progress, json_text, table
from bayes_vae.vocabulary.number_text import error_text, value_text


def test_json_has_no_nan():
    content = {"a": math.nan, "b": [math.inf, (1.5, -math.inf)], "c": {"d": None, "e": True}, "text": "≤"}
    text = json_text(content)
    assert json.loads(text) == {"a": None, "b": [None, [1.5, None]], "c": {"d": None, "e": True}, "text": "≤"}
    assert "≤" in text


def test_figures_as_text():
    assert [value_text(value) for value in (-23.4567, 0.0, math.nan)] == ["−23.457", "0.000", "–"]
    assert [error_text(value) for value in (math.nan, 0.0, 0.0004, 0.0005, 1.5)] == [
        "–",
        "0",
        "<0.001",
        "0.001",
        "1.500",
    ]


def test_columns_line_up_whatever_the_letters():
    lines = table(["name", "value"], [["k̂", "1"], ["long", "22"]], right=(1,)).splitlines()
    assert lines == ["  name  value", "  k̂         1", "  long     22"]


def test_progress_tells_a_line_now_and_then(monkeypatch, capsys):
    seconds = iter([0.0, 1.0, 11.0, 12.0, 30.0, 31.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(seconds))
    with Progress("ladder") as progress:
        for done in (1000, 2000, 3000, 4000, 5000):
            progress(done, 5000)
    assert capsys.readouterr().err.splitlines() == [
        "ladder: 40% of 5,000 observations",
        "ladder: 80% of 5,000 observations",
    ]


def told(monkeypatch, capsys, seconds, done):
    """What is said of work that is so far done of 1000 at these seconds; it began at 0."""
    clock = iter([0.0, *seconds])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 1000.0)
    with Progress("ladder") as progress:
        for each in done:
            progress(each, 1000)
    return capsys.readouterr().err.splitlines()


def test_long_work_is_told_with_an_estimate_once_and_again_if_it_doubles(monkeypatch, capsys):
    # at the pace since the first report 144, 156, 167 and 542 seconds
    assert told(monkeypatch, capsys, [1.0, 3.0, 4.0, 5.0, 60.0], [1, 15, 20, 25, 110]) == [
        "ladder: about 2.4 minutes in all, of which 3 s have passed",
        "ladder: about 9 minutes in all, of which 1.0 minutes have passed",
    ]


def test_what_is_done_once_before_the_first_report_is_not_taken_for_the_pace(monkeypatch, capsys):
    # 20 seconds of preparation for the first thousandth; then 10 thousandths a second
    assert told(monkeypatch, capsys, [20.0, 23.0, 30.0], [1, 31, 101]) == [
        "ladder: about 2.0 minutes in all, of which 23 s have passed"
    ]


def test_an_estimate_that_was_twice_too_long_is_corrected(monkeypatch, capsys):
    assert told(monkeypatch, capsys, [1.0, 4.0, 15.0, 16.0], [1, 16, 400, 600]) == [
        "ladder: about 3.3 minutes in all, of which 4 s have passed",
        "ladder: about 36 s in all, of which 15 s have passed",
    ]


def test_corrections_do_not_come_in_a_row(monkeypatch, capsys):
    # at their paces 15, 201, 65, 28 and 28 seconds; the first after a hundredth of the work
    assert told(monkeypatch, capsys, [1.0, 3.1, 3.2, 3.3, 3.4, 20.0], [1, 2, 12, 40, 100, 700]) == [
        "ladder: about 3.3 minutes in all, of which 3 s have passed",
        "ladder: about 28 s in all, of which 20 s have passed",
    ]


def test_work_of_less_than_a_minute_has_no_estimate(monkeypatch, capsys):
    seconds = iter([0.0, 3.0, 50.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 1000.0)
    with Progress("ladder") as progress:
        progress(60, 1000)
        progress(1000, 1000)
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress("ladder") as progress:
        progress(2, 4)
        progress(4, 4)
    assert "ladder:   0%" in stream.getvalue()
    assert "observations" not in stream.getvalue()
