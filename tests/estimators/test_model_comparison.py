"""Several models on the same observations: the paired difference and its error, and what may be said of it."""

import math
import re
from dataclasses import replace

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

import bayes_vae as bv
from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.estimators.contenders import Contender, contender_of, design_of
from bayes_vae.estimators.model_comparison import Difference, compare_contenders
from bayes_vae.vocabulary.readings import Reading

pytestmark = pytest.mark.usefixtures("clean_globals")


def contender(name, values, errors=None, reading=None):
    values = torch.as_tensor(values, dtype=torch.float64)
    errors = torch.zeros_like(values) if errors is None else errors
    return Contender(name, values, errors, reading or Reading("exact"))


def two_normals():
    """Return two densities of three numbers and KL(first to second), the true mean difference of their logs."""
    first = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    second = MultivariateNormal(torch.tensor([0.3, 0.0, 0.0]).double(), 1.3 * torch.eye(3).double())
    return first, second, float(kl_divergence(first, second))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_paired_error_covers_the_true_difference(noise):
    first, second, truth = two_normals()
    torch.manual_seed(0)
    repeats, covered, shorter = 400, 0, 0
    for _ in range(repeats):
        x = first.sample((60,))
        logs = [each.log_prob(x) for each in (first, second)]
        errors = torch.full_like(logs[0], noise)
        noisy = [each + noise * torch.randn_like(each) for each in logs]
        pair = [contender("a", noisy[0], errors), contender("b", noisy[1], errors)]
        difference = Difference(*pair).average
        covered += abs(difference.value - truth) <= 1.96 * difference.total_error
        shorter += difference.data_error < pair[0].average.data_error
    low = 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)
    assert low < covered / repeats < 0.995
    assert shorter == repeats, "the paired error is the smaller one: what is hard for both cancels"


def test_both_errors_are_kept_apart():
    values = torch.tensor([1.0, 2.0, 6.0]).double()
    errors = torch.tensor([0.3, 0.0, 0.4]).double()
    found = Difference(contender("a", values, errors), contender("b", torch.zeros(3), errors)).average
    assert found.value == pytest.approx(3.0)
    assert found.monte_carlo_error == pytest.approx(math.sqrt(2 * 0.25) / 3)
    assert found.total_error == pytest.approx(float(values.std()) / math.sqrt(3))


def test_what_lies_low_in_both_means_cancels():
    errors = torch.full((1000,), 0.6).double()
    pair = [replace(contender(name, torch.zeros(1000), errors), bias=0.18) for name in "ab"]
    assert pair[0].average.monte_carlo_error == pytest.approx(math.hypot(0.6 / math.sqrt(1000), 0.18))
    assert Difference(*pair).average.monte_carlo_error == pytest.approx(0.6 * math.sqrt(2 / 1000))


def test_the_best_comes_first_and_the_share_counts_the_observations_of_the_other():
    found = compare_contenders([contender("low", [0.0, 3.0, 0.0, 0.0]), contender("high", [2.0, 1.0, 2.0, 2.0])])
    assert [each.name for each in found.contenders] == ["high", "low"]
    assert found.differences[0].values.tolist() == [2.0, -2.0, 2.0, 2.0]
    assert found.differences[0].share_of_other == 0.25


def test_a_difference_within_its_error_is_none():
    torch.manual_seed(1)
    values = torch.randn(100).double()
    found = compare_contenders([contender("a", values), contender("b", values + torch.randn(100))])
    assert found.differences[0].verdict == "cannot tell"
    assert "cannot be told apart" in found.differences[0].sentence()


def test_a_clear_difference_is_stated_with_its_error():
    values = torch.linspace(-1, 1, 50)
    found = compare_contenders([contender("a", values), contender("b", values - 1.05 + 0.01 * torch.randn(50))])
    assert found.differences[0].verdict == "better"
    assert re.search(r"a explains the observations better than b, by 1\.0(49|50)\d ± 0\.0\d+ nats", str(found))


@pytest.mark.parametrize(("of_best", "verdict"), [(True, "better"), (False, "may reverse")])
def test_a_bound_that_has_not_converged_may_reverse_the_order_only_from_below(of_best, verdict):
    open_bound = Reading("lower_bound_not_converged", 3, 40)
    readings = (open_bound, None) if of_best else (None, open_bound)
    found = compare_contenders(
        [contender("a", torch.ones(40), reading=readings[0]), contender("b", torch.zeros(40), reading=readings[1])]
    )
    assert found.differences[0].verdict == verdict
    assert ("at least" in found.differences[0].sentence()) == of_best
    assert ("No order can be stated" in found.differences[0].sentence()) != of_best


def trained(name, values, effects, **about):
    """Return a design whose seeds explain every observation better by so much."""
    return design_of(
        name, [contender(f"{name}{seed}", values + effect, **about) for seed, effect in enumerate(effects)]
    )


def test_a_design_is_the_mean_over_its_seeds():
    errors = torch.tensor([0.3, 0.4]).double()
    found = trained("a", torch.tensor([1.0, 2.0]).double(), [0.0, 1.0, 5.0], errors=errors)
    assert (found.name, found.num_seeds) == ("a", 3)
    assert found.log_evidence.tolist() == [3.0, 4.0]
    torch.testing.assert_close(found.standard_errors, errors / math.sqrt(3))
    assert found.spread == pytest.approx(math.sqrt(7.0))


def test_one_training_has_no_spread():
    found = trained("a", torch.zeros(2), [1.0])
    assert math.isnan(found.spread)
    assert found.num_seeds == 1


