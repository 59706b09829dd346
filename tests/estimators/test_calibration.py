"""Calibration of guides whose ranks are known: the exact posterior, and those that are off by a known amount."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.guides import ExactLinearGaussianGuide, SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms.prior_as_guide import prior_as_guide

NORMAL = torch.distributions.Normal(0.0, 1.0)


class OffGuide(SingleLatentGuide):
    """The exact posterior's marginals, shifted by so many deviations and rescaled; one number a dimension."""

    def __init__(self, model, shift, factor):
        super().__init__()
        self._model, self.shift, self.factor = (model,), torch.as_tensor(shift), torch.as_tensor(factor)

    def variational_posterior(self, x):
        exact = self._model[0].exact_posterior(x)
        deviation = exact.variance.sqrt()
        return diagonal_normal(exact.loc + self.shift * deviation, self.factor * deviation)


def coverage_of(shift, factor, level):
    """P(true z in q's central interval) for q = N(m + shift s, (factor s)²) and z ~ N(m, s²)."""
    reach = factor * NORMAL.icdf(torch.tensor((1 + level) / 2))
    return float(NORMAL.cdf(shift + reach) - NORMAL.cdf(shift - reach))


def expected_coverage(shift, factor, num_draws, level):
    """The same for an interval of ranks: the rank is binomial, given where z lies in q."""
    nodes = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    inside = NORMAL.cdf((nodes - shift) / factor).clamp(1e-300, 1 - 1e-16).unsqueeze(-1)
    tail = round((1 - level) / 2 * (num_draws + 1))
    ranks = torch.arange(tail, num_draws - tail + 1, dtype=torch.float64)
    mass = torch.distributions.Binomial(num_draws, probs=inside).log_prob(ranks).exp().sum(-1)
    weights = NORMAL.log_prob(nodes).exp()
    return float((mass * weights).sum() / weights.sum())


def test_exact_guide_passes(linear_gaussian, within):
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, ExactLinearGaussianGuide(model))
    assert found.calibrated
    assert list(map(str, found.readings)) == ["uniform", "uniform"]
    assert found.levels == pytest.approx((0.5, 0.8, 0.9, 0.95))
    for j, level in enumerate(found.levels):
        within(found.coverage[j], level, found.coverage_error[j])
        within(found.pooled_coverage[j], level, found.pooled_coverage_error[j])
    within(found.scaled_ranks.mean(0), 0.5, (1 / 12 / 1000) ** 0.5)
    assert found.sentence().startswith("q looks calibrated in each of its 2 dimensions")


def test_false_alarms_are_no_more_than_asked_for(linear_gaussian, within):
    """End to end, 100 data sets: Holm's correction for six dependent tests keeps the chance below the level."""
    model, _ = linear_gaussian
    guide, flagged, p_values = ExactLinearGaussianGuide(model), [], []
    for seed in range(100):
        found = bv.calibrate_guide(
            model, guide, num_observations=100, num_draws=19, levels=(0.8,), false_alarm=0.2, seed=seed
        )
        flagged.append(not found.calibrated)
        p_values.append(found.p_values)
    count, most = sum(flagged), 100 * 0.2
    assert count <= most + 4.9 * (most * 0.8) ** 0.5
    assert count > 0
    low = (torch.stack(p_values) <= 0.2).double().mean(2)  # (100, 3): the two dimensions are dependent
    within(low.mean(0), 0.2, low.std(0) / 100**0.5)


@pytest.mark.parametrize(
    ("shift", "factor", "word"),
    [(0.0, 0.5, "too narrow"), (0.0, 1.5, "too wide"), (0.5, 1.0, "too high"), (-0.5, 1.0, "too low")],
)
def test_a_guide_that_is_off_is_named_and_its_coverage_is_the_closed_form(linear_gaussian, within, shift, factor, word):
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, OffGuide(model, shift, factor), num_observations=2000)
    assert list(map(str, found.readings)) == [word, word]
    assert not found.calibrated
    assert found.sentence().startswith(f"q is {word} in 2 of 2 dimensions (worst: z_")
    for j, level in enumerate(found.levels):
        truth = expected_coverage(shift, factor, found.num_draws, level)
        assert truth == pytest.approx(coverage_of(shift, factor, level), abs=0.01)
        within(found.coverage[j], truth, found.coverage_error[j])
        within(found.pooled_coverage[j], truth, found.pooled_coverage_error[j])
    if shift == 0:
        closed = 2 * float(NORMAL.cdf(factor * NORMAL.icdf(torch.tensor(0.95)))) - 1
        assert coverage_of(0.0, factor, 0.9) == pytest.approx(closed)


