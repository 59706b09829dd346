"""Whatever happens while a file or a run is written, either the old or the new one is there, whole."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bayes_vae.errors import RunError
from bayes_vae.runs import RunDirectory, check_destination, load, read_config, save
from bayes_vae.runs.files import temporary_name, write_atomically


class Killed(BaseException):
    """Stands for what nobody catches."""


FAILURES = {
    "disk full": OSError(errno.ENOSPC, "No space left on device"),
    "interrupt": KeyboardInterrupt(),
    "killed": Killed(),
}


def fail_at(monkeypatch, name, failure, call=1):
    """Let the given call of ``os.<name>`` raise; the later ones work again."""
    original, calls = getattr(os, name), []

    def function(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise failure
        return original(*args, **kwargs)

    monkeypatch.setattr(os, name, function)


def expect(failure, match=None):
    """A full disk becomes a RunError that says so; what nobody catches stays what it is."""
    if failure == "disk full":
        return pytest.raises(RunError, match=match or "could not be written .*No space left on device")
    return pytest.raises(type(FAILURES[failure]))


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_file_survives_a_failed_write(tmp_path, monkeypatch, name, failure):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    fail_at(monkeypatch, name, FAILURES[failure])
    with expect(failure, match="file could not be written .*No space.*Make room"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_really_full(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "file"
    path.write_bytes(b"old")
    source = f"""
import pathlib, resource, signal
from bayes_vae.runs.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_atomically(pathlib.Path({str(path)!r}), bytes(10**6))
"""
    folder = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", source]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "RunError" in result.stderr
    assert "could not be written" in result.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_data_are_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    events = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, o=original, n=name: (events.append(n), o(*args))[1])
    write_atomically(tmp_path / "file", b"new")
    assert events == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(("code", "accepted"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_file_systems_that_cannot_sync_a_folder(tmp_path, monkeypatch, code, accepted):
    fail_at(monkeypatch, "fsync", OSError(code, "the folder"), call=2)
    if accepted:
        write_atomically(tmp_path / "file", b"new")
    else:
        with pytest.raises(RunError, match="the folder"):
            write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_systems_without_synced_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("bayes_vae.runs.files.os.name", "nt")
    write_atomically(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(("name", "call"), [("fsync", 1), ("fsync", 7), ("replace", 3), ("replace", 7)])
def test_a_run_that_cannot_be_saved_leaves_nothing(run, tmp_path, monkeypatch, failure, name, call):
    fail_at(monkeypatch, name, FAILURES[failure], call)
    with expect(failure):
        save(run, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(("name", "call"), [("fsync", 1), ("replace", 3), ("replace", 7), ("replace", 8)])
def test_the_old_run_survives_a_failed_replacement(run, saved, tmp_path, monkeypatch, failure, name, call):
    before = snapshot(tmp_path)
    fail_at(monkeypatch, name, FAILURES[failure], call)
    with expect(failure):
        save(run, saved, overwrite=True)
    assert snapshot(tmp_path) == before
    load(saved)


def test_the_new_run_is_complete_before_the_old_one_goes(make_run, saved, tmp_path, monkeypatch):
    seen = []
    original = os.replace

    def replace(source, target):
        if target == saved:
            seen.append(snapshot(source))
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    save(make_run(best_epoch=1), saved, overwrite=True)
    assert seen == [snapshot(saved)]
    assert read_config(saved)["outcome"]["best_epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_is_never_replaced_unasked(run, saved):
    with pytest.raises(RunError, match="run already holds a run.*another --out, or allow it from Python with save"):
        save(run, saved)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_something_else_in_it_is_never_written_to(run, tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(RunError, match=r"is not empty and not a run directory \(no manifest.json\)"):
        save(run, tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_not_a_run_directory(run, tmp_path, overwrite):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match="run is a file, but a run directory is a folder. Choose another --out"):
        save(run, tmp_path / "run", overwrite=overwrite)


def test_replacing_a_run_never_deletes_the_users_own_files(run, saved):
    RunDirectory(saved).add_file("figures/ladder.png", b"ours")
    save(run, saved, overwrite=True)
    (saved / "figures" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds files that are not the run's: figures/notes.txt. Replacing"):
        save(run, saved, overwrite=True)
    assert (saved / "figures" / "notes.txt").read_text() == "mine"


def test_what_a_killed_process_left_does_not_stand_in_the_way(run, saved):
    temporary_name(saved / "config.json").write_bytes(b"half")
    save(run, saved, overwrite=True)


def test_the_destination_can_be_checked_before_a_long_training(saved, tmp_path):
    check_destination(tmp_path / "new")
    check_destination(saved, overwrite=True)
    with pytest.raises(RunError, match="already holds a run"):
        check_destination(saved)


def test_a_folder_that_cannot_be_made_is_named(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"file is a file, so no folder can be made below it. Choose another --out"):
        save(run, tmp_path / "file" / "run")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_file_that_cannot_be_added_leaves_the_run_as_it_was(saved, monkeypatch, failure):
    directory = RunDirectory(saved)
    directory.add_file("evaluation.json", b"old")
    before = snapshot(saved)
    fail_at(monkeypatch, "replace", FAILURES[failure])
    with expect(failure):
        directory.add_file("evaluation.json", b"new")
    assert snapshot(saved) == before


def test_a_kill_between_a_file_and_the_manifest_costs_only_that_file(saved, monkeypatch):
    directory = RunDirectory(saved)
    directory.add_file("evaluation.json", b"old")
    fail_at(monkeypatch, "replace", Killed(), call=2)
    with pytest.raises(Killed):
        directory.add_file("evaluation.json", b"new")
    load(saved)
    with pytest.raises(RunError, match="evaluation.json is not the file that was written"):
        directory.read_file("evaluation.json")
    directory.add_file("evaluation.json", b"new")
    assert directory.read_file("evaluation.json") == b"new"


def test_a_moved_run_is_the_same_run(saved, tmp_path):
    shutil.move(saved, tmp_path / "moved")
    load(tmp_path / "moved")


def test_a_folder_without_permission_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(RunError, match="cannot be written to. Choose another --out, or change its permissions"):
        check_destination(tmp_path / "deep" / "run")
