"""What the end of a history says, and when it says nothing."""

import pytest

from bayes_vae.diagnosis.measure.more_training import measure_history
from bayes_vae.errors import NotDefinedError


def history(values, kl_weights=None):
    weights = kl_weights or [1.0] * len(values)
    return [{"validation_elbo": value, "kl_weight": weight} for value, weight in zip(values, weights, strict=True)]


def test_the_rise_is_over_the_last_fifth():
    found = measure_history(history([-50.0, -40.0, -35.0, -33.0, -32.0, -31.0, -29.0, -30.0, -28.0, -28.5]))
    assert found["last_rise"].value == pytest.approx(1.5)
    assert found["below_best"].value == pytest.approx(0.5)
    assert found["epochs"].value == 10


def test_epochs_without_validation_are_left_out():
    rows = history([-50.0, -40.0, -35.0, -33.0, -32.0, -31.0])
    rows[1]["validation_elbo"] = None
    assert measure_history(rows)["epochs"].value == 5


def test_a_short_history_says_nothing():
    with pytest.raises(NotDefinedError, match="no history of at least five epochs"):
        measure_history(history([-50.0, -40.0, -35.0, -33.0]))


def test_a_weight_that_moved_at_the_end_says_nothing():
    values = [-50.0, -40.0, -35.0, -33.0, -31.0]
    with pytest.raises(NotDefinedError, match="the KL weight moved over the last fifth"):
        measure_history(history(values, [0.0, 0.5, 1.0, 0.0, 0.5]))
    assert measure_history(history(values, [0.0, 0.5, 0.8, 1.0, 1.0]))["last_rise"].value == pytest.approx(2.0)
