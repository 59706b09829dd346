"""The wild suite: how it counts, and a part of it that is trained and diagnosed."""

import pytest

from faults.families import FAMILIES
from faults.wild import WILD, examine, false_clear, table, verdict


def row(case, *findings, family="table-mlp"):
    """A diagnosis with findings (name, severity, probability, because)."""
    keys = "name", "severity", "probability", "because"
    return {"case": case, "family": family, "findings": [dict(zip(keys, finding, strict=True)) for finding in findings]}


def test_how_a_diagnosis_is_counted():
    cause, other = ("kl-missing", "fault", 1.0, ""), ("overfitting", "warning", 1.0, "")
    follows, note = ("prior-hole", "warning", 1.0, "kl-missing"), ("unused-dimensions", "note", 1.0, "")
    assert verdict(row("kl-missing", cause)) == "found"
    assert verdict(row("kl-missing", other, cause)) == "found"
    assert verdict(row("kl-missing", other, follows, cause)) == "misnamed"
    assert verdict(row("kl-missing", note)) == "missed"
    assert verdict(row("healthy", note)) == "right"
    assert verdict(row("healthy", other)) == "false alarm"
    assert verdict(row("one-noise", ("undertraining", "warning", 1.0, ""))) == "right"
    assert verdict(row("one-noise", cause)) == "misnamed"
    assert false_clear(row("kl-missing", cause, other, follows, note)) == ["overfitting"]
    assert false_clear(row("kl-missing", cause, ("overfitting", "warning", 0.9, ""))) == []


def test_the_table_counts_families_faults_and_all():
    rows = [
        row("healthy"),
        row("healthy", ("overfitting", "warning", 1.0, ""), family="words-mlp"),
        row("kl-missing", ("kl-missing", "fault", 1.0, "")),
    ]
    lines = {line.split(" | ")[0].strip("| ").partition(":")[0]: line for line in table(rows)}
    assert lines["table-mlp"].endswith("| 2 | 2 | 0 | 0 | 0 of 1 | 1, 0 |")
    assert lines["words-mlp"].endswith("| 1 | 0 | 0 | 0 | 1 of 1 | 1, 1 |")
    assert lines["kl-missing"].endswith("| 1 | 1 | 0 | 0 |  | 1, 0 |")
    assert lines["all"].endswith("| 3 | 2 | 0 | 0 | 1 of 2 | 2, 1 |")


def test_every_family_gives_a_pair_that_reads_its_data(isolated_globals):
    for name, family in FAMILIES.items():
        if family.needs:
            continue
        (model, guide), data = family.fresh(0)
        x = data.train.observations(slice(0, 3))
        with isolated_globals(seed=0):
            log_prob = model.likelihood(guide.variational_posterior(x).rsample((2,))).log_prob(x)
        assert log_prob.shape == (2, 3), name


@pytest.mark.statistical
@pytest.mark.parametrize("family", ["table-mlp", "words-mlp", "factors-deep"])
@pytest.mark.parametrize("fault", ["healthy", "kl-missing", "relu-log-variance"])
def test_a_part_of_the_suite(family, fault, tmp_path):
    assert fault in WILD
    assert verdict(examine(family, fault, 0, tmp_path, 800)) in ("found", "right")
