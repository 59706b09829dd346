"""Each finding comes of the numbers that say so, and of no others; causes stand before what follows from them."""

import pytest

from bayes_vae.diagnosis.findings.judge import judge
from bayes_vae.diagnosis.findings.kind import OF_DECODER
from bayes_vae.diagnosis.findings.table import KINDS
from bayes_vae.diagnosis.measure.deviations import READINGS

NOTHING_HOLDS = {
    "kl_weight": 0.0,
    "kl_weight_of_means": 0.001,
    "kl_weight_of_scales": 0.0,
    "kl_weight_of_scales_under_prior": 0.0,
    "scale_share": 0.004,
}
COLLAPSED = {"largest_mean_kl_of_a_dimension": 1e-4, "train_kl_to_prior": 2e-4, "collapsed_dimensions": 2.0}
WEIGHT_2 = {"kl_weight": 2.0, "kl_weight_of_means": 2.0, "kl_weight_of_scales": 2.1}

AUTOENCODER = {
    "kl_weight": -0.06,
    "kl_weight_of_means": 0.05,
    "kl_weight_at_means": 0.006,
    "kl_weight_of_scales": -1.3,
    "kl_weight_of_scales_under_prior": 0.1,
    "gain_of_decoding_means": 4.4,
    "train_kl_to_prior": 44.0,
}


def weights(value):
    """One weight, read off means and deviations alike."""
    return {"kl_weight": value, "kl_weight_of_means": value, "kl_weight_of_scales": value}


