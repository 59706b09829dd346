"""The wild suite: how it counts, and a part of it that is trained and diagnosed."""

import pytest

from bayes_vae.diagnosis import diagnose
from faults.cases import CASES
from faults.families import FAMILIES
from faults.fault_injection import decided_again
from faults.held_out import answers, chosen, judged_while_left_out
from faults.several_sites import OF_SITES, SITES
from faults.verdicts import calibration, false_clear, summary, table, verdict
from faults.wild import cells, examine
from faults.wild_cases import WILD


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
    assert verdict(row("one-noise")) == "right"
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


def test_a_round_has_every_healthy_training_and_three_rounds_every_fault():
    families, faults = list(FAMILIES), [name for name in WILD if not WILD[name].healthy]
    rounds = [cells(families, list(WILD), [seed]) for seed in range(3)]
    for found in rounds:
        assert len(set(found)) == len(found)
        healthy = {(family, case) for family, case, _ in found if WILD[case].healthy}
        assert len(healthy) == len(families) * (len(WILD) - len(faults)) >= 60
    together = [cell[:2] for found in rounds for cell in found if not WILD[cell[1]].healthy]
    assert sorted(together) == sorted((family, fault) for family in families for fault in faults)
    assert len(families) >= 8


def test_a_round_has_the_cases_of_families_of_several_sites():
    found = [cell for cell in cells([*FAMILIES, *SITES], [*WILD, *OF_SITES], [0, 1]) if cell[0] in SITES]
    assert sorted(found) == sorted(
        (family, case, seed) for seed in (0, 1) for family in SITES for case in SITES[family].cases
    )
    assert {case for _, case, _ in found if case in OF_SITES} == set(OF_SITES)


def measured(case, family, examined, **changes):
    """A row of numbers: a healthy pair's but for some."""
    seen = examined(**changes)
    numbers = {name: [number.value, 0.0, ""] for name, number in seen.measured.items()}
    empty = {"numbers": numbers, "num_pixels": 64, "settings": None, "findings": []}
    return {"case": case, "family": family, "seed": 0, **empty}


def test_thresholds_are_chosen_on_the_other_families_alone(examined):
    healthy = [measured("healthy", name, examined, generalization_gap=4.4) for name in ("table-mlp", "words-mlp")]
    faulty = [measured("undertrained", "waves-lstm", examined, gain_of_training=2.0)]
    known = [answers(row) for row in (*healthy, *faulty)]
    assert chosen([*healthy, *faulty], known) == {"overfitting": 1.2}
    found, factors = judged_while_left_out([healthy[0], *faulty])
    assert factors == {"table-mlp": {}, "waves-lstm": {"overfitting": 1.2}}  # its only witness is the one left out
    assert [verdict(row) for row in found] == ["false alarm", "found"]


def test_shares_stand_with_their_counts_and_intervals():
    clear, likely = ("overfitting", "warning", 1.0, ""), ("overfitting", "warning", 0.9, "")
    rows = [
        row("healthy", clear),
        row("healthy", likely),
        row("healthy"),
        row("kl-missing", ("kl-missing", "fault", 1.0, "")),
    ]
    assert calibration(rows) == {"clear": (1, 2), "likely": (1, 1)}
    assert "- healthy trainings above a note: 2 of 3 (67 %, 21–94 %)" in list(summary(rows))


ROWS = (60, 400, 800)


@pytest.mark.parametrize("name", ["kl-missing", "kl-weight-2"])
def test_more_rows_keep_a_true_finding(patient, name):
    sick = patient(name, seed=1)
    only = ("elbo", "codes", "use", "balance")
    for rows in ROWS:
        found = diagnose(sick.model, sick.guide, sick.data, num_observations=rows, checks=only)
        assert found.findings[0].name in CASES[name].expected, (rows, found.sentence())


@pytest.mark.statistical
@pytest.mark.parametrize("family", ["table-mlp", "factors-pyro", "digits-own"])
@pytest.mark.parametrize("fault", ["kl-weight-tenth", "other-prior", "relu-log-variance", "latents-permuted"])
def test_more_rows_never_remove_a_true_finding(family, fault, tmp_path):
    verdicts = [verdict(examine(family, fault, 0, tmp_path, rows)) for rows in ROWS]
    assert verdicts[verdicts.index("found") :] == ["found"] * (3 - verdicts.index("found")), verdicts


@pytest.mark.statistical
@pytest.mark.parametrize("family", ["table-mlp", "words-mlp", "factors-deep"])
@pytest.mark.parametrize("fault", ["healthy", "kl-missing", "relu-log-variance"])
def test_a_part_of_the_suite(family, fault, tmp_path):
    assert verdict(examine(family, fault, 0, tmp_path, 800)) in ("found", "right")


@pytest.mark.statistical
@pytest.mark.parametrize("family", SITES)
def test_programs_of_several_sites(family, tmp_path):
    verdicts = {case: verdict(examine(family, case, 1, tmp_path, 800)) for case in SITES[family].cases}
    assert set(verdicts.values()) <= {"found", "right"}, verdicts


def test_deciding_again_keeps_what_needs_no_measurement(examined):
    found = measured("gray-data", "", examined, generalization_gap=90.0)
    found["findings"] = [{"name": name} for name in ("gray-data", "kl-missing")]
    assert [finding["name"] for finding in decided_again(found)["findings"]] == ["gray-data", "overfitting"]
