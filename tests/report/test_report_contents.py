"""What a report computes: the library's own numbers, pictures at known codes, and what is left out with a reason."""

import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import norm

import bayes_vae as bv
import bayes_vae.progress
from bayes_vae.data.standardization import Standardization
from bayes_vae.diagnosis import NotChecked
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.report import Missing, report_contents, report_page
from bayes_vae.report.code_sections import aggregate_section, calibration_section, kl_section
from bayes_vae.report.contents import STAGES
from bayes_vae.report.diagnosis import diagnosis_section
from bayes_vae.report.evidence import gap_section
from bayes_vae.report.pictures import prior_section, traversal_section
from bayes_vae.report.term_table import evidence_sentences
from bayes_vae.report.training_sections import about_section, training_section
from bayes_vae.settings import PairSettings, ReportSettings
from bayes_vae.training import build_pair
from bayes_vae.vocabulary.readings import Reading


def test_pictures_of_standardized_images_are_in_the_units_of_the_data(contents):
    shape = contents.x.shape[1:]
    scaled = replace(contents, standardization=Standardization(torch.full(shape, 100.0), torch.full(shape, 50.0)))
    seen, draws = (float(100 + 50 * part.double().mean()) for part in (contents.x, contents.pictures.prior_samples))
    section = prior_section(scaled)
    found = re.findall(r"-?\d+\.\d+", section.sentences[0].replace("−", "-"))
    assert float(found[0]) == pytest.approx(draws, abs=0.1)
    assert float(found[2]) == pytest.approx(seen, abs=0.1)
    assert "Pictures, in the units of the data" in section.blocks[0].caption
    table = replace(scaled, x=contents.x.flatten(1))
    assert table.shown(table.x) is table.x  # columns with units of their own share no gray scale


def test_the_terms_are_those_of_the_library(contents, run, data, few):
    x, index = data.test.observations(slice(0, 30), seed=3), data.test.index[:30]
    torch.testing.assert_close(contents.x, x, rtol=0, atol=0)
    expected = bv.evaluate(
        run.model, run.guide, x, few.num_particles, num_temperatures=few.num_temperatures, seed=3, index=index
    )
    for name, average in expected.averages().items():
        assert contents.evaluation.averages()[name].value == pytest.approx(average.value, rel=1e-6), name
    assert contents.evaluation.estimator == "annealed from the guide, 6 temperatures"
    gap = bv.inference_gap(run.model, run.guide, x[:6], num_temperatures=6, seed=3, index=index[:6])
    assert contents.gap.averages()["inference_gap"].value == pytest.approx(
        gap.averages()["inference_gap"].value, abs=1e-4
    )


def test_the_first_sentence_counts_the_observations_that_failed(contents):
    failing = Reading("quadrature", 3, 30)
    rungs = tuple(replace(rung, reading=failing) for rung in contents.evaluation.rungs)
    flagged = replace(contents, evaluation=replace(contents.evaluation, rungs=rungs))
    first = evidence_sentences(flagged, flagged.evaluation.averages())[0]
    assert first.endswith(
        "; quadrature: the first error is from refinement, not Monte Carlo; not converged for 3 of 30)."
    )
    settled = Reading("quadrature", 0, 30)
    rungs = tuple(replace(rung, reading=settled) for rung in rungs)
    told = replace(contents, evaluation=replace(contents.evaluation, rungs=rungs))
    assert evidence_sentences(told, told.evaluation.averages())[0].endswith(
        "(annealed from the guide, 6 temperatures)."
    )


def test_best_and_worst_are_the_ends_of_log_evidence(contents):
    values = contents.evaluation.log_evidence.tolist()
    ranked = sorted(range(30), key=values.__getitem__)
    assert contents.worst == ranked[:6]
    assert contents.best == ranked[::-1][:6]
    few = replace(contents, index=contents.index[:3], evaluation=contents.evaluation)
    assert len(few.best) == len(few.worst) == 1