SEEN = [
    ("kl-weight", WEIGHT_2),
    ("averaged-loss", {"latent_dimensions": 8.0, **weights(0.125)}),
    ("kl-weight", {"latent_dimensions": 2.0, **weights(0.5)}),
    ("averaged-loss", {"kl_weight": 30.0, "kl_weight_of_means": 31.0, "kl_weight_of_scales": 33.0}),
    ("posterior-collapse", {**COLLAPSED, "unbalanced_share": 0.9, "gain_of_starting_again": 3.0}),
    ("posterior-collapse", {"use_of_latent": -0.006, "train_kl_to_prior": 0.148, **weights(0.32)}),
    ("posterior-collapse", {**COLLAPSED, "gain_of_starting_again": 0.0}),
    ("kl-missing", {**NOTHING_HOLDS, "aggregate_deviation_largest": 4.0, "train_kl_to_prior": 60.0}),
    ("kl-across-batch", {**NOTHING_HOLDS, "train_kl_to_prior": 30.0}),
    ("kl-across-batch", {**NOTHING_HOLDS, "kl_weight_of_means": 0.15, "train_kl_to_prior": 27.0}),
    ("variance-collapse", {**NOTHING_HOLDS, "kl_weight_of_means": 1.0, "train_kl_to_prior": 27.0}),
    (
        "kl-missing",
        {**NOTHING_HOLDS, "kl_weight_of_means": 0.04, "aggregate_deviation_largest": 1.5, "kl_weight_of_moments": 0.04},
    ),
    ("kl-missing", {**AUTOENCODER, "marginal_kl_bound": 18.0}),
    (
        "kl-sign",
        {
            **weights(-0.2),
            "train_kl_to_prior": 80.0,
            "use_of_latent": 0.2,
            "marginal_kl_bound": 9.0,
            "gain_of_training": 70.0,
        },
    ),
    (
        "sampling-off",
        {
            "gain_of_decoding_means": 60.0,
            "mean_square_scale": 1.0,
            "kl_weight": 20.0,
            "kl_weight_of_means": 25.0,
            "kl_weight_of_scales": -9.0,
            "kl_weight_at_means": 1.1,
        },
    ),
    (
        "scale-misread",
        {
            "best_reading": float(list(READINGS).index("its square root")),
            "gain_of_reading": 2.0,
            "gain_of_scale_factor": 1.9,
            "best_scale_factor": 2.0,
            "kl_weight_of_means_under_reading": 1.0,
            "kl_weight_of_scales_under_reading": 1.05,
        },
    ),
    (
        "scale-misread",
        {"kl_weight": 0.7, "kl_weight_of_scales": 0.4, "kl_weight_of_scales_as_variances": 1.0},
    ),
    ("scale-misread", {**weights(1.9), "kl_weight_of_scales_as_roots": 1.0, "kl_weight_of_means": 1.05}),
    (
        "scale-misread",
        {**weights(1.9), "kl_weight_of_means_with_squares": 1.05, "kl_weight_of_scales_with_squares": 1.0},
    ),
    ("scale-misread", {**weights(0.5), "kl_weight_of_means_with_roots": 1.0, "kl_weight_of_scales_with_roots": 0.95}),
    (
        "kl-across-batch",
        {
            **weights(0.0004),
            "kl_weight_of_means": 0.25,
            "kl_weight_of_moments": 0.9,
            "aggregate_deviation_smallest": 1.12,
            "aggregate_deviation_largest": 1.21,
            "scale_share": 0.004,
            "train_kl_to_prior": 156.0,
        },
    ),
    (
        "prior-mismatch",
        {
            "prior_precision": 0.1,
            "kl_weight": 0.9,
            "kl_weight_of_means": 0.1,
            "kl_weight_of_scales": 1.8,
            "kl_weight_of_scales_under_prior": 1.02,
        },
    ),
    (  # wide deviations in the loss of an N(0, 10) look like no KL at all where they are read for themselves
        "prior-mismatch",
        {**AUTOENCODER, "prior_precision": 0.1, "kl_weight_of_scales_under_prior": 0.98, "marginal_kl_bound": 7.9},
    ),
    (
        "prior-mismatch",
        {"prior_precision": 0.09, **weights(0.1), "kl_weight_of_scales": 1.13, "train_kl_to_prior": 33.0},
    ),
    (
        "prior-mismatch",
        {
            "smallest_scale": 3.13,
            "median_scale": 3.15,
            "largest_scale": 3.19,
            "scale_share": 1.0,
            "use_of_latent": -0.003,
            "train_kl_to_prior": 13.3,
            "marginal_kl_bound": 7.3,
            "gain_of_training": 13.4,
            **weights(-0.0001),
        },
    ),
    ("prior-mismatch", {"prior_centre_off": 2.0, **weights(0.2), "kl_weight_of_scales_under_prior": 1.02}),
    (
        "mismatched-pair",
        {"gain_of_encoder": 40.0, "train_amortization_gap": 60.0, "kl_weight_of_means": -3.0, "kl_weight": -2.0},
    ),
    ("mismatched-pair", {"gain_of_encoder": 40.0, "train_amortization_gap": 60.0}),
    ("encoder-confined", {"share_of_unit_deviations": 0.4}),
    ("decoder-reach", {"share_below_reach": 0.68, "smallest_mean_decoded": 0.0}),
    ("unscaled-columns", {"largest_column_over_median": 900.0}),
    ("near-overflow", {"largest_log_variance": 70.0}),
    ("guide-too-narrow", {"best_scale_factor": 3.0, "gain_of_scale_factor": 2.0}),
    ("guide-too-wide", {"best_scale_factor": 0.4, "gain_of_scale_factor": 2.0}),
    ("variance-collapse", {"scale_share": 0.002}),
    ("prior-hole", {"marginal_kl_bound": 3.0}),
    ("decoder-ignores-latent", {"use_of_latent": 0.0}),
    ("amortization-gap", {"train_amortization_gap": 2.0}),
    ("unused-dimensions", {"collapsed_dimensions": 1.0, "kl_of_z_1": 0.001}),
    ("importance-weights", {"pareto_k_share_above": 0.9}),
    ("sigmoid-twice", {"smallest_logit": 0.0, "largest_logit": 1.0}),
    ("sigmoid-missing", {"smallest_logit": -9.2, "share_of_smallest_logit": 0.3}),
    ("sigmoid-missing", {"largest_logit": 9.2, "share_of_largest_logit": 0.2}),
    ("sigmoid-missing", {"share_of_certain_pixels": 0.7, "share_certain_and_wrong": 0.06}),
    ("output-relu", {"smallest_logit": 0.0, "share_of_zero_logits": 0.7}),
    ("likelihood-scale", {"residual_over_scale": 0.3, "gain_of_pixel_scale": 50.0}),
    ("likelihood-scale", {"residual_over_scale": 6.0, "gain_of_pixel_scale": 900.0}),
    ("scale-runaway", {"smallest_pixel_scale": 1e-4, "pixel_scale_is_one_number": 0.0}),
    ("scale-runaway", {"smallest_scale": 1e-6}),
    ("overfitting", {"generalization_gap": 5.0}),
    ("undertraining", {"gain_of_training": 1.0}),
    ("undertraining", {"last_rise": 2.0}),
]


