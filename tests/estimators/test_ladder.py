"""The ladder from the ELBO to the tightest bound."""

from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NumericalError, SettingsError
from bayes_vae.estimators.rungs import quadrature_rung
from bayes_vae.estimators.rungs.annealed_rung import rung_of
from bayes_vae.estimators.rungs.rung import Rung, beside, leading, why_leading
from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.parts.registry import names
from bayes_vae.vocabulary import readings
from bayes_vae.vocabulary.readings import Reading

RUNGS = (1, 5, 50, 500)


def test_ladder_rises_for_every_observation(small_vae):
    comparison = bv.compare(*small_vae, RUNGS, num_temperatures=0, seed=1)
    values = torch.stack([rung.values for rung in comparison.rungs[:4]])
    assert [rung.name for rung in comparison.rungs] == ["ELBO", "L_5", "L_50", "L_500", "quadrature"]
    assert (values.diff(dim=0) >= 0).all()


def test_rungs_are_those_of_the_same_draws(small_vae):
    comparison = bv.compare(*small_vae, RUNGS, num_temperatures=0, seed=1)
    weights = bv.log_terms(*small_vae, 500, seed=1).log_importance_weights
    torch.testing.assert_close(comparison.rungs[0].values, weights.mean(0))
    fives = torch.logsumexp(weights.reshape(100, 5, -1), 1) - torch.tensor(5.0).log()
    torch.testing.assert_close(comparison.rungs[1].values, fives.mean(0))
    torch.testing.assert_close(comparison.rungs[1].standard_errors, fives.std(0) / 10)
    estimate = bv.estimate_log_evidence(*small_vae, 500, seed=1)
    torch.testing.assert_close(comparison.rungs[3].values, estimate.log_evidence)
    torch.testing.assert_close(comparison.estimate.pareto_k, estimate.pareto_k)


def test_exact_evidence_is_the_last_rung(linear_gaussian, rescaled_guide, within):
    model, x = linear_gaussian
    comparison = bv.compare(model, rescaled_guide(model, 1.5), x, RUNGS, num_temperatures=0)
    exact = comparison.rungs[-1]
    assert exact.name == "exact"
    within(comparison.rungs[-2].values, exact.values, comparison.rungs[-2].standard_errors)
    within(
        comparison.rungs[0].values,
        model.elbo(x, rescaled_guide(model, 1.5).variational_posterior(x)),
        comparison.rungs[0].standard_errors,
    )


def test_exact_guide_makes_a_flat_ladder(linear_gaussian):
    model, x = linear_gaussian
    comparison = bv.compare(model, ExactLinearGaussianGuide(model), x, RUNGS, num_temperatures=0)
    for rung in comparison.rungs:
        torch.testing.assert_close(rung.values, model.log_evidence(x).detach(), rtol=0, atol=1e-9)


def test_text_says_what_every_figure_needs(small_vae):
    comparison = bv.compare(*small_vae, RUNGS, num_temperatures=0, data_policy="threshold")
    text = str(comparison)
    for part in ("ELBO", "L_500", "K = 500", "N = 5", "data policy: threshold", "KL weight 1"):
        assert part in text
    assert "The ELBO falls short of log p(x) by quadrature by" in comparison.sentence()
    assert comparison.why_not_annealed in text
    assert comparison.provenance.kl_weight == 1


def test_few_particles_are_a_lower_bound(monkeypatch, small_vae):
    monkeypatch.setattr(quadrature_rung, "MOST_DIMENSIONS", 0)
    comparison = bv.compare(*small_vae, (1, 5), num_temperatures=0, seed=1)
    assert "5 particles are too few for a k̂" in str(comparison.rungs[-1].reading)
    assert "log p(x) may lie higher still" in comparison.sentence()
    assert comparison.rungs[-1].standard_errors.isnan().all()


@pytest.mark.parametrize("rungs", [(1,), (5, 50), (1, 5, 12), (1, 5, 5), (5, 1)])
def test_rungs_must_divide_each_other(small_vae, rungs):
    with pytest.raises(SettingsError, match="rungs must start at 1"):
        bv.compare(*small_vae, rungs)


def test_annealed_rung_comes_before_the_exact_one(linear_gaussian, rescaled_guide, within):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.5)
    comparison = bv.compare(model, guide, x, RUNGS, num_temperatures=40, seed=2)
    names = [rung.name for rung in comparison.rungs]
    assert names == ["ELBO", "L_5", "L_50", "L_500", "annealed", "exact"]
    annealed = comparison.rungs[4]
    expected = bv.annealed_log_evidence(model, guide, x, num_temperatures=40, seed=2)
    torch.testing.assert_close(annealed.values, expected.log_evidence)
    assert annealed.seconds > 0
    assert "The ELBO falls short of the exact log p(x) by" in comparison.sentence()