def test_traversals_decode_the_quantiles_of_the_prior(contents, run):
    """Against a loop over codes made with SciPy's quantiles of a standard normal."""
    found = contents.pictures.traversals
    kl = contents.aggregate.mean_kl_per_dimension
    assert list(found.dimensions) == sorted(range(3), key=lambda d: -float(kl[d]))
    with torch.no_grad():
        held = run.guide.variational_posterior(contents.x[:1]).mean[0]
        torch.testing.assert_close(found.held, held)
        for row, dimension in enumerate(found.dimensions):
            for column, quantile in enumerate(found.along_quantiles):
                code = held.clone()
                code[dimension] = norm.ppf(quantile)
                torch.testing.assert_close(found.along[row, column], run.model.likelihood(code).mean)
        first, second = found.dimensions[:2]
        for i, j in ((0, 4), (14, 0), (3, 11)):
            code = held.clone()
            code[first], code[second] = norm.ppf(found.over_quantiles[i]), norm.ppf(found.over_quantiles[j])
            torch.testing.assert_close(found.over[i, j], run.model.likelihood(code).mean)
    assert found.over.shape == (15, 15, 8, 8)


def test_reconstructions_are_of_the_same_observations(contents):
    """A decoder that was trained at all is nearer to its own observation than to the others, on average."""
    x, means = contents.x.flatten(1), contents.pictures.reconstructions.flatten(1)
    distances = torch.cdist(x, means)
    assert distances.diagonal().mean() < distances.mean()
    assert contents.pictures.prior_samples.shape == (64, 8, 8)


def test_labels_and_codes_stand_side_by_side(contents, run, data):
    with torch.no_grad():
        means = run.guide.variational_posterior(data.test.observations(slice(0, 60), seed=3)).mean
    torch.testing.assert_close(contents.latents.means, means)
    assert torch.equal(contents.latents.labels, data.test.labels[:60])
    assert contents.label_of(4) == str(int(data.test.labels[4]))
    assert replace(contents, label_names=tuple("abcdefghij")).label_of(4) == "abcdefghij"[int(data.test.labels[4])]
    assert replace(contents, labels=None).label_of(4) == ""


def test_every_stage_is_told(run, data, few, monkeypatch):
    told = []

    def bar(name, unit, most):
        told.append(name)
        return nullcontext(lambda done, total: None)

    monkeypatch.setattr(bayes_vae.progress, "ProgressBar", bar)
    settings = replace(few, num_observations=2, num_encoded=4, num_gap_observations=0, num_simulated=0, num_diagnosed=0)
    found = report_contents(run.model, run.guide, data, settings, progress=True)
    assert told == [f"report {place}/{len(STAGES)}, {name}" for place, name in enumerate(STAGES, 1)]
    assert found.gap == Missing("it was not asked for: num_gap_observations is 0.")
    assert found.diagnosis == Missing("it was not asked for: num_diagnosed is 0.")
    assert found.calibration == Missing("it was not asked for: num_simulated is 0.")
    assert calibration_section(found).missing == "it was not asked for: num_simulated is 0."
    assert training_section(found).missing == "no figures by epoch were stored with this pair."


QUICK = ReportSettings(20, 40, 2, 0, 20, 30, 30, 0, "cpu")


def rows(shape, policy, labels=None):
    values = np.random.default_rng(0).random((60, *shape)) < 0.4
    return bv.load_data(values, policy=policy, labels=labels)


def untrained(data, latent_dim, isolated_globals):
    with isolated_globals(seed=1):
        return build_pair(PairSettings(latent_dim, (4,)), data)


def text_of(page):
    """What a reader sees, without the links to the glossary."""
    return re.sub(r"<[^>]+>", "", page)


def test_vectors_are_no_pictures_and_labels_may_be_absent(isolated_globals):
    data = rows((7,), "threshold")
    found = report_contents(*untrained(data, 2, isolated_globals), data, QUICK)
    assert "(7,), which is not that of a picture" in found.pictures.reason
    page = report_page(found)
    assert page.count("Left out: an observation has shape (7,)") == 3
    assert "These data have no labels" in page
    assert "<img" not in page
    assert "log p(x) by quadrature" in text_of(page)


def test_one_dimension_and_colours(isolated_globals):
    data = rows((3, 5, 5), "threshold", labels=list(range(60)))
    found = report_contents(*untrained(data, 1, isolated_globals), data, QUICK)
    assert found.pictures.traversals.over is None
    assert found.pictures.traversals.along.shape == (1, 9, 3, 5, 5)
    assert "the only dimension" in traversal_section(found).sentences[0]


