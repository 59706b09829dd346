"""Run the benchmarks of this folder one after the other: all but the long ones, or those that are named.

``make bench``, or ``python benchmarks/run.py import_cost ...``; the long ones have a make target each.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LONG = ("annealed_criterion", "combinations")
"""Those that take an hour: `make criterion`, `make combinations`."""


def find_benchmarks() -> dict[str, Path]:
    """Return name → file of every benchmark."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path != Path(__file__).resolve()}


def main() -> int:
    """Run them and return how many failed."""
    benchmarks = find_benchmarks()
    names = sys.argv[1:] or [name for name in benchmarks if name not in LONG]
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}: choose from {', '.join(benchmarks)}.")
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    failed = 0
    for name in names:
        print(f"\n== {name}", flush=True)
        failed += subprocess.run([sys.executable, str(benchmarks[name])], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