def test_sentence_gives_both_shortfalls(linear_gaussian, rescaled_guide):
    """The numbers in the sentence are the mean differences to the exact value; a bound that agrees is said to."""
    model, x = linear_gaussian
    for factor, rungs, agrees in ((2.5, (1, 2, 4), False), (1.3, (1, 50, 5000), True)):
        comparison = bv.compare(
            model, rescaled_guide(model, factor), x.repeat(20, 1), rungs, num_temperatures=0, seed=1
        )
        exact, elbo, bound = comparison.rungs[-1], comparison.rungs[0], comparison.rungs[-2]
        words = comparison.sentence().split()
        said = float(words[words.index("by") + 1])
        assert said == pytest.approx((exact.values - elbo.values).mean().item(), abs=0.06)
        assert (f"L_{rungs[-1]} cannot be told apart from it (a difference of" in comparison.sentence()) == agrees
        if not agrees:
            last = len(words) - 1 - words[::-1].index("by")
            assert float(words[last + 1]) == pytest.approx((exact.values - bound.values).mean().item(), abs=0.06)


def test_quadrature_ends_the_ladder_of_a_small_latent(small_vae, within):
    """It is the quadrature estimate itself, and L_K and the annealed rung lie below it within their errors."""
    comparison = bv.compare(*small_vae, RUNGS, num_temperatures=40, seed=3)
    names = [rung.name for rung in comparison.rungs]
    assert names == ["ELBO", "L_5", "L_50", "L_500", "annealed", "quadrature"]
    expected = bv.quadrature_log_evidence(*small_vae, method="grid", tolerance=1e-6)
    torch.testing.assert_close(comparison.rungs[-1].values, expected.log_evidence, rtol=0, atol=1e-3)
    within(comparison.rungs[4].values, expected.log_evidence, comparison.rungs[4].standard_errors)
    assert comparison.rungs[-1].estimator == "quadrature on a grid, D = 1"


def test_converged_rung_doubles_until_levels_agree(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.5)
    comparison = bv.compare(model, guide, x, (1, 5), num_temperatures=8, tolerance=0.5, seed=2)
    assert [rung.name for rung in comparison.rungs] == ["ELBO", "L_5", "annealed", "converged", "exact"]
    assert comparison.annealed.num_temperatures >= 16
    assert abs(comparison.annealed.doubling_step.mean()) <= 0.5
    assert f"{comparison.annealed.num_temperatures} temperatures" in comparison.rungs[3].estimator
    with pytest.raises(SettingsError, match="num_temperatures=0 leaves them out"):
        bv.compare(model, guide, x, (1, 5), num_temperatures=0, tolerance=0.5)


def test_the_sentence_holds_errors_that_do_not_average_out(small_vae):
    """Of quadrature that has not converged, say, the error of refinement is part of the shortfall's."""
    comparison = bv.compare(*small_vae, RUNGS, num_temperatures=0, seed=1)
    *below, bound, top = comparison.rungs
    below.append(replace(bound, reading=Reading("lower_bound_not_converged", 5, 5)))
    rough = replace(comparison, rungs=(*below, replace(top, bias=7.0, reading=Reading("quadrature", 5, 5))))
    assert " ± 7.0 nats per observation); L_500 cannot be told apart from it (a difference of" in rough.sentence()
    assert rough.sentence().endswith(", and log p(x) may lie higher still: not converged for 5 of 5.")
    unknown = replace(comparison, rungs=(*below[:-1], replace(below[-1], bias=torch.nan), top))
    assert "nan" not in unknown.sentence()


def test_a_bound_above_the_top_is_said_to_be_there_by_chance(small_vae):
    """For one observation no error of the data is known, and L_K may exceed log p(x): it does not fall short of it."""
    model, guide, x = small_vae
    comparison = bv.compare(model, guide, x[:1], RUNGS, num_temperatures=0, seed=1)
    *_, bound, top = comparison.rungs
    top = replace(top, bias=0.0)
    for shift, words in ((0.25, "; L_500 lies 0.250 above it, by chance."), (-0.25, ", L_500 by 0.250.")):
        moved = replace(bound, values=top.values + shift, standard_errors=torch.zeros(1), bias=0.0)
        sentence = replace(comparison, rungs=(*comparison.rungs[:-2], moved, top)).sentence()
        assert sentence.endswith(words)


