"""Seconds until Python is ready: ``import bayes_vae`` beside torch alone, ``--help`` beside an empty program.

Limits: ``import bayes_vae`` adds less than 0.2 s to ``import torch``; ``bayes-vae --help`` takes less
than 0.45 s. The rounds are interleaved, so that a busy moment of the machine touches every program alike. The
difference of two imports of torch is noisy, so the import is also timed inside one process, after torch.
"""

import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROUNDS = 7
IMPORT_LIMIT = 0.2
HELP_LIMIT = 0.45

TORCH, BOTH, NOTHING = (f"python -c {source!r}" for source in ("import torch", "import torch, bayes_vae", "pass"))
HELP = "bayes-vae --help"
INSIDE = "import bayes_vae, timed after torch"

PROGRAMS = {
    TORCH: [sys.executable, "-c", "import torch"],
    BOTH: [sys.executable, "-c", "import torch, bayes_vae"],
    NOTHING: [sys.executable, "-c", "pass"],
    HELP: [str(Path(sysconfig.get_path("scripts"), "bayes-vae")), "--help"],
}
TIMED_INSIDE = """
import time, torch
start = time.perf_counter()
import bayes_vae
print(time.perf_counter() - start)
"""


def run(command: list[str]) -> str:
    """Run a command to its end and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def time_once(command: list[str]) -> float:
    """Return the seconds that a command takes from start to end."""
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def measure_round() -> dict[str, float]:
    """Return the seconds of every program, each run once."""
    seconds = {name: time_once(command) for name, command in PROGRAMS.items()}
    return {**seconds, INSIDE: float(run([sys.executable, "-c", TIMED_INSIDE]))}


def print_difference(name: str, seconds: float, limit: float | None = None) -> None:
    """Print one figure, beside its limit where it has one."""
    verdict = "" if limit is None else f"{limit:10.2f}  {'within' if seconds < limit else 'OVER'}"
    print(f"{name:40}{seconds:10.3f}{verdict}")


def main() -> None:
    """Print the medians, the differences, and whether the limits hold."""
    measure_round()  # fills the disk cache
    rounds = [measure_round() for _ in range(ROUNDS)]
    print(f"{'seconds':40}{'median':>10}{'least':>10}{'most':>10}")
    medians = {}
    for name in rounds[0]:
        times = [one[name] for one in rounds]
        medians[name] = statistics.median(times)
        print(f"{name:40}{medians[name]:10.3f}{min(times):10.3f}{max(times):10.3f}")
    print(f"\n{'difference of medians':40}{'seconds':>10}{'limit':>10}")
    print_difference("bayes_vae beyond torch, two processes", medians[BOTH] - medians[TORCH])
    print_difference(INSIDE, medians[INSIDE], IMPORT_LIMIT)
    print_difference("bayes-vae --help, whole", medians[HELP], HELP_LIMIT)
    print_difference("bayes-vae --help beyond an empty program", medians[HELP] - medians[NOTHING])


if __name__ == "__main__":
    main()
