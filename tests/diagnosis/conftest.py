"""Examined pairs made of numbers alone, and trained ones of the fault suite."""

import pytest

from bayes_vae.diagnosis import Measurement
from bayes_vae.diagnosis.findings.examined import Examined
from faults.cases import CASES

HEALTHY = {
    "kl_weight_of_draws": 1.0,
    "train_kl_to_prior": 5.0,
    "train_elbo": -20.0,
    "test_elbo": -20.2,
    "generalization_gap": 0.2,
    "latent_dimensions": 2.0,
    "collapsed_dimensions": 0.0,
    "largest_mean_kl_of_a_dimension": 3.0,
    "kl_of_z_0": 3.0,
    "kl_of_z_1": 2.0,
    "scale_share": 0.4,
    "smallest_scale": 0.2,
    "largest_scale": 0.9,
    "median_scale": 0.4,
    "mean_square_scale": 0.2,
    "largest_code": 3.0,
    "aggregate_mean_off": 0.05,
    "aggregate_deviation_smallest": 0.98,
    "aggregate_deviation_largest": 1.02,
    "marginal_kl_bound": 0.1,
    "kl_weight": 1.0,
    "kl_weight_of_means": 1.0,
    "kl_weight_of_scales": 1.0,
    "kl_weight_at_means": 0.5,
    "kl_weight_of_scales_as_variances": 2.8,
    "kl_weight_of_scales_as_roots": 0.5,
    "kl_weight_of_means_with_squares": 1.1,
    "kl_weight_of_scales_with_squares": 1.6,
    "kl_weight_of_means_with_roots": 0.8,
    "kl_weight_of_scales_with_roots": 0.4,
    "unbalanced_share": 0.2,
    "best_scale_factor": 1.0,
    "gain_of_scale_factor": 0.0,
    "best_reading": 2.0,
    "gain_of_reading": -0.2,
    "kl_weight_of_means_under_reading": 0.9,
    "kl_weight_of_scales_under_reading": 0.7,
    "use_of_latent": 25.0,
    "gain_of_decoding_means": 2.0,
    "smallest_logit": -12.0,
    "largest_logit": 8.0,
    "share_of_zero_logits": 0.0,
    "share_of_smallest_logit": 0.001,
    "share_of_largest_logit": 0.001,
    "share_of_certain_pixels": 0.0,
    "share_certain_and_wrong": 0.0,
    "residual_over_scale": 1.0,
    "gain_of_pixel_scale": 0.0,
    "smallest_pixel_scale": 0.3,
    "pixel_scale_is_one_number": 1.0,
    "train_amortization_gap": 0.2,
    "test_amortization_gap": 0.2,
    "smallest_kl_of_a_site": 2.0,
    "smallest_use_of_latent_for_a_site": 5.0,
    "largest_gain_of_a_site": 0.0,
    "encoder_generalization_gap": 0.0,
    "pareto_k_share_above": 0.1,
    "pareto_k_median": 0.3,
    "test_values_shifted": 0.02,
    "test_values_width": 1.01,
    "share_of_test_rows_in_train": 0.0,
    "share_of_train_rows_repeated": 0.0,
    "kl_weight_of_moments": 3.0,
    "prior_precision": 1.0,
    "prior_centre_off": 0.05,
    "kl_weight_of_scales_under_prior": 1.0,
    "smallest_mean": -3.0,
    "largest_mean": 3.0,
    "largest_size_of_mean": 3.0,
    "share_at_smallest_mean": 0.001,
    "share_at_largest_mean": 0.001,
    "share_of_means_near_one": 0.1,
    "share_of_unit_deviations": 0.0,
    "constant_means": 0.0,
    "smallest_log_variance": -3.2,
    "largest_log_variance": 0.1,
    "share_at_smallest_log_variance": 0.001,
    "share_at_largest_log_variance": 0.001,
    "smallest_mean_decoded": -0.2,
    "largest_mean_decoded": 1.2,
    "share_below_reach": 0.001,
    "share_above_reach": 0.001,
    "largest_column_over_median": 2.0,
    "gain_of_encoder": 0.0,
    "gain_of_training": 0.05,
    "gain_of_training_on_train": 0.05,
}
"""What a healthy pair gives."""


@pytest.fixture
def examined():
    """``examined(kl_weight=2.0, ..., settings={}, without=())``: a healthy pair but for the given numbers."""

    def build(settings=None, without=(), errors=0.0, notes=None, **changes):
        values = {name: value for name, value in {**HEALTHY, **changes}.items() if name not in without}
        measured = {name: Measurement(value, errors) for name, value in values.items()}
        return Examined(measured, 64, settings or {}, notes or {})

    return build


@pytest.fixture(scope="session")
def patient(isolated_globals):
    """``patient("healthy")``: the trained pair of a case, trained once; plain torch networks for odd seeds."""
    built = {}

    def build(name, seed=0):
        if (name, seed) not in built:
            with isolated_globals():
                built[name, seed] = CASES[name].build(seed)
        return built[name, seed]

    return build