def test_the_annealed_rung_reads_as_evaluate_says(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.5)
    fine, coarse = (
        bv.annealed_log_evidence(model, guide, x, num_temperatures=count, refine=False) for count in (60, 1)
    )
    for estimate, tail in ((fine, False), (coarse, True)):
        rung = rung_of("annealed", estimate)
        assert rung.reading == rung.average.reading == estimate.reading
        comparison = bv.compare(model, guide, x, (1, 5), num_temperatures=0)
        sentence = replace(comparison, rungs=(comparison.rungs[0], comparison.rungs[1], rung)).sentence()
        assert "The ELBO cannot be told apart from the annealed log p(x) (a difference of" in sentence
        doubt = f"may lie higher still: annealed chains disagree for {int((~estimate.converged).sum())} of {len(x)}; "
        assert (doubt in sentence) == tail
    assert str(fine.reading) == "lower bound in expectation"
    assert str(coarse.reading).startswith("lower bound, not converged: annealed chains disagree for ")


def test_a_figure_above_the_leading_one_by_chance_reads_equal_within_error(small_vae):
    """Within twice the Monte-Carlo error it says so; beyond it, or where the figure is not settled, it does not."""
    comparison = bv.compare(*small_vae, RUNGS, num_temperatures=0, seed=1)
    *below, bound, top = comparison.rungs
    bound = replace(bound, reading=Reading("estimate"))  # as where k̂ allows it
    for shift, error, equal in ((0.1, 0.06, True), (0.1, 0.04, False), (-0.1, 0.06, False)):
        errors = torch.full((5,), error * 5**0.5)
        moved = replace(bound, values=top.values + shift, standard_errors=errors, bias=0.0)
        ladder = replace(comparison, rungs=(*below, moved, top))
        assert ladder.table_rows()["L_500"].reading.equal == equal
        assert ("equal within error" in str(ladder.table_rows()["L_500"])) == equal
        unsettled = replace(moved, reading=Reading("lower_bound_not_converged", 1, 5, thresholds=(0.7, 0.7)))
        beside_it = beside(top, unsettled).reading
        assert not beside_it.equal
        assert beside_it.above == (shift > 0)
        assert readings.words(beside_it) == "lower bound, not converged" + (shift > 0) * ", above log p(x) by chance"
        assert not beside(replace(top, name="annealed"), unsettled).reading.above
        unresolved = replace(moved, reading=Reading("unresolved", 1, 5, "precision"))
        assert not beside(top, unresolved).reading.above
    too_high = replace(unsettled, values=top.values + 2.8)  # 14 nats in all, and e^-14 is less than a millionth
    assert not beside(top, too_high).reading.above
    assert beside(top, replace(unsettled, values=top.values + 2.7)).reading.above
    assert not ladder.table_rows()["quadrature"].reading.equal


def test_a_gap_of_zero_reads_equal_within_error_and_a_gap_beside_an_exact_figure_is_an_estimate(
    linear_gaussian, rescaled_guide
):
    model, x = linear_gaussian
    same = bv.evaluate(model, ExactLinearGaussianGuide(model), x, 50, num_temperatures=0).averages()
    assert same["inference_gap"].reading == Reading("estimate", equal=True)
    wide = bv.evaluate(model, rescaled_guide(model, 2.0), x, 500, num_temperatures=0).averages()
    assert wide["log_evidence"].reading.kind == "exact"
    assert wide["inference_gap"].reading == Reading("estimate")


def test_the_sentence_says_which_figure_leads_where_an_earlier_one_did_not_converge():
    rungs = [
        Rung(name, 8, torch.tensor([-1.0, -2.0]), torch.zeros(2), reading, leads=name != "ELBO")
        for name, reading in {
            "ELBO": Reading("lower_bound"),
            "L_50": Reading("estimate"),
            "annealed": Reading("lower_bound_not_converged", 1, 2, "chains"),
            "quadrature": Reading("quadrature", 2, 2),
        }.items()
    ]
    assert why_leading(rungs) == (
        "L_50 stands for log p(x), because its criterion holds for every observation; log p(x) by quadrature did not "
        "converge for 2 of 2 and the annealed log p(x) for 1 of 2."
    )
    assert why_leading(rungs[:2]) == ""
    assert why_leading([rungs[0], *rungs[2:]]) == ""  # none holds: the first in the order leads, and says so itself


