"""Whatever happens while a file or a run is written, either the old or the new one is there, whole."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bayes_vae.errors import LeftoverWarning, RunError
from bayes_vae.runs import RunDirectory, check_destination, load, read_config, save, saving
from bayes_vae.runs.exchange import exchange
from bayes_vae.runs.files import new_folder, temporary_name, write_atomically
from bayes_vae.runs.leftovers import clean_leftovers
from bayes_vae.runs.locking import hold, only_trainer


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
@pytest.mark.parametrize(("name", "call"), [("fsync", 1), ("replace", 3), ("replace", 7)])
def test_the_old_run_survives_a_failed_replacement(run, saved, tmp_path, monkeypatch, failure, name, call):
    before = snapshot(tmp_path)
    fail_at(monkeypatch, name, FAILURES[failure], call)
    with expect(failure):
        save(run, saved, overwrite=True)
    assert snapshot(tmp_path) == before
    load(saved)


def test_the_two_runs_change_places_in_one_step_when_the_new_one_is_complete(make_run, saved, tmp_path, monkeypatch):
    seen, before = [], snapshot(saved)

    def record(one, other):
        seen.append((snapshot(one), snapshot(other)))
        exchange(one, other)
        seen.append((snapshot(one), snapshot(other)))

    monkeypatch.setattr("bayes_vae.runs.saving.exchange", record)
    save(make_run(best_epoch=1), saved, overwrite=True)
    after = snapshot(saved)
    assert seen == [(after, before), (before, after)]
    assert read_config(saved)["outcome"]["best_epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("failure", ["no call", "the file system cannot"])
def test_where_two_folders_cannot_change_places_the_old_run_stays(run, saved, monkeypatch, failure):
    before = snapshot(saved)
    if failure == "no call":
        monkeypatch.setattr("bayes_vae.runs.exchange.ctypes.CDLL", lambda *_, **__: object())
    else:
        monkeypatch.setattr("bayes_vae.runs.exchange._LINUX_EXCHANGE", 1 << 20)
    with pytest.raises(
        RunError, match=r"run cannot be replaced in one step here \(.*Save to a new folder, then delete"
    ):
        check_destination(saved, overwrite=True)  # before any work, such as a training
    with pytest.raises(RunError, match="run cannot be replaced in one step here"):
        save(run, saved, overwrite=True)
    assert snapshot(saved) == before
    assert [path.name for path in saved.parent.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "name", ["a\0b", "\ud800", "x" * 5000, "x/" * 3000 + "x", "circle", "circle/run", "/dev/null/run"]
)
def test_a_name_that_no_folder_can_have_is_refused(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    for act in (check_destination, lambda path: save(run, path), lambda path: save(run, path, overwrite=True)):
        with pytest.raises(RunError, match=r"cannot be the name of a run directory|is a file"):
            act(name)
    assert [path.name for path in tmp_path.iterdir()] == ["circle"]


def test_a_run_that_is_being_trained_is_not_replaced(run, saved):
    with only_trainer(saved), pytest.raises(RunError, match="is being trained by another process"):
        save(run, saved, overwrite=True)


def test_a_file_that_is_added_while_a_run_is_replaced_is_not_lost(run, saved, monkeypatch):
    """Who waits for the lock of the old folder gets that of the new one, to which the path now leads."""
    adding = threading.Thread(target=lambda: RunDirectory(saved).add_file("notes.txt", b"mine"))

    def slowly(one, other):
        adding.start()
        time.sleep(0.3)
        exchange(one, other)

    monkeypatch.setattr("bayes_vae.runs.saving.exchange", slowly)
    save(run, saved, overwrite=True)
    adding.join()
    assert RunDirectory(saved).read_file("notes.txt") == b"mine"


def test_a_folder_that_another_process_took_meanwhile_is_left_alone(run, tmp_path, monkeypatch):
    write = saving._write_folder

    def late(folder, files):
        write(folder, files)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "theirs").write_text("theirs")

    monkeypatch.setattr(saving, "_write_folder", late)
    with pytest.raises(RunError, match="another process wrote to .*run while this one was starting: nothing was chang"):
        save(run, tmp_path / "run")
    assert snapshot(tmp_path) == {Path("run/theirs"): b"theirs"}


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_not_the_folder_one_stands_in(run, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="the path of a run directory is empty: name a folder"):
        save(run, path)
    assert list(tmp_path.iterdir()) == []


def test_only_rank_0_writes(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    save(run, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RANK", "0")
    save(run, tmp_path / "run")
    load(tmp_path / "run")


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


def test_what_killed_processes_left_is_told_and_deleted(run, saved, tmp_path):
    left = [temporary_name(saved / "config.json"), temporary_name(saved / "figures" / "a.png"), temporary_name(saved)]
    for path in left[:2]:
        path.write_bytes(b"half")
    shutil.copytree(saved, left[2])
    with pytest.warns(LeftoverWarning, match="3 unfinished .* that killed processes had left of .*run were deleted: "):
        save(run, saved, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


def test_what_a_living_process_holds_is_left_alone(run, saved):
    with new_folder(saved) as theirs:
        (theirs / "half").write_text("half")
        save(run, saved, overwrite=True)
        assert (theirs / "half").exists()
    mine = temporary_name(saved / "config.json")
    with mine.open("xb") as file:
        hold(file.fileno())
        clean_leftovers(saved)
        assert mine.exists()


def test_a_run_that_another_process_is_about_to_put_in_place_is_not_told_of(run, tmp_path, recwarn):
    with new_folder(tmp_path / "run") as theirs:
        (theirs / "manifest.json").write_text("{}")
        clean_leftovers(tmp_path / "run")
        assert (theirs / "manifest.json").exists()
    assert [str(one.message) for one in recwarn] == []


def test_what_was_deleted_before_it_was_held_is_made_anew(run, saved, monkeypatch):
    held = []

    def first_cleaned_by_another(descriptor):
        held.append(descriptor)
        if len(held) in (1, 3):  # a folder of a run, and a file in it
            with pytest.warns(LeftoverWarning, match="1 unfinished"):
                clean_leftovers(saved)
        hold(descriptor)

    monkeypatch.setattr("bayes_vae.runs.files.hold", first_cleaned_by_another)
    with new_folder(saved) as mine:
        assert mine.is_dir()
    RunDirectory(saved).add_file("notes.txt", b"mine")
    assert len(held) == 5
    assert RunDirectory(saved).read_file("notes.txt") == b"mine"


def test_a_run_that_has_lost_its_name_is_never_deleted(run, saved):
    aside = temporary_name(saved)
    saved.rename(aside)
    with pytest.warns(LeftoverWarning, match="may hold a run that a process was replacing .* Rename it to keep it"):
        save(run, saved)
    load(aside)


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


@pytest.mark.parametrize("path", [None, 5, b"run", 1.5, object()], ids=lambda value: type(value).__name__)
def test_what_is_neither_text_nor_a_path_is_refused(run, saved, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    acts = (check_destination, lambda one: save(run, one), load, RunDirectory, read_config)
    for act in acts:
        with pytest.raises(RunError, match=r"the path of a run directory must be text or a pathlib.Path, got \w+"):
            act(path)
    directory = RunDirectory(saved)
    for act in (directory.read_file, directory.remove_file, lambda one: directory.add_file(one, b"x")):
        with pytest.raises(RunError, match=r"the name of a file in .*run must be text, got \w+"):
            act(path)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]