def names(seen):
    return [finding.name for finding in judge(seen)[0]]


def test_healthy_numbers_give_no_finding(examined):
    assert judge(examined()) == ((), (), ())


@pytest.mark.parametrize(("name", "changes"), SEEN)
def test_a_finding_comes_of_its_numbers(examined, name, changes):
    findings, *_ = judge(examined(**changes))
    assert findings[0].name == name
    assert findings[0].because == ""
    assert findings[0].measurements
    for finding in findings[1:]:
        assert finding.because or finding.severity != "fault"


def test_a_finding_needs_the_number_to_lie_beyond_its_error(examined):
    assert names(examined(train_amortization_gap=1.5, errors=0.0)) == ["amortization-gap"]
    assert "amortization-gap" not in names(examined(train_amortization_gap=1.5, errors=2.0))


def test_thresholds_grow_with_the_kl(examined):
    assert names(examined(train_amortization_gap=2.0, train_kl_to_prior=5.0)) == ["amortization-gap"]
    assert names(examined(train_amortization_gap=2.0, train_kl_to_prior=25.0)) == []


def test_the_settings_are_believed(examined):
    known, *_ = judge(examined(settings={"kl_weight": 4.0}))
    assert known[0].name == "kl-weight"
    assert known[0].summary == "The run was trained with KL weight 4."
    assert known[0].probability == 1.0


@pytest.mark.parametrize("settings", [{"kl_weight": 0.125}, {"free_bits": 0.2}])
def test_a_weight_that_is_known_is_no_averaged_loss(examined, settings):
    found = names(examined(settings=settings, latent_dimensions=8.0, **weights(0.125)))
    assert found[0] == "kl-weight"
    assert "averaged-loss" not in found


def test_settings_without_a_value_are_those_of_the_elbo(examined):
    assert names(examined(settings={"kl_weight": None, "free_bits": None, "batch_size": None})) == []


def test_a_suspicion_explains_nothing(examined):
    findings, *_ = judge(examined(**COLLAPSED, unbalanced_share=0.9, gain_of_starting_again=3.0))
    assert [(finding.name, finding.severity, finding.because) for finding in findings[:2]] == [
        ("posterior-collapse", "fault", ""),
        ("averaged-loss", "warning", ""),
    ]
    assert "look the same" in findings[1].summary


def test_what_follows_is_looked_at_again_later(examined):
    findings, *_ = judge(examined(**weights(0.4), marginal_kl_bound=3.0))
    assert [(finding.name, finding.because) for finding in findings] == [("kl-weight", ""), ("prior-hole", "kl-weight")]
    assert findings[1].advice == "Fix kl-weight first, then rerun diagnose."


def causes(seen):
    return {finding.name: finding.because for finding in judge(seen)[0]}


