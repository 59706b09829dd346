"""What a change did: findings that went, stayed and came, and the numbers behind them."""

from bayes_vae.diagnosis import Comparison, Diagnosis, Finding, Measurement, NotChecked


def diagnosis(names, missing=(), **numbers):
    measured = {name: Measurement(value, 0.3, "nats") for name, value in numbers.items()}
    findings = tuple(
        Finding(name, "warning", 1.0, "Found.", (Measurement(2.0, 0.1, "", "use_of_latent", 1.0),), "Why.", "What.")
        for name in names
    )
    not_checked = tuple(NotChecked(name, "no time.") for name in missing)
    return Diagnosis(findings, measured, not_checked, 0, "static", 800, 300, 16)


def test_findings_go_stay_and_come():
    before = diagnosis(["kl-weight", "prior-hole", "overfitting"], test_elbo=-30.0, use_of_latent=1.0, kl_weight=2.0)
    after = diagnosis(["prior-hole", "undertraining"], ["overfitting"], test_elbo=-28.0, use_of_latent=2.0)
    found = Comparison(before, after)
    assert (found.gone, found.stayed, found.came) == (("kl-weight",), ("prior-hole",), ("undertraining",))
    assert found.unknown == ("overfitting",)
    assert set(found.numbers) == {"test_elbo", "use_of_latent"}
    text = found.table()
    assert "Gone: kl-weight" in text
    assert "No longer checked: overfitting" in text
    assert "-30.00 ± 0.30 nats -> -28.00 ± 0.30 nats   (+2 ± 0.42)" in text
    assert found.to_json()["numbers"]["test_elbo"] == [-30.0, -28.0]


def test_nothing_in_either():
    assert Comparison(diagnosis([]), diagnosis([])).table() == "Nothing was found in either."