def test_dimensions_keep_their_order(linear_gaussian):
    """One dimension too narrow, the other right: neither the axes nor the names are swapped."""
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, OffGuide(model, [0.0, 0.0], [0.4, 1.0]))
    assert found.names == ("z_0", "z_1")
    assert list(map(str, found.readings)) == ["too narrow", "uniform"]
    assert found.worst_first == [0, 1]
    assert found.coverage.shape == (4, 2)
    assert (found.coverage[:, 0] < found.coverage[:, 1] - 0.1).all()
    assert found.counts.shape == (2, 20)
    assert found.counts.sum(1).tolist() == [1000, 1000]


def test_ranks_count_the_draws_below(linear_gaussian):
    """A guide far above puts no draw below the truth, one far below puts them all."""
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, OffGuide(model, [50.0, -50.0], [1.0, 1.0]), num_observations=40, num_draws=99)
    assert (found.ranks == torch.tensor([0, 99])).all()
    assert [reading.place for reading in found.readings] == ["too high", "too low"]


def test_intervals_are_symmetric_and_hold_what_they_say(linear_gaussian):
    """One observation at every rank: the share inside is the nominal one, exactly, and the ends are outside."""
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, ExactLinearGaussianGuide(model), num_observations=50, num_draws=19)
    every = bv.GuideCalibration(**{**vars(found), "ranks": torch.arange(20).unsqueeze(1), "names": ("z",)})
    assert every.levels == pytest.approx((0.5, 0.8, 0.9, 0.9))
    torch.testing.assert_close(every.coverage[:, 0], torch.tensor(every.levels, dtype=torch.float64))
    assert torch.equal(every.inside, every.inside.flip(1))
    assert not every.inside[:, 0].any()


def test_pooled_error_knows_that_dimensions_depend_on_each_other(linear_gaussian, within):
    """Twice the same dimension is no more information than once."""
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, ExactLinearGaussianGuide(model), num_observations=500)
    twice = bv.GuideCalibration(**{**vars(found), "ranks": found.ranks[:, [0, 0]]})
    torch.testing.assert_close(twice.pooled_coverage_error, found.coverage_error[:, 0], rtol=0.02, atol=0)


