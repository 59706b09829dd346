"""Several processes evaluate each observation once, and their figures are those of one process."""

import math

import pytest
from processes import evaluations
from processes.starting import values

QUICK = [name for name in evaluations.CASES if name != "501"]


def equal(one, other):
    """Whether nested results are equal up to rounding; what is not a number is the same nothing."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, str) or not math.isfinite(one):
        return str(one) == str(other)
    return one == pytest.approx(other, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("count", "names"), [(2, QUICK), (2, ["501"]), (3, ["501"])], ids=["pairs", "501/2", "501/3"])
def test_the_figures_are_those_of_one_process(count, names, isolated_globals):
    with isolated_globals():
        one = evaluations.evaluations(names)
    several = values(count, evaluations.evaluations, names)
    for name in names:
        expected, index = one[name]
        for found, own in (each[name] for each in several):
            assert abs(len(own) - len(index) / count) < 1
            for part in expected:
                assert equal(found[part], expected[part]), (name, part)
        assert [row for each in several for row in each[name][1]] == index


def test_what_cannot_be_shared_is_said():
    for keyed, few in values(3, evaluations.refused):
        assert keyed == (
            "this pair has noise that is not keyed by observation: its observations cannot be shared. Evaluate it in "
            "one process."
        )
        assert few == "3 processes share 2 observations, so that some would have none: start at most 2."
