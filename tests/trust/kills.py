"""Processes killed at one file operation after another: what is there afterwards is the old or the new, whole.

``python -m trust.kills --every 1`` kills at each of them and prints how many there were, as JSON.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

from trust.small_runs import interrupted_run, number_of, small_run

from bayes_vae.runs import RunDirectory, exchange, run_writer, save
from bayes_vae.runs.leftovers import clean_leftovers

OLD, NEW = 2, 3

OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events of Python that change a disk; syncing and exchanging are counted beside them."""


def save_new(path):
    save(small_run(NEW), path)


def replace_run(path):
    save(small_run(NEW), path, overwrite=True)


def start_training(path):
    with run_writer(path, interrupted_run(NEW)):
        pass


def write_checkpoint(path):
    with run_writer(path, interrupted_run(OLD), resume=True) as writer:
        writer.write(interrupted_run(NEW).checkpoint)


def finish(path):
    with run_writer(path, interrupted_run(OLD), resume=True) as writer:
        writer.finish(small_run(NEW))


def add_file(path):
    RunDirectory(path).add_file("notes.txt", b"new")


ACTS = {
    "save a new run": (None, save_new, {None, NEW}),
    "replace a run": (save, replace_run, {OLD, NEW}),
    "start a training": (None, start_training, {None, NEW}),
    "write a checkpoint": (run_writer, write_checkpoint, {OLD, NEW}),
    "finish a training": (run_writer, finish, {OLD, NEW}),
    "add a file": (save, add_file, {OLD}),
}
"""What is done → how the old run is made, how it is done, and which runs may be there after a kill."""


def kill_at(count: int) -> None:
    """Let the process kill itself just before the given operation that changes a disk."""
    left = [count]

    def tick(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple) -> None:
        reading = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in OPERATIONS and not reading:
            tick()

    sys.addaudithook(audit)
    for owner, name in ((os, "fsync"), (exchange, "_exchange")):
        setattr(owner, name, partial(_before, tick, getattr(owner, name)))


def _before(tick, function, *arguments):
    tick()
    result = function(*arguments)
    tick()
    return result


def killed(act, path, count: int) -> bool:
    """Do something in a process of its own that is killed at an operation; whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            warnings.simplefilter("ignore")
            kill_at(count)
            act(path)
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{act.__name__} failed: {error!r}\n")
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _make_old(how, path) -> None:
    if how is save:
        save(small_run(OLD), path)
    elif how is run_writer:
        with run_writer(path, interrupted_run(OLD)):
            pass


def kill_points(every: int) -> dict[str, int]:
    """Kill at every n-th operation of each act; act → how many kills left a whole run, or none where none was."""
    counts = {}
    for name, (how, act, allowed) in ACTS.items():
        counts[name], operation = 0, 1
        while True:
            folder = Path(tempfile.mkdtemp())
            path = folder / "run"
            _make_old(how, path)
            if not killed(act, path, operation):
                break
            found = number_of(path) if path.exists() else None
            assert found in allowed, f"{name}, killed at operation {operation}: {found} is there"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clean_leftovers(path)
            left = [entry.name for entry in folder.rglob("*") if entry.name.endswith(".tmp")]
            assert not (path.exists() and left), f"{name}, killed at operation {operation}: {left} stays"
            shutil.rmtree(folder)
            counts[name] += 1
            operation += every
        shutil.rmtree(folder)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    sys.stdout.write(json.dumps(kill_points(parser.parse_args().every)))
