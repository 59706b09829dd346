"""Causes have a direction, symptoms of several are likely at most, and contradictory numbers rule a cause out."""

import pytest

from bayes_vae.diagnosis import Measurement
from bayes_vae.diagnosis.findings.judge import judge


def findings_of(seen):
    """Names with their causes."""
    return {finding.name: finding.because for finding in judge(seen).findings}


def test_what_young_networks_lack_follows_from_too_short_a_training(examined):
    """Where training both gains far more than a better q would, the gap and a learned deviation follow; else not."""
    off = {"residual_over_scale": 1.5, "gain_of_pixel_scale": 4.0, "pixel_scale_is_learned": 1.0}
    gap = {"train_amortization_gap": 2.0, "gain_of_encoder": 1.8}
    young = findings_of(examined(**off, **gap, gain_of_training=9.0))
    assert young == {"undertraining": "", "amortization-gap": "undertraining", "likelihood-scale": "undertraining"}
    assert findings_of(examined(**gap, gain_of_training=2.5)) == {
        "amortization-gap": "",
        "undertraining": "amortization-gap",
    }
    fixed = findings_of(examined(**{**off, "pixel_scale_is_learned": 0.0}, gain_of_training=9.0))
    assert fixed == {"likelihood-scale": "", "undertraining": "likelihood-scale"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"scale_share": 0.002}, "variance-collapse"),
        ({"best_scale_factor": 3.0, "gain_of_scale_factor": 9.0}, "guide-too-narrow"),
        ({"best_scale_factor": 0.3, "gain_of_scale_factor": 9.0}, "guide-too-wide"),
        ({"train_amortization_gap": 9.0, "gain_of_encoder": 9.0}, "amortization-gap"),
        ({"marginal_kl_bound": 9.0}, "prior-hole"),
        ({"generalization_gap": 90.0}, "overfitting"),
        ({"use_of_latent": 0.0}, "decoder-ignores-latent"),
        ({"smallest_scale": 1e-9}, "scale-runaway"),
    ],
)
def test_a_symptom_of_many_causes_is_likely_at_most(examined, changes, name):
    (found,) = [finding for finding in judge(examined(**changes)).findings if finding.name == name]
    assert found.sureness == "likely"


def test_another_observations_z_that_does_better_is_no_ignored_latent(examined):
    """The decoder uses z, and reads it otherwise: where the encoder alone regains much, they do not belong together."""
    better = {"use_of_latent": -40.0, "gain_of_encoder": 60.0, "gain_of_training": 110.0, "train_amortization_gap": 70}
    found = findings_of(examined(**better))
    assert "decoder-ignores-latent" not in found
    assert found["mismatched-pair"] == ""
    assert "kl-sign" not in findings_of(examined(**better, train_kl_to_prior=20.0, marginal_kl_bound=3.0))
    assert "mismatched-pair" not in findings_of(examined(**{**better, "use_of_latent": 0.2}))


def test_free_deviations_next_to_zero_say_that_the_kl_is_missing(examined):
    """And not where all are one number, as of a cap, whatever the means say."""
    points = {"kl_weight_of_scales": 0.03, "kl_weight_of_means": 2.2, "scale_share": 0.008, "train_kl_to_prior": 47.0}
    points |= {"kl_weight_of_scales_under_prior": 0.03, "smallest_scale": 2e-4, "largest_scale": 0.07}
    points |= {"aggregate_deviation_smallest": 0.73, "aggregate_mean_off": 1.4}
    found = findings_of(examined(**points))
    assert (found["kl-missing"], found["variance-collapse"]) == ("", "kl-missing")
    held = findings_of(examined(**{**points, "largest_scale": 3e-4}))
    assert "kl-missing" not in held
    assert held["variance-collapse"] == ""


def test_a_weight_at_which_training_gains_nothing_is_one_where_means_and_deviations_differ(examined):
    apart = {"kl_weight": 0.123, "kl_weight_of_means": 0.151, "kl_weight_of_scales": 0.097, "prior_precision": 0.15}
    apart |= {"gain_of_training_on_train": 2.4, "kl_weight_of_scales_under_prior": 0.09}
    found, *_ = judge(examined(**apart, gain_at_own_weight_on_train=0.06))
    assert (found[0].name, found[0].sureness) == ("kl-weight", "likely")
    assert "kl-weight" not in findings_of(examined(**apart, gain_at_own_weight_on_train=1.2))


def test_the_means_alone_do_not_speak_of_a_near_prior(examined):
    """Narrow deviations are at rest under either prior: then the means must be sure of a far one."""
    alone = {"prior_precision": 2.6, "kl_weight_of_means": 2.6, "kl_weight_of_scales_under_prior": 1.05}
    assert "prior-mismatch" not in findings_of(examined(**alone))
    assert "prior-mismatch" in findings_of(examined(**alone, kl_weight_of_scales=1.6))
    assert "prior-mismatch" in findings_of(examined(**{**alone, "prior_precision": 9.0}))
    unsure = examined(prior_centre_off=2.0)
    unsure.measured["prior_centre_off"] = Measurement(2.0, 1.2)
    assert "prior-mismatch" not in findings_of(unsure)


