"""Findings and the diagnosis as text and as JSON."""

import json
import math
import re

import pytest

from bayes_vae.diagnosis import Diagnosis, Finding, Measurement, NotChecked
from bayes_vae.diagnosis.findings.examined import probability_above
from bayes_vae.diagnosis.findings.table import KINDS

FINDING = Finding(
    "kl-weight",
    "warning",
    0.9999,
    "It came to rest at 2.",
    (Measurement(2.0, 0.01, "", "kl_weight", 1.3), Measurement(math.nan, name="kl")),
    "No bound.",
    "Train at 1.",
)
NOTE = Finding("unused-dimensions", "note", 1.0, "One is unused.", (), "Fine.", "Nothing.", "kl-weight")


def test_probability_is_the_normal_one():
    assert probability_above(1.0, 1.0, 0.0) == pytest.approx(0.841345, abs=1e-6)
    assert probability_above(-1.0, 1.0, 0.0) == pytest.approx(0.158655, abs=1e-6)
    assert probability_above(1.0, math.nan, 0.0) == 0.0
    assert probability_above(1.0, math.inf, 0.0) == 0.0
    assert probability_above(math.inf, math.nan, 0.0) == 1.0
    assert probability_above(1.0, 0.0, 1.0) == 0.0
    assert probability_above(math.nan, 0.1, 0.0) == 0.0


def test_sureness_in_words():
    assert FINDING.sureness == "clear"
    likely = Finding("prior-hole", "warning", 0.9, "Far.", (), "Why.", "What.")
    assert likely.sureness == "likely"
    assert str(likely) == "prior-hole (warning, likely): Far."


def test_a_measurement_says_value_error_unit_and_threshold():
    assert str(Measurement(2.0, 0.01, "nats", "kl_weight", 1.3)) == "kl weight 2.000 ± 0.010 nats (threshold 1.3)"
    assert str(Measurement(1.234e-6, unit="", name="smallest_scale")) == "smallest scale 1.23e-06"


def test_the_diagnosis_in_a_sentence():
    sick = Diagnosis((FINDING, NOTE), {}, (), 0, "static", 800, 300, 16)
    assert sick.sentence() == "Found: kl-weight (warning, clear). It came to rest at 2."
    assert sick.healthy is False
    assert sick.finding("kl-weight") is FINDING
    assert sick.finding("prior-hole") is None
    well = Diagnosis((NOTE,), {}, (), 0, "static", 800, 300, 16)
    assert well.healthy is True
    assert well.sentence() == (
        f"Nothing was found to be wrong, by any of the {well.num_checks} checks that apply to this pair."
    )


def test_nothing_asked_is_not_nothing_wrong():
    missing = tuple(NotChecked(kind.name, "no codes") for kind in KINDS if not kind.first)[2:]
    found = Diagnosis((NOTE,), {"train_elbo": Measurement(-3.0)}, missing, 0, "static", 800, 300, 16)
    assert found.healthy is None
    assert found.to_json()["healthy"] is None
    assert found.num_made == 2
    assert found.sentence() == (
        f"2 of {len(missing) + 2} checks could be made on this pair, and they found nothing wrong; whether the rest is "
        "right is not known."
    )
    few = Diagnosis((FINDING,), {}, missing, 0, "static", 800, 300, 16)
    assert few.healthy is False
    assert few.sentence().endswith(f"2 of {len(missing) + 2} checks could be made.")


def test_what_does_not_apply_is_not_counted():
    void = (NotChecked("likelihood-scale", "the likelihood has no deviation."),)
    found = Diagnosis((), {}, (), 0, "static", 800, 300, 16, not_applicable=void)
    assert found.healthy is True
    assert found.num_checks == sum(not kind.first for kind in KINDS) - 1
    assert "Does not apply\n   likelihood-scale: the likelihood has no deviation." in found.table()


def test_the_table_has_all_of_it():
    missing = (NotChecked("prior-hole", "no codes"), NotChecked("kl-sign", "no codes"))
    text = str(Diagnosis((FINDING, NOTE), {}, missing, 0, "static", 800, 300, 16))
    for words in (
        "1. kl-weight (warning, clear)",
        "Train at 1.",
        "because of kl-weight",
        "prior-hole, kl-sign: no codes",
    ):
        assert words in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_json_is_strict():
    content = Diagnosis(
        (FINDING,), {"kl_weight": Measurement(2.0, math.nan, "")}, (), 3, "static", 800, 300, 16
    ).to_json()
    again = json.loads(json.dumps(content, allow_nan=False))
    assert again["findings"][0]["name"] == "kl-weight"
    assert again["findings"][0]["measurements"][1]["value"] is None
    assert again["measurements"]["kl_weight"] == {"value": 2.0, "error": None, "unit": ""}
    assert again["healthy"] is False


def test_every_advice_says_which_number_moves_and_where_to(examined):
    """The words of a number that is measured, or of the KL weights, behind what is to be done, and then a value."""
    numbers = [name.replace("_", " ").lower() for name in examined().measured]
    numbers += ["kl weight", "moved by a call", "kl of site", "use of site", "prior precision"]
    for kind in KINDS:
        if kind.first or kind.name in ("not-finite", "data-range", "gray-data", "unused-dimensions"):
            continue
        *_, last = kind.advice.split(". ")
        assert any(number in last.lower() for number in numbers), (kind.name, last)
        assert re.search(r"\b(then|after|once)\b.*\b(reads?|falls?|rises?|stays)\b", last, re.IGNORECASE), (
            kind.name,
            last,
        )
