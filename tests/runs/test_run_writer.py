"""A run directory that is written while training goes on: whatever happens, one whole checkpoint is there."""

import errno
import json
import os
from dataclasses import replace

import pytest
import torch

from bayes_vae.errors import RunError
from bayes_vae.runs import Checkpoint, RunDirectory, run_writer, save
from bayes_vae.runs import directory as directory_module
from bayes_vae.runs.checkpoint_files import checkpoint_files, read_checkpoint
from bayes_vae.runs.weights import pack_weights


@pytest.fixture
def at(make_run):
    """``at(epochs)``: a run with a checkpoint after so many epochs, its weights and best weights told apart by it."""

    def make(epochs, best_epoch=None):
        run = make_run()
        best = epochs if best_epoch is None else best_epoch
        checkpoint = Checkpoint(
            epochs_done=epochs,
            steps_done=0,
            seconds=0.5,
            best_epoch=best,
            weights={key: torch.full_like(value, epochs) for key, value in run.best_state.items()},
            best_weights={key: torch.full_like(value, best) for key, value in run.best_state.items()},
            optimizer={"model.decoder.0.weight/step": torch.tensor(float(epochs))},
            random={"torch": torch.arange(5, dtype=torch.uint8)},
            epoch={"order": torch.empty(0, dtype=torch.int64), "sums": torch.zeros(3, dtype=torch.float64)},
            history=[{"epoch": epoch, "validation_elbo": float(epoch)} for epoch in range(1, epochs + 1)],
        )
        return replace(run, checkpoint=checkpoint, ending="interrupted", history=checkpoint.history)

    return make


def parts(checkpoint):
    states = ("weights", "best_weights", "optimizer", "random", "epoch")
    tensors = {f"{name}.{key}": value for name in states for key, value in getattr(checkpoint, name).items()}
    return tensors, {key: value for key, value in vars(checkpoint).items() if key not in states}


def same_checkpoint(one, other):
    (tensors, rest), (other_tensors, other_rest) = parts(one), parts(other)
    assert rest == other_rest
    assert tensors.keys() == other_tensors.keys()
    assert all(torch.equal(tensors[key], other_tensors[key]) for key in tensors)
    assert all(tensors[key].dtype == other_tensors[key].dtype for key in tensors)


def test_every_checkpoint_comes_back(at, tmp_path):
    with run_writer(tmp_path / "run", at(0)) as writer:
        same_checkpoint(RunDirectory(tmp_path / "run").checkpoint(), at(0).checkpoint)
        for epochs, best in [(1, 1), (2, 1), (3, 1), (4, 4)]:
            writer.write(at(epochs, best).checkpoint)
            directory = RunDirectory(tmp_path / "run")
            assert directory.unfinished
            same_checkpoint(directory.checkpoint(), at(epochs, best).checkpoint)
            assert [type(row["epoch"]) for row in directory.checkpoint().history] == [int] * epochs


def test_it_says_that_it_is_unfinished_until_it_is_not(at, tmp_path):
    run = at(2)
    with run_writer(tmp_path / "run", run) as writer:
        assert json.loads((tmp_path / "run" / "manifest.json").read_text())["unfinished"] is True
        assert not (tmp_path / "run" / "config.json").exists()
        writer.finish(replace(run, ending="all epochs"))
    assert "unfinished" not in json.loads((tmp_path / "run" / "manifest.json").read_text())
    save(replace(run, ending="all epochs"), tmp_path / "saved")
    names = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in tmp_path.iterdir()]
    assert names[0] == names[1]


def test_old_checkpoints_go(at, tmp_path):
    with run_writer(tmp_path / "run", at(0)) as writer:
        for epochs in range(1, 9):
            writer.write(at(epochs).checkpoint)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


class Killed(BaseException):
    """Stands for what nobody catches."""