def test_a_decoder_that_knows_the_means_alone_pulls_anywhere_at_draws(examined):
    off = {"gain_of_decoding_means": 400.0, "mean_square_scale": 1.0, "kl_weight_at_means": 0.96}
    assert "sampling-off" in findings_of(examined(**off, kl_weight_of_means=-377.0))
    assert "sampling-off" in findings_of(examined(**off, kl_weight_of_means=30.0))
    assert "sampling-off" not in findings_of(examined(**off, kl_weight_of_means=1.1))


def test_means_that_hardly_vary_have_no_end_of_an_activation(examined):
    out = {"share_below_reach": 0.5, "smallest_mean_decoded": -0.2, "largest_mean_decoded": 0.16}
    assert "decoder-reach" not in findings_of(examined(**out))
    assert "decoder-reach" not in findings_of(
        examined(**{**out, "smallest_mean_decoded": -0.8, "largest_mean_decoded": 0.7})
    )
    assert "decoder-reach" in findings_of(
        examined(**{**out, "smallest_mean_decoded": 0.01, "largest_mean_decoded": 0.97})
    )


def test_a_weight_at_which_the_pair_rests_rules_out_another_reading(examined):
    """Of four accounts of two balances one may fit by chance; what training at the estimated weight gains decides."""
    both = {"kl_weight": 0.11, "kl_weight_of_means": 0.12, "kl_weight_of_scales": 0.104, "gain_of_training": 3.1}
    both |= {"gain_of_training_on_train": 3.1, "kl_weight_of_means_with_roots": 0.95}
    both |= {"train_amortization_gap": 3.3, "gain_of_encoder": 2.8, "kl_weight_of_scales_with_roots": 1.04}
    both |= {"kl_weight_of_scales_under_prior": 0.1, "prior_precision": 0.11}
    assert findings_of(examined(**both, gain_at_own_weight_on_train=0.08))["kl-weight"] == ""
    assert "scale-misread" not in findings_of(examined(**both, gain_at_own_weight_on_train=0.08))
    assert findings_of(examined(**both, gain_at_own_weight_on_train=0.7))["kl-weight"] == "scale-misread"


def test_other_deviations_that_regain_most_of_it_are_no_mismatched_pair(examined):
    """Nor is a young decoder; a pull inwards at q's own means is one."""
    inwards = {"gain_of_encoder": 16.0, "train_amortization_gap": 17.0, "gain_of_training": 15.0}
    inwards |= {"kl_weight_of_means": -9.7, "kl_weight_at_means": -8.0}
    assert findings_of(examined(**inwards))["mismatched-pair"] == ""
    wide = {"best_scale_factor": 0.3, "gain_of_scale_factor": 13.0}
    assert "mismatched-pair" not in findings_of(examined(**inwards, **wide))
    at_means = {**inwards, "kl_weight_of_means": 0.08, "kl_weight_at_means": -0.15, "train_kl_to_prior": 20.0}
    assert findings_of(examined(**at_means))["mismatched-pair"] == ""
    assert "mismatched-pair" not in findings_of(examined(**{**at_means, "kl_weight_at_means": 0.0}))


def test_what_follows_where_only_means_were_decoded(examined):
    """The deviation of the likelihood and those of q were for the means: neither is a cause by itself."""
    alone = {"kl_weight_of_means": 0.24, "kl_weight_at_means": 0.004, "kl_weight_of_scales": -14.0}
    alone |= {"gain_of_decoding_means": 35.0, "train_kl_to_prior": 7.7, "residual_over_scale": 2.6}
    alone |= {"gain_of_pixel_scale": 24.0, "best_scale_factor": 0.22, "gain_of_scale_factor": 31.0}
    alone |= {"kl_weight_of_scales_under_prior": 20.0, "prior_precision": 0.16, "kl_weight_of_moments": 0.3}
    found = findings_of(examined(**alone))
    assert found["kl-missing"] == ""
    assert found["likelihood-scale"] == found["guide-too-wide"] == "kl-missing"


def test_a_learned_deviation_that_is_off_is_no_cause(examined):
    """It was right for the draws of the training; a q that is too wide brings others. A fixed one is a cause."""
    off = {
        "residual_over_scale": 2.2,
        "gain_of_pixel_scale": 14.0,
        "best_scale_factor": 0.3,
        "gain_of_scale_factor": 15,
    }
    learned = findings_of(examined(**off, pixel_scale_is_learned=1.0))
    assert learned == {"guide-too-wide": "", "likelihood-scale": "guide-too-wide"}
    assert findings_of(examined(**off, pixel_scale_is_learned=0.0))["likelihood-scale"] == ""
    (alone,) = judge(examined(residual_over_scale=2.2, gain_of_pixel_scale=14.0, pixel_scale_is_learned=1.0)).findings
    assert alone.sureness == "likely"


def test_a_gain_within_the_error_of_the_test_elbo_is_likely_at_most(examined):
    seen = examined(gain_of_training=2.0, train_amortization_gap=1.0)
    for error, sureness in ((0.3, "clear"), (6.0, "likely")):
        seen.measured["test_elbo"] = Measurement(-20.0, error)
        (found, *_) = judge(seen).findings
        assert (found.name, found.sureness) == ("undertraining", sureness)


def test_a_gap_between_other_rows_counts_from_two_errors_on(examined):
    seen = examined(generalization_gap=10.0)
    for error, found in ((2.0, True), (4.0, False)):
        seen.measured["generalization_gap"] = Measurement(10.0, error)
        assert ("overfitting" in findings_of(seen)) is found