def test_a_cause_has_a_direction(examined):
    """Too large a KL weight holds the codes to the prior, and too narrow a likelihood keeps the latent."""
    assert causes(examined(**WEIGHT_2, marginal_kl_bound=3.0))["prior-hole"] == ""
    collapsed = {**COLLAPSED, "gain_of_pixel_scale": 900.0}
    assert causes(examined(**collapsed, residual_over_scale=6.0))["posterior-collapse"] == ""
    assert causes(examined(**collapsed, residual_over_scale=0.3))["posterior-collapse"] == "likelihood-scale"
    assert causes(examined(**collapsed, settings={"kl_weight": 0.1}))["posterior-collapse"] == ""
    assert causes(examined(**collapsed, settings={"kl_weight": 9.0}))["posterior-collapse"] == "kl-weight"
    narrow = {"scale_share": 0.002, "gain_of_pixel_scale": 900.0}
    assert causes(examined(**narrow, residual_over_scale=6.0))["variance-collapse"] == "likelihood-scale"
    assert causes(examined(**narrow, residual_over_scale=0.3))["variance-collapse"] == ""


def test_where_two_causes_fit_both_are_named(examined):
    found, *_ = judge(
        examined(settings={"kl_weight": 0.1}, residual_over_scale=6.0, gain_of_pixel_scale=900.0, scale_share=0.002)
    )
    follows = next(finding for finding in found if finding.name == "variance-collapse")
    assert follows.because == "kl-weight"
    assert follows.advice == "Fix kl-weight first (likelihood-scale could cause it too), then rerun diagnose."


SIGN = {"train_kl_to_prior": 80.0, "use_of_latent": 0.2, "marginal_kl_bound": 9.0, "gain_of_training": 70.0}


def test_no_wrong_sign_while_both_weights_are_clearly_positive(examined):
    assert "kl-sign" in names(examined(**SIGN, **weights(-0.2)))
    assert "kl-sign" not in names(examined(**SIGN, **weights(2.5e-4)))
    assert "kl-sign" in names(examined(**SIGN, **weights(2.5e-4), errors=1e-3))


def test_a_kl_weight_is_no_other_prior(examined):
    found = names(examined(**weights(0.1), prior_precision=0.1, kl_weight_of_scales_under_prior=0.1))
    assert "kl-weight" in found
    assert "prior-mismatch" not in found


def test_the_same_encoder_tells_the_objective_from_the_capacity(examined):
    """Where it closes the gap once it is trained by itself, nobody is told to make it larger."""
    gap = {"train_amortization_gap": 3.0}
    for gain, words, larger in (
        (2.8, "the cause is the objective or the training", False),
        (0.2, "its capacity or its", True),
    ):
        (found,) = judge(examined(**gap, gain_of_encoder=gain)).findings
        assert words in found.summary
        assert ("larger" in found.advice) is larger
        assert found.sureness == "likely"  # it is a symptom of many causes
    notes = {"gain_of_encoder": "they share parameters."}
    (found,) = judge(examined(**gap, without=("gain_of_encoder",), notes=notes)).findings
    assert "Whether the same encoder could close it is unchecked: they share parameters." in found.summary
    assert "larger" not in found.advice
    assert found.sureness == "likely"


def test_a_threshold_that_is_only_just_passed_is_not_clear(examined):
    near, far = (judge(examined(test_values_shifted=shift)).findings[0] for shift in (0.505, 0.9))
    assert (near.sureness, far.sureness) == ("likely", "clear")


def test_a_learned_deviation_is_not_to_be_learned(examined):
    off = {"residual_over_scale": 0.5, "gain_of_pixel_scale": 50.0}
    fixed, learned = (judge(examined(**off, pixel_scale_is_learned=value))[0][0] for value in (0.0, 1.0))
    assert fixed.advice.startswith("Learn the deviation:")
    assert learned.advice.startswith("The deviation is learned, but has not reached its best value")


def test_rounded_logits_are_not_taken_for_clipped_ones(examined):
    assert names(examined(smallest_logit=-15.9, share_of_smallest_logit=0.4)) == []


def test_free_bits_of_the_settings_are_said(examined):
    found, *_ = judge(examined(settings={"free_bits": 0.5}))
    assert found[0].name == "kl-weight"
    assert "0.5 nats" in found[0].summary


