"""Tables and JSON."""

import json
import math

from bayes_vae.cli.output import json_text, table
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
