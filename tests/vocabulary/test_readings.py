"""Readings: their words and sentences, and that JSON keeps them."""

import dataclasses
import json
from typing import get_args

import pytest

from bayes_vae.vocabulary.readings import (
    ESTIMATE,
    LOWER_BOUND,
    Kind,
    RankShape,
    Reading,
    sentence,
    why_not_converged,
    words,
)

FAILED = "lower_bound_not_converged"

SENTENCES = [
    (ESTIMATE, "estimate", ""),
    (LOWER_BOUND, "lower bound", ""),
    (Reading("exact"), "exact", ""),
    (Reading("closed_form"), "closed form", ""),
    (Reading("at_most"), "estimate, at most", ""),
    (Reading("at_least"), "estimate, at least", ""),
    (Reading("estimate", particles=(50, 400)), "estimate", "50 to 400 particles, chosen by a pilot"),
    (
        Reading(FAILED, 12, 300, thresholds=(0.7, 0.7)),
        "lower bound, not converged",
        "lower bound, not converged: k̂ above 0.70 for 12 of 300",
    ),
    (
        Reading(FAILED, 12, 300, thresholds=(0.53, 0.7), particles=(100, 5000)),
        "lower bound, not converged",
        "lower bound, not converged: k̂ above its threshold, 0.53 to 0.70, for 12 of 300; "
        "100 to 5000 particles, chosen by a pilot",
    ),
    (
        Reading(FAILED, 5, 5, "few_particles", particles=(6, 6)),
        "lower bound, not converged",
        "lower bound, not converged: 6 particles are too few for a k̂",
    ),
    (
        Reading(FAILED, 5, 5, "discrete_latents"),
        "lower bound, not converged",
        "lower bound, not converged: k̂ is not defined for discrete latents",
    ),
    (
        Reading("lower_bound_in_expectation", 0, 7),
        "lower bound in expectation",
        "lower bound in expectation",
    ),
    (
        Reading(FAILED, 3, 7, "chains", temperatures=(50, 200)),
        "lower bound, not converged",
        "lower bound, not converged: annealed chains disagree for 3 of 7; num_temperatures=200 takes 4 times as long",
    ),
    (
        Reading(FAILED, 2, 7, "chains"),
        "lower bound, not converged",
        "lower bound, not converged: annealed chains disagree for 2 of 7",
    ),
    (
        Reading("unresolved", 3, 7, "precision"),
        "no bound",
        "no bound: log p(x, z) is too sharp for its floats for 3 of 7; use float64",
    ),
    (
        Reading(FAILED, 7, 7, "one_chain"),
        "lower bound, not converged",
        "lower bound, not converged: the weight of one chain says nothing about its error",
    ),
    (Reading("upper_bound_in_expectation"), "upper bound in expectation", "upper bound in expectation"),
    (
        Reading("quadrature", 0, 5),
        "exact up to its tolerance",
        "quadrature: the first error is from refinement, not Monte Carlo",
    ),
    (
        Reading("quadrature", 2, 5),
        "quadrature, not converged",
        "quadrature: the first error is from refinement, not Monte Carlo; not converged for 2 of 5",
    ),
    (Reading("capped", limit=5.7038), "at most log N = 5.704", "at most log N = 5.704"),
    (Reading("capped", limit=0.0), "at most log N = 0.000", "at most log N = 0.000"),
    (Reading("not_split", reason="It needs a normal."), "estimate, not split", "It needs a normal."),
    (Reading("posterior_draws", 0, 7), "draws of the exact posterior", ""),
    (Reading("posterior_draws", 7, 7), "draws of chains that have not converged", "chains not converged for 7 of 7"),
    (Reading("annealed", 0, 7), "estimate", ""),
    (
        Reading("annealed", 3, 7, "chains", temperatures=(50, 200)),
        "estimate, not converged",
        "estimate, not converged: annealed chains disagree for 3 of 7; num_temperatures=200 takes 4 times as long",
    ),
]


@pytest.mark.parametrize(("reading", "short", "whole"), SENTENCES)
def test_words_and_sentence(reading, short, whole):
    assert words(reading) == short
    assert sentence(reading) == str(reading) == whole


@pytest.mark.parametrize(("reading", "short", "whole"), SENTENCES)
def test_json_gives_the_value_back(reading, short, whole):
    stored = json.loads(json.dumps(reading.as_json()))
    again = Reading(**stored)
    assert (words(again), sentence(again), again.settled) == (short, whole, reading.settled)
    assert stored["kind"] == reading.kind


def test_every_kind_has_its_row():
    assert {reading.kind for reading, _, _ in SENTENCES} == set(get_args(Kind))


def test_settled_is_that_nothing_failed():
    assert Reading("quadrature", 0, 5).settled
    assert not Reading("quadrature", 1, 5).settled


def test_a_reading_cannot_be_changed_nor_looked_into():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ESTIMATE.kind = "exact"
    for look in (lambda: "lower" in LOWER_BOUND, lambda: LOWER_BOUND.startswith("lower"), lambda: LOWER_BOUND[0]):
        with pytest.raises((TypeError, AttributeError)):
            look()


def test_why_an_estimate_has_not_converged():
    assert why_not_converged(Reading(FAILED, 1, 2, thresholds=(0.5, 0.5))) == "k̂ above 0.50 for 1 of 2"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (RankShape(), "uniform"),
        (RankShape(True), "of another shape"),
        (RankShape(True, "too narrow"), "too narrow"),
        (RankShape(True, None, "too low"), "too low"),
        (RankShape(True, "too wide", "too high"), "too wide and too high"),
    ],
)
def test_rank_shapes(shape, text):
    assert (str(shape), bool(shape)) == (text, shape.departs)
