"""Several processes come to what one comes to, to the last digits of float64; and end together."""

import pytest
from processes import trainings
from processes.starting import together, values

from bayes_vae.runs import RunDirectory

TOLERANCE = 1e-11
"""Of numbers around 1, after six steps: the sums over a batch are rounded in another order."""


def equal(one, other):
    """Whether two nested results are equal up to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE)


@pytest.fixture(scope="module")
def whole(isolated_globals):
    """What one process comes to."""
    with isolated_globals():
        return trainings.every_pair(["amortized normal"])["amortized normal"]


QUICK = ["amortized normal", "a last batch of one row", "full covariance, importance-weighted", "two layers"]


@pytest.mark.parametrize(
    "names",
    [QUICK, pytest.param([name for name in trainings.PAIRS if name not in QUICK], marks=pytest.mark.statistical)],
    ids=["quick", "the others"],
)
def test_two_processes_come_to_what_one_comes_to(names, isolated_globals):
    with isolated_globals():
        one = trainings.every_pair(names)
    two = values(2, trainings.every_pair, names)
    for name in names:
        assert equal(two[0][name], one[name]), name
        assert two[0][name] == two[1][name], name


def test_three_processes_share_batches_unevenly(whole):
    three = values(3, trainings.every_pair, ["amortized normal"])
    assert all(equal(each["amortized normal"], whole) for each in three)


def test_a_group_that_somebody_else_opened_is_used(whole):
    pytest.importorskip("lightning_fabric")
    assert all(equal(each, whole) for each in values(2, trainings.in_a_group_of_fabric, 2))


def test_what_several_processes_cannot_do_is_refused_in_all_of_them(whole):
    for rank, (found, after) in enumerate(values(2, trainings.refusals)):
        for name, (_, _, message) in trainings.REFUSED.items():
            assert message in found[name], name
        assert "the processes that work together have different data" in found["other data"]
        assert "the processes that work together have different settings of the training" in found["other settings"]
        own = "NumericalError: a row of this process"
        assert (own if rank else "another of the processes that work together failed") in found["one fails"]
        assert equal(after, whole)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_run_with_the_checkpoint_intact(rank, whole, tmp_path, isolated_globals):
    folder = tmp_path / "run"
    ended = together(2, trainings.until, 5, rank, "SIGKILL", folder)
    assert ended[rank].exit_code == -9
    assert "LostProcessError: the processes that work together lost each other" in ended[1 - rank].value
    assert RunDirectory(folder).checkpoint().epochs_done == 1
    with isolated_globals():
        assert equal(trainings.resumed(folder), whole)


def test_asked_in_one_process_all_stop_after_the_same_step(whole, tmp_path):
    folder = tmp_path / "run"
    assert values(2, trainings.until, 5, 1, "SIGINT", folder) == ["KeyboardInterrupt: "] * 2
    done = RunDirectory(folder).checkpoint()
    assert (done.epochs_done, done.steps_done) == (1, 2)
    three = values(3, trainings.resumed, folder)  # with another number of processes
    assert all(equal(each, whole) for each in three)


def test_what_one_process_began_two_go_on_with(whole, tmp_path, isolated_globals):
    with isolated_globals():
        assert trainings.until(2, 0, "SIGINT", tmp_path / "run") == "KeyboardInterrupt: "
    assert all(equal(each, whole) for each in values(2, trainings.resumed, tmp_path / "run"))


def test_one_process_writes_and_the_others_never_touch_the_folder(tmp_path):
    assert values(2, trainings.touched, tmp_path / "run") == [[], []]
    assert not RunDirectory(tmp_path / "run").unfinished