FAILURES = {"disk full": OSError(errno.ENOSPC, "No space left on device"), "killed": Killed()}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(("name", "call"), [("fsync", call) for call in (1, 2, 6, 7, 8)] + [("replace", 1)])
@pytest.mark.parametrize("act", ["write", "finish"])
def test_the_last_checkpoint_survives_whatever_happens(at, tmp_path, monkeypatch, failure, name, call, act):
    with run_writer(tmp_path / "run", at(2)) as writer:
        writer.write(at(3).checkpoint)
        original, calls = getattr(os, name), []

        def fail(*args, **kwargs):
            calls.append(args)
            if len(calls) == call:
                raise FAILURES[failure]
            return original(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(os, name, fail)
            message = "could not be written .*No space left" if failure == "disk full" else None
            with pytest.raises(RunError if message else Killed, match=message):
                getattr(writer, act)(at(4).checkpoint if act == "write" else at(4))
    directory = RunDirectory(tmp_path / "run")
    assert directory.unfinished
    same_checkpoint(directory.checkpoint(), at(3).checkpoint)
    with run_writer(tmp_path / "run", directory_run(at, directory), resume=True) as writer:
        writer.write(at(4).checkpoint)
        writer.finish(at(4))
    assert not RunDirectory(tmp_path / "run").unfinished


def directory_run(at, directory):
    return replace(at(3), checkpoint=directory.checkpoint())


def test_a_process_that_reads_while_another_writes(at, tmp_path):
    """What the manifest before this one lists is still there, so a reader who holds it is not left with nothing."""
    with run_writer(tmp_path / "run", at(1)) as writer:
        listed = json.loads((tmp_path / "run" / "manifest.json").read_text())["files"]
        writer.write(at(2).checkpoint)
        assert all((tmp_path / "run" / name).exists() for name in listed)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_anew(at, tmp_path, monkeypatch):
    """Twice, so that the files of the manifest in hand are gone; parts of two checkpoints are never put together."""
    read, calls = directory_module.read_verified, []
    with run_writer(tmp_path / "run", at(1)) as writer:
        directory = RunDirectory(tmp_path / "run")

        def replaced_meanwhile(folder, name, digests):
            calls.append(name)
            if len(calls) == 2:
                for number in (2, 3):
                    writer.write(at(number).checkpoint)
            return read(folder, name, digests)

        monkeypatch.setattr(directory_module, "read_verified", replaced_meanwhile)
        assert directory.checkpoint().epochs_done == 3
    states = [name for name in calls if name.endswith("/training.safetensors")]
    assert states == ["checkpoints/000001/training.safetensors", "checkpoints/000003/training.safetensors"]


RESULTS = (
    "evaluation.json",
    "evaluation.nc",
    "evaluation-mnist-0a1b2c3d-dynamic.json",
    "report.html",
    "report-other_data-0a1b2c3d.html",
    "figures/ladder.png",
)
NOTES = ("notes.txt", "report-mine.md", "evaluations/mine.json", "figures/notes.txt")


def there(folder, names):
    """Which of these are in the folder; the manifest says the same."""
    found = {name for name in names if (folder / name).exists()}
    assert found == set(names) & json.loads((folder / "manifest.json").read_text())["files"].keys()
    return found


def test_results_go_with_the_best_weights_that_they_are_of(at, tmp_path):
    folder = tmp_path / "run"

    def add():
        for name in RESULTS:
            RunDirectory(folder).add_file(name, b"{}")

    with run_writer(folder, at(0)) as writer:
        writer.write(at(1).checkpoint)
        add()
        writer.write(at(2, best_epoch=1).checkpoint)
        assert there(folder, RESULTS) == set(RESULTS)
        writer.write(at(3).checkpoint)
        assert not there(folder, RESULTS)
        add()
    with run_writer(folder, at(3), resume=True) as writer:
        assert not there(folder, RESULTS)
        add()
        writer.finish(at(3))
        assert not there(folder, RESULTS)


def test_other_files_that_were_added_stay(at, tmp_path):
    folder = tmp_path / "run"
    with run_writer(folder, at(1)) as writer:
        for name in NOTES:
            RunDirectory(folder).add_file(name, b"mine")
        writer.write(at(2).checkpoint)
        assert there(folder, NOTES) == set(NOTES)
    with run_writer(folder, at(2), resume=True) as writer:
        assert there(folder, NOTES) == set(NOTES)
        writer.finish(at(3))
    assert there(folder, NOTES) == set(NOTES)
    assert RunDirectory(folder).read_file("notes.txt") == b"mine"


def test_something_that_is_there_is_never_written_to(at, saved):
    before = {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="already holds a run, and a run is never"), run_writer(saved, at(1)):
        pass
    assert {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()} == before


def test_only_one_process_writes(at, tmp_path):
    message = "run is being trained by another process, and two would mix their checkpoints. Wait for it or stop it"
    with run_writer(tmp_path / "run", at(1)):
        with pytest.raises(RunError, match=message), run_writer(tmp_path / "run", at(1), resume=True):
            pass
        same_checkpoint(RunDirectory(tmp_path / "run").checkpoint(), at(1).checkpoint)
    with run_writer(tmp_path / "run", at(1), resume=True):
        pass


def test_a_run_that_went_on_since_it_was_read_is_not_set_back(at, tmp_path):
    with run_writer(tmp_path / "run", at(1)) as writer:
        writer.write(at(3).checkpoint)
    message = "was trained by another process since its checkpoint was read: it stands after 3 epochs and 0 steps now"
    with pytest.raises(RunError, match=message), run_writer(tmp_path / "run", at(1), resume=True):
        pass
    with run_writer(tmp_path / "run", at(3), resume=True) as writer:
        writer.finish(at(3))
    with pytest.raises(RunError, match="was trained by another"), run_writer(tmp_path / "run", at(3), resume=True):
        pass
    assert not RunDirectory(tmp_path / "run").unfinished


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format_version": 2}', b'{"format_version": 1}'])
def test_a_position_that_is_none_is_refused(at, content):
    files = {**checkpoint_files(at(1).checkpoint), "best.safetensors": pack_weights(at(1).best_state)}
    files["training.json"] = content
    with pytest.raises(RunError, match=r"RUN: training.json is not the position of a training .* expected version 1 "):
        read_checkpoint(files.__getitem__, "RUN")