def test_discrete_latents_leave_annealing_out_and_say_so():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.3))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.4)))

    x = torch.tensor([0.1, 0.9, 2.0])
    comparison = bv.compare(model, guide, x, (1, 50), seed=1)
    assert [rung.name for rung in comparison.rungs] == ["ELBO", "L_50"]
    assert comparison.annealed is None
    assert comparison.why_not_annealed == "not annealed: annealing moves along gradients, and 'z' is discrete"
    assert comparison.why_not_annealed in str(comparison)


LADDER = ("ELBO", "L_50", "refined", "annealed", "converged", "quadrature", "exact")


@pytest.mark.parametrize(
    ("there", "settled", "leads"),
    [
        (LADDER, LADDER, "exact"),
        (LADDER[:-1], LADDER, "quadrature"),
        (LADDER[:-1], ("L_50", "refined", "annealed"), "annealed"),
        (LADDER[:-2], LADDER, "converged"),
        (LADDER[:-2], ("L_50", "refined", "annealed"), "annealed"),
        (LADDER[:-2], ("L_50", "refined"), "refined"),
        (LADDER[:-2], ("L_50",), "L_50"),
        (LADDER[:-2], ("ELBO",), "converged"),
        (LADDER[:4], (), "annealed"),
        (LADDER[:3], (), "refined"),
        (LADDER[:2], (), "L_50"),
    ],
)
def test_the_first_whose_criterion_holds_leads(there, settled, leads):
    """In an order fixed beforehand, whatever the values are; else the first of those there are."""
    rungs = [
        Rung(
            name,
            8,
            torch.tensor([-1.0, -2.0 - place]),
            torch.zeros(2),
            Reading("lower_bound_not_converged", int(name not in settled), 2),
            leads=name != "ELBO",
        )
        for place, name in enumerate(there)
    ]
    assert leading(rungs).name == leads


def test_the_order_is_that_of_the_table():
    assert names("rung") == ("bounds", "refined", "annealed", "converged", "quadrature", "exact")


@pytest.fixture
def rough_grid(monkeypatch):
    """Quadrature that ends before its levels agree."""
    monkeypatch.setattr(quadrature_rung, "GRID", {"method": "grid", "tolerance": 1e-13, "max_nodes": 64})