class CoinModel:
    """A program whose latents are a coin, and a vector: ties in every draw of the first."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            coin = pyro.sample("coin", dist.Bernoulli(torch.tensor(0.3)))
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1) + coin, 1.0), obs=x)


class FromThePrior(CoinModel):
    """With a guide that does not look at x: right on average."""

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("coin", dist.Bernoulli(torch.tensor(0.3)))
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


class WrongCoin(CoinModel):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("coin", dist.Bernoulli(torch.tensor(0.6)))
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def test_ties_of_a_discrete_latent_are_broken_by_chance(within):
    """Uniform ranks although nearly all draws are ties; a wrong coin is seen."""
    pair = FromThePrior()
    found = bv.calibrate_guide(pair.model, pair.guide, like=torch.zeros(1000))
    assert found.names == ("coin", "z_0", "z_1")
    assert found.calibrated
    assert found.counts[0].min() > 20
    few = bv.calibrate_guide(pair.model, pair.guide, like=torch.zeros(1000), num_draws=3, levels=(0.5,))
    within(few.counts, 250.0, (1000 * 3 / 16) ** 0.5)
    wrong = WrongCoin()
    found = bv.calibrate_guide(wrong.model, wrong.guide, like=torch.zeros(1000), seed=1)
    assert found.readings[0].place == "too high"
    assert not any(found.readings[1:])


def test_rows_like_which_is_simulated_say_how_many():
    pair = FromThePrior()
    assert bv.calibrate_guide(pair.model, pair.guide, like=torch.zeros(20), num_draws=19).num_observations == 20
    same = bv.calibrate_guide(pair.model, pair.guide, like=torch.zeros(20), num_observations=20, num_draws=19)
    assert same.num_observations == 20
    with pytest.raises(SettingsError, match="like holds 20 observations, and num_observations is 30: as many are"):
        bv.calibrate_guide(pair.model, pair.guide, like=torch.zeros(20), num_observations=30, num_draws=19)


def test_the_prior_in_the_guides_place_passes(linear_gaussian):
    """The known limit of the method, as its docstring says."""
    model, _ = linear_gaussian
    found = bv.calibrate_guide(model, prior_as_guide(model, "traces"))
    assert found.calibrated
    assert found.provenance.source == "traces"


def test_traces_and_distributions_have_the_same_ranks(linear_gaussian):
    model, _ = linear_gaussian
    guide = OffGuide(model, 0.1, 1.2)
    settings = {"num_observations": 60, "num_draws": 29, "levels": (0.8,)}
    exposed = bv.calibrate_guide(model, guide, **settings)
    traced = bv.calibrate_guide(model, guide, source="traces", **settings)
    assert (exposed.provenance.source, traced.provenance.source) == ("distributions", "traces")
    assert torch.equal(exposed.ranks, traced.ranks)


def test_seeds_differ_and_repeat(linear_gaussian):
    model, _ = linear_gaussian
    guide = ExactLinearGaussianGuide(model)
    first, again, other = (
        bv.calibrate_guide(model, guide, num_observations=50, num_draws=19, levels=(0.5,), seed=seed).ranks
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_averages_and_the_table(linear_gaussian):
    model, _ = linear_gaussian
    calls = []
    found = bv.calibrate_guide(
        model,
        OffGuide(model, 0.0, 0.5),
        num_observations=300,
        num_draws=99,
        progress=lambda done, total: calls.append((done, total)),
    )
    averages = found.averages()
    assert list(averages) == ["scaled_rank", "coverage_50", "coverage_80", "coverage_90", "coverage_94"]
    assert averages["coverage_80"].value == pytest.approx(float(found.pooled_coverage[1]))
    assert averages["coverage_80"].data_error == pytest.approx(float(found.pooled_coverage_error[1]))
    assert math.isnan(averages["coverage_80"].monte_carlo_error)
    text = str(found)
    assert "L = 99 draws, N = 300, 20 bins, seed 0, data policy: simulated" in text
    assert text.splitlines()[1].endswith("too narrow")
    assert text.endswith(found.sentence())
    assert calls[-1] == (300, 300)


def test_one_dimension_reads_well(small_vae):
    model, guide, _ = small_vae
    found = bv.calibrate_guide(model, guide, num_observations=100, num_draws=19, levels=(0.5,))
    torch.testing.assert_close(found.pooled_coverage_error, found.coverage_error[:, 0])
    assert " dimensions" not in found.sentence()


def test_guides_of_given_observations_are_refused(linear_gaussian):
    model, _ = linear_gaussian
    guide = ExactLinearGaussianGuide(model)
    guide.needs_index = True
    with pytest.raises(NotDefinedError, match="simulates new observations, and this guide has parameters for each"):
        bv.calibrate_guide(model, guide)


def test_programs_need_an_example(linear_gaussian):
    pair = FromThePrior()
    with pytest.raises(NotDefinedError, match=r"calibrate_guide simulates from the model .* pass like="):
        bv.calibrate_guide(pair.model, pair.guide)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_draws": 0}, "num_draws must be a whole number of at least 1, got 0"),
        ({"num_observations": 0}, "num_observations must be a whole number of at least 1, got 0"),
        ({"num_observations": 15}, "200 ranks of 15 observations cannot be put into equal bins"),
        ({"false_alarm": 1.0}, "false_alarm must be a probability between 0 and 1, got 1.0"),
        ({"levels": (1.0,)}, "levels must lie between 0 and 1 .* got 1.0"),
        ({"levels": (0.999,)}, "leave out at least one of 200 ranks at each end, got 0.999"),
        ({"levels": (0.001,)}, "levels must lie between 0 and 1 .* got 0.001"),
    ],
)
def test_settings_are_checked(linear_gaussian, settings, message):
    model, _ = linear_gaussian
    with pytest.raises(SettingsError, match=message):
        bv.calibrate_guide(model, ExactLinearGaussianGuide(model), **settings)


class Zeros(ExactLinearGaussianGuide):
    """The exact posterior of x with zeros in place of what is missing: right for whole rows alone."""

    def variational_posterior(self, x):
        return super().variational_posterior(x.nan_to_num())


def test_the_gaps_of_the_data_are_laid_over_what_is_simulated(isolated_globals):
    """The exact posterior of what was observed is calibrated, and one that takes gaps for zeros is not."""
    with isolated_globals(seed=0), torch.no_grad():
        model = LinearGaussianVAE(2, (4,))
        model.log_scale.fill_(-1.0)
        model.bias.fill_(2.0)
        like = torch.randn(400, 4).masked_fill(torch.rand(400, 4) < 0.4, torch.nan)
    right = bv.calibrate_guide(model, ExactLinearGaussianGuide(model), like=like, num_draws=99)
    wrong = bv.calibrate_guide(model, Zeros(model), like=like, num_draws=99)
    assert right.calibrated
    assert not wrong.calibrated
    assert right.provenance.missing_share == pytest.approx(float(like.isnan().double().mean()))
