"""Bits flipped and files cut short in a run, nothing signed anew: refused, or no part of what is read.

``python -m trust.flips --cases 3000`` prints how many were refused, as JSON.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from trust.small_runs import interrupted_run, number_of, small_run

from bayes_vae.errors import RunError
from bayes_vae.runs import run_writer, save

NUMBER = 2


def flips(cases: int, seed: int = 0) -> dict[str, int]:
    """Harm so many files; how many were refused, and how many harms touched nothing that is read."""
    noise, counts = random.Random(seed), Counter()
    folder = Path(tempfile.mkdtemp())
    save(small_run(NUMBER), folder / "finished")
    with run_writer(folder / "unfinished", interrupted_run(NUMBER)):
        pass
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for case in range(cases):
        path = files[case % len(files)]
        whole = path.read_bytes()
        if noise.random() < 0.25:
            harmed = whole[: noise.randrange(len(whole))]
        else:
            place = noise.randrange(len(whole))
            harmed = whole[:place] + bytes([whole[place] ^ 1 << noise.randrange(8)]) + whole[place + 1 :]
        path.write_bytes(harmed)
        try:
            assert number_of(folder / path.relative_to(folder).parts[0]) == NUMBER
            counts["not read"] += 1
        except RunError:
            counts["refused"] += 1
        finally:
            path.write_bytes(whole)
    shutil.rmtree(folder)
    return {"cases": cases, **counts}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=3000)
    sys.stdout.write(json.dumps(flips(parser.parse_args().cases)))