def test_compare_and_evaluate_lead_with_the_same_figure(small_vae, linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    for pair, name in (((model, rescaled_guide(model, 1.5), x), "exact"), (small_vae, "quadrature")):
        shared = {"num_temperatures": 8, "seed": 4}
        ladder, evaluation = bv.compare(*pair, (1, 50), **shared), bv.evaluate(*pair, 50, **shared)
        assert ladder.leading.name == evaluation.leading.name == name
        assert [rung.name for rung in evaluation.rungs] == [rung.name for rung in ladder.rungs[1:]]
        for ours, theirs in zip(evaluation.rungs, ladder.rungs[1:], strict=True):
            torch.testing.assert_close(ours.values, theirs.values, rtol=0, atol=0)
        torch.testing.assert_close(evaluation.log_evidence, ladder.rungs[-1].values, rtol=0, atol=0)
        assert evaluation.averages()["log_evidence"].value == ladder.leading.average.value


@pytest.mark.usefixtures("rough_grid")
def test_quadrature_that_did_not_converge_leads_only_where_nothing_else_did(small_vae):
    ladder = bv.compare(*small_vae, RUNGS, num_temperatures=60, seed=1)
    quadrature = ladder.rungs[-1]
    assert quadrature.reading.failed == len(quadrature.values)
    assert ladder.leading.name == "annealed"
    assert ladder.leading.reading.settled
    assert "The ELBO falls short of the annealed log p(x) by" in ladder.sentence()
    ladder = bv.compare(*small_vae, (1, 5), num_temperatures=0, seed=1)
    assert [rung.reading.settled for rung in ladder.rungs[1:]] == [False, False]
    assert ladder.leading is ladder.rungs[-1]
    evaluation = bv.evaluate(*small_vae, 5, num_temperatures=0, seed=1)
    assert evaluation.leading.name == "quadrature"
    assert str(evaluation.averages()["log_evidence"].reading).endswith("not converged for 5 of 5")


def test_a_mean_is_over_all_rows_and_no_maximum(small_vae, monkeypatch):
    """One row of five fails: the figure is of all five, flagged, though L_K of every row may be larger."""
    monkeypatch.setattr(quadrature_rung, "MOST_DIMENSIONS", 0)
    comparison = bv.compare(*small_vae, (1, 5), num_temperatures=8, seed=1)
    elbo, bound, annealed = comparison.rungs
    low = annealed.values.clone()
    low[3] -= 7.0
    flagged = replace(annealed, values=low, reading=Reading("lower_bound_in_expectation", 1, 5, limit=1.0))
    moved = replace(comparison, rungs=(elbo, bound, flagged))
    assert not bound.reading.settled
    assert moved.leading is flagged
    assert moved.leading.average.value == pytest.approx(low.mean().item())
    assert moved.leading.average.num_observations == 5
    assert moved.leading.average.value < bound.average.value
    assert "log p(x) may lie higher still" in moved.sentence()


def test_a_refined_proposal_is_a_rung_where_it_is_asked_for(linear_gaussian, rescaled_guide, within):
    model, x = linear_gaussian
    pair = model, rescaled_guide(model, 1.5), x
    shared = {"num_temperatures": 0, "proposal": "normal", "seed": 2}
    ladder, evaluation = bv.compare(*pair, (1, 500), **shared), bv.evaluate(*pair, 500, **shared)
    expected = bv.estimate_log_evidence(*pair, 500, proposal="normal", seed=2)
    for rungs in (ladder.rungs[1:], evaluation.rungs):
        assert [rung.name for rung in rungs] == ["L_500", "refined", "exact"]
        torch.testing.assert_close(rungs[1].values, expected.log_evidence, rtol=0, atol=0)
        torch.testing.assert_close(rungs[1].standard_errors, expected.standard_error, rtol=0, atol=0)
        assert rungs[1].estimator == "importance from a refined normal"
        assert rungs[1].reading == expected.reading
        within(rungs[1].values, rungs[2].values, rungs[1].standard_errors)


def test_what_no_grid_can_integrate_has_no_quadrature():
    """A likelihood that overflows far from the data: the other rungs stand."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
            pyro.factor("x", -0.5 * (x - z) ** 2 + torch.where(z > 4, torch.inf, 0.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(2 * x / 3, 0.5))

    x = torch.tensor([0.1, -0.4, 0.2]).double()
    ladder = bv.compare(model, guide, x, (1, 50), num_temperatures=0)
    assert [rung.name for rung in ladder.rungs] == ["ELBO", "L_50"]
    assert ladder.left_out["quadrature"].startswith("no quadrature: log p(x, z) is NaN or +infinity at a node for 3 ")
    assert ladder.left_out["quadrature"] in str(ladder)
    with pytest.raises(NumericalError, match="infinity at a node"):
        bv.quadrature_log_evidence(model, guide, x, method="grid")


def test_every_average_of_a_rung_has_its_bias(gamma_poisson, linear_gaussian, rescaled_guide):
    """Half the squared error of each observation, of L_K, a refined proposal and annealing; quadrature's own error."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.3)
    elbo, bound, refined, _ = bv.compare(model, guide, x, (1, 500), num_temperatures=0, proposal="normal").rungs
    ladder = bv.compare(*gamma_poisson[:3], (1, 5), num_temperatures=20, seed=1)
    *_, annealed, quadrature = ladder.rungs
    for rung in (bound, refined, annealed):
        error = rung.standard_errors
        alone = error.square().sum().sqrt() / len(error)
        expected = torch.hypot(alone, error.square().mean() / 2)
        assert expected > (1 + 1e-6) * alone, "the bias is seen"
        assert rung.average.monte_carlo_error == pytest.approx(expected.item(), rel=1e-9)
    expected = bv.quadrature_log_evidence(*gamma_poisson[:3], **quadrature_rung.GRID, seed=1)
    assert quadrature.average.monte_carlo_error == pytest.approx(expected.refinement_error.mean().item())
    assert quadrature.average.monte_carlo_error > 0
    assert quadrature.reading == expected.reading
    assert elbo.bias == 0


def test_a_tolerance_that_is_not_reached_costs_only_its_own_rung(linear_gaussian, rescaled_guide, monkeypatch):
    monkeypatch.setattr("bayes_vae.estimators.annealing.annealed.MOST_TEMPERATURES", 2)
    model, x = linear_gaussian
    comparison = bv.compare(model, rescaled_guide(model, 1.5), x, (1, 5), num_temperatures=1, tolerance=1e-12)
    assert [rung.name for rung in comparison.rungs] == ["ELBO", "L_5", "annealed", "exact"]
    assert comparison.left_out["converged"].startswith("no converged rung: two levels still differ by ")
    assert comparison.left_out["converged"] in str(comparison)
    assert comparison.annealed.num_temperatures == 1