def test_the_observations_that_failed_are_counted_over_the_seeds():
    readings = [
        Reading("exact"),
        Reading("lower_bound_not_converged", 3, 40),
        Reading("lower_bound_not_converged", 1, 40),
    ]
    members = [contender("a", torch.zeros(40), reading=reading) for reading in readings]
    assert design_of("a", members).reading == Reading("lower_bound_not_converged", 4, 120)


def test_the_spread_between_seeds_is_an_error_of_the_difference():
    values = torch.zeros(50).double()
    found = Difference(trained("a", values, [0.0, 0.4]), trained("b", values - 1, [0.0, 0.3, 0.6]))
    assert found.seed_error == pytest.approx(math.sqrt(0.08 / 2 + 0.09 / 3))
    assert found.spread == pytest.approx(0.3)
    assert found.known_error == pytest.approx(found.seed_error)


def test_the_spread_of_a_single_training_is_that_of_the_other_design():
    values = torch.zeros(50).double()
    found = Difference(trained("a", values, [0.0]), trained("b", values - 1, [0.0, 0.3, 0.6]))
    assert found.seed_error == pytest.approx(math.sqrt(0.09 + 0.09 / 3))
    comparison = compare_contenders([found.best, found.other])
    assert "a has one seed: the spread between the other's seeds stands in" in str(comparison)


@pytest.mark.parametrize("num_seeds", [2, 3, 6])
def test_equal_designs_are_rarely_told_apart_whatever_their_seeds_do(num_seeds):
    torch.manual_seed(2)
    repeats = 400
    called = 0
    for _ in range(repeats):
        values = torch.randn(40).double()
        pair = [trained(name, values, 0.5 * torch.randn(num_seeds).double()) for name in "ab"]
        noisy = [replace(each, log_evidence=each.log_evidence + 0.1 * torch.randn(40)) for each in pair]
        called += compare_contenders(noisy).differences[0].verdict == "better"
    assert called / repeats < 0.0455 + 4 * math.sqrt(0.0455 * 0.9545 / repeats)


def test_the_best_of_many_equal_models_is_rarely_called_better():
    torch.manual_seed(3)
    repeats, called, unadjusted = 300, 0, 0
    for _ in range(repeats):
        found = compare_contenders([contender(str(number), torch.randn(40)) for number in range(8)])
        called += any(each.verdict == "better" for each in found.differences)
        unadjusted += any(each.average.value > 2 * each.known_error for each in found.differences)
    assert called / repeats < 0.0455 + 4 * math.sqrt(0.0455 * 0.9545 / repeats)
    assert unadjusted / repeats > 0.3, "two errors are too few for the best of eight"


def test_two_trainings_are_told_apart_at_two_errors():
    assert Difference(contender("a", torch.ones(5)), contender("b", torch.zeros(5))).errors_needed == pytest.approx(2.0)


def test_a_clear_difference_between_designs_is_called_one():
    values = torch.randn(40).double()
    pair = [trained("a", values, [0.0, 0.1, -0.1]), trained("b", values - 1, [0.05, 0.0, -0.1])]
    found = compare_contenders(pair)
    assert found.differences[0].verdict == "better"
    assert "these trainings, not of their designs" not in str(found)


def test_a_difference_smaller_than_the_spread_between_seeds_is_not_called_one():
    values, effects = torch.zeros(40).double(), torch.linspace(-1, 1, 60).double()
    found = compare_contenders([trained("a", values, effects), trained("b", values - 0.5, effects)]).differences[0]
    assert found.average.value > found.errors_needed * found.known_error
    assert found.average.value < found.spread
    assert found.verdict == "cannot tell"


def test_other_numbers_of_observations_are_refused():
    with pytest.raises(ShapeError, match="there are 3 of a and 4 of b"):
        compare_contenders([contender("a", [0.0] * 3), contender("b", [0.0] * 4)])


def test_one_model_is_no_comparison():
    with pytest.raises(SettingsError, match="at least two models, got 1"):
        compare_contenders([contender("a", [0.0])])


@pytest.mark.parametrize("wrong", [torch.zeros(2, 3), [math.nan, 0.0], "runs", [], 3.0])
def test_what_is_no_log_evidence_is_refused(wrong):
    with pytest.raises(ShapeError, match="one finite log p\\(x\\) for each observation"):
        contender_of("mine", wrong)


def test_numbers_from_elsewhere_have_no_known_error(linear_gaussian):
    model, x = linear_gaussian
    given = contender_of("mine", model.log_evidence(x).detach().numpy())
    assert given.standard_errors.isnan().all()
    assert math.isnan(given.average.monte_carlo_error)


def test_a_result_brings_its_errors_and_its_reading(linear_gaussian):
    from bayes_vae.guides import ExactLinearGaussianGuide

    model, x = linear_gaussian
    estimate = bv.estimate_log_evidence(model, ExactLinearGaussianGuide(model), x, 64)
    given = contender_of("mine", estimate)
    assert given.reading == estimate.reading
    torch.testing.assert_close(given.standard_errors, estimate.standard_error)


def test_the_json_holds_every_figure_of_the_table():
    rows = compare_contenders([contender("a", torch.ones(9)), contender("b", torch.linspace(0, 1, 9))]).as_json()
    first, second = rows["models"]
    assert (first["name"], first["difference"]) == ("a", 0.0)
    assert second["difference"] == pytest.approx(0.5)
    assert second["verdict"] == "better"
    assert first["num_parameters"] is None