class Correlated(SingleLatentGuide):
    """A normal with correlated dimensions, the same for every x."""

    def variational_posterior(self, x):
        scale = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        return dist.MultivariateNormal(torch.zeros(len(x), 2), scale_tril=scale.expand(len(x), 2, 2))


def test_a_guide_that_does_not_factorize(isolated_globals):
    data = rows((4, 4), "threshold")
    model, _ = untrained(data, 2, isolated_globals)
    found = report_contents(model, Correlated(), data, replace(QUICK, num_gap_observations=2))
    assert found.pictures.traversals.dimensions == (0, 1)
    assert "independent dimensions" in kl_section(found).missing
    assert "independent dimensions" in aggregate_section(found).missing
    (sentence, *_) = gap_section(found).sentences
    assert re.match(r"Over the first 2 observations the ELBO lacks .+ nats of log p\(x\)\. The split of", sentence)


def test_a_pair_written_elsewhere_with_a_discrete_latent(data):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.3))
            pyro.sample("x", dist.Bernoulli((0.2 + 0.3 * z)[..., None, None].expand(*z.shape, 8, 8)).to_event(2), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.4)))

    found = report_contents(model, guide, data, replace(QUICK, num_gap_observations=2))
    assert "q of site 'z' is Bernoulli, and no normal" in found.pictures.reason
    assert isinstance(found.latents, Missing)
    page = report_page(found)
    assert "Not annealed: annealing moves along gradients" in text_of(page)
    assert "Left out: there is no k̂." in page
    assert "at least" in page.partition('id="terms"')[2].partition("<table")[0]


def test_one_observation_is_spoken_of_in_the_singular(isolated_globals):
    data = bv.load_data(np.random.default_rng(0).random((10, 4, 4)) < 0.4, policy="threshold")
    found = report_contents(*untrained(data, 1, isolated_globals), data, replace(QUICK, num_gap_observations=1))
    page = report_page(found)
    assert "The model gives this one observation a mean log p(x) of" in page
    assert "Over the first observation the ELBO lacks" in page
    assert "1 observations" not in page
    assert "1 dimension are" not in page


def test_weights_of_the_kl_and_an_unfinished_run_are_told(contents):
    history = [{**row, "kl_weight": weight} for row, weight in zip(contents.history, (0.0, 0.5), strict=True)]
    warmed = training_section(replace(contents, history=history))
    assert "In training the KL had the weight 0 to 0.5 (at the start of each epoch)" in warmed.sentences[-1]
    config = {name: value for name, value in contents.config.items() if name != "outcome"}
    text = " ".join(about_section(replace(contents, config=config)).sentences)
    assert "The run is unfinished: 2 of 2 epochs were done, and the weights are those of the best so far." in text
    assert "unfinished" not in " ".join(about_section(contents).sentences)


def test_the_diagnosis_is_that_of_the_library(contents, run, data, few):
    settings = {"history": run.history, "settings": contents.config["settings"]["training"], "seconds": float("inf")}
    expected = bv.diagnose(run.model, run.guide, data, num_observations=few.num_diagnosed, seed=few.seed, **settings)
    assert contents.diagnosis.to_json() == expected.to_json()
    assert expected.finding("undertraining"), "two epochs are few"
    section = diagnosis_section(contents)
    (points,) = section.blocks
    assert [point.title for point in points.points] == [finding.name for finding in expected.findings]
    assert "N = 100 training and 300 test observations of digits" in points.caption
    first = expected.findings[0]
    assert points.points[0].kind == first.severity
    assert points.points[0].details[-1] == ("what to do", first.advice)


def test_what_was_not_checked_is_said_once_for_each_reason(contents):
    reasons = (NotChecked("kl-missing", "there is no z."), NotChecked("prior-hole", "there is no z."))
    found = replace(contents.diagnosis, findings=(), not_checked=reasons)
    section = diagnosis_section(replace(contents, diagnosis=found))
    assert found.healthy is None
    assert "whether the rest is right is not known" in found.sentence()
    assert section.sentences == (
        found.sentence(),
        "Not checked: kl-missing and prior-hole: there is no z.",
    )
