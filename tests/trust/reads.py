"""A run that is read while another process trains it: each read finds one whole checkpoint.

``python -m trust.reads --reads 600`` prints how many reads there were, and of how many checkpoints, as JSON.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from trust.small_runs import interrupted_run, small_run

from bayes_vae.runs import RunDirectory, load, run_writer

RUNS = 9


def write(folder: Path) -> None:
    """Write one checkpoint after the other, and a finished run now and then, until this process is ended."""
    number = 0
    while True:
        with run_writer(folder / f"run-{number}", interrupted_run(2)) as writer:
            (folder / "latest").write_text(f"run-{number}")
            for epochs in range(3, 3 + RUNS):
                checkpoint = replace(small_run(epochs).checkpoint, best_epoch=epochs)
                writer.write(checkpoint)
            writer.finish(small_run(3 + RUNS))
        number += 1


def reads(count: int) -> dict[str, int]:
    """Read so many times while another process writes."""
    folder, seen, done = Path(tempfile.mkdtemp()), set(), 0
    child = os.fork()
    if child == 0:
        try:
            write(folder)
        finally:
            os._exit(1)
    try:
        while done < count:
            name = (folder / "latest").read_text() if (folder / "latest").exists() else ""
            if not name:
                continue
            seen.add((name, number_once(folder / name)))
            load(folder / name)
            done += 1
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "the writing process ended"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
    return {"reads": done, "checkpoints": len(seen)}


def number_once(path: Path) -> int:
    """Which checkpoint is there; all of its parts must say the same."""
    checkpoint = RunDirectory(path).checkpoint()
    numbers = {int(value) for tensor in checkpoint.weights.values() for value in tensor.unique()}
    steps = {int(value) for name, value in checkpoint.optimizer.items() if name.endswith("/step")}
    assert numbers == steps == {checkpoint.epochs_done} == {len(checkpoint.history)}, (numbers, steps)
    return checkpoint.epochs_done


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=int, default=600)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stdout.write(json.dumps(reads(parser.parse_args().reads)))