def test_another_objective_is_not_taken_for_a_wrong_weight(examined):
    findings, not_checked, _ = judge(examined(settings={"objective": "importance-weighted"}, **WEIGHT_2))
    assert not findings
    assert {"kl-weight", "averaged-loss", "scale-misread"} <= {check.name for check in not_checked}
    assert all("importance-weighted" in check.reason for check in not_checked)


def test_far_from_rest_a_weight_must_be_further_off(examined):
    assert "kl-weight" in names(examined(**WEIGHT_2))
    assert "kl-weight" not in names(examined(**WEIGHT_2, gain_at_own_weight_on_train=2.0))


def test_what_has_hardly_been_trained_is_at_rest_nowhere(examined):
    young = {"kl_weight": 0.03, "kl_weight_of_means": 0.1, "kl_weight_of_scales": -0.03, "gain_of_training": 0.8}
    assert names(examined(**young)) == ["undertraining"]
    assert names(examined(**young, marginal_kl_bound=3.0, train_amortization_gap=0.4)) == ["prior-hole"]
    assert names(examined(**young, marginal_kl_bound=3.0)) == ["undertraining", "prior-hole"]  # the decoder gains too


def test_what_follows_from_a_cause_stands_behind_it(examined):
    findings, *_ = judge(examined(**WEIGHT_2, gain_of_training=1.0, generalization_gap=5.0))
    assert [(finding.name, finding.because) for finding in findings] == [
        ("kl-weight", ""),
        ("overfitting", ""),
        ("undertraining", "kl-weight"),
    ]


def test_a_check_without_its_numbers_is_listed(examined):
    lacking = ("kl_weight_of_means", "scale_share")
    _, not_checked, _ = judge(examined(without=lacking, notes={"scale_share": "no deviations"}))
    reasons = dict(not_checked)
    assert reasons["variance-collapse"] == "no deviations"
    assert reasons["scale-misread"] == "kl weight of means was not measured."


def test_names_are_distinct_and_causes_come_first():
    names = [kind.name for kind in KINDS]
    assert len(names) == len(set(names))
    assert not set(names) & set(OF_DECODER)
    for number, cause in enumerate(KINDS):
        assert set(cause.explains) <= {*names, *OF_DECODER}
        assert not cause.explains or any({kind.name, kind.symptom} & set(cause.explains) for kind in KINDS[number:])


YOUNG = {"gain_of_encoder": 18.0, "train_amortization_gap": 18.0, "gain_of_training": 30.0}
"""Of a pair that was hardly trained: its encoder regains much, and its decoder gains as well."""


def test_a_pair_that_was_hardly_trained_is_no_mismatched_one(examined):
    assert names(examined(**YOUNG))[0] == "amortization-gap"
    assert "mismatched-pair" not in names(examined(**YOUNG, kl_weight_of_means=-0.5))
    assert names(examined(**{**YOUNG, "gain_of_training": 18.0}))[0] == "mismatched-pair"


def test_one_other_weight_on_the_kl_is_no_mismatched_pair(examined):
    regained = {"gain_of_encoder": 18.0, "train_amortization_gap": 18.0, "gain_of_training": 20.0}
    assert "mismatched-pair" not in names(examined(**regained, **weights(16.0)))
    assert "mismatched-pair" in names(examined(**regained, **{**weights(16.0), "kl_weight_of_scales": 0.2}))


def test_a_weight_that_a_copy_trained_at_it_leaves_is_no_weight(examined):
    gains = {"gain_at_own_weight_on_train": 3.5, "gain_of_training_on_train": 6.9}
    assert "kl-weight" in names(examined(**weights(6.0)))
    assert "kl-weight" not in names(examined(**weights(6.0), **gains))
    assert "kl-weight" in names(examined(**weights(6.0), **{**gains, "gain_at_own_weight_on_train": 0.1}))


def test_a_decoder_that_makes_little_of_a_dear_latent_ignores_it(examined):
    assert names(examined(use_of_latent=0.2, train_kl_to_prior=10.0))[0] == "decoder-ignores-latent"
    assert "decoder-ignores-latent" not in names(examined(use_of_latent=0.2, train_kl_to_prior=1.0))
