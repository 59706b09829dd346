"""Break the code on purpose, one line at a time, and see a test fail: ``make mutants`` and ``make mutants-random``.

``tests/mutants.toml`` lists lines, what each is broken to, and the test that must notice. Two workers, each in a
temporary copy of the tree, first run the tests on the unbroken code, where all must pass, then each mutant against its
own test. Only a failed test kills a mutant: an error of import, collection or fixture does not, and neither does the
time limit unless the entry says ``timeout = "kills"``. Kills are kept in ``build/mutants.json``, so an interrupted run
resumes; a mutant runs again once its file or its test file has changed.

``python tests/mutants.py --check`` only checks the list.
"""

import argparse
import ast
import hashlib
import json
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mutant_workers import ERROR, KILLED, LATE, NUM_WORKERS, ROOT, SURVIVED, Ending, Submit, Worker, workers

RESULTS = ROOT / "build" / "mutants.json"
TIME_LIMIT = 300.0
"""Seconds for one mutant, unless its entry has a ``limit``."""


@dataclass(frozen=True)
class Mutant:
    """One broken line: the text ``line`` of ``file``, the only one or the ``occurrence``-th, becomes ``broken``.

    ``test`` is what runs against it: names of tests, files or folders within ``tests/``.
    """

    file: str
    line: str
    broken: str
    test: str | tuple[str, ...]
    occurrence: int | None = None
    timeout: str = "survives"
    limit: float = TIME_LIMIT

    @property
    def tests(self) -> tuple[str, ...]:
        return (self.test,) if isinstance(self.test, str) else self.test

    def applied(self, source: str) -> str:
        start = -1
        for _ in range(self.occurrence or 1):
            start = source.index(self.line, start + 1)
        return source[:start] + self.broken + source[start + len(self.line) :]

    def key(self, root: Path = ROOT) -> str:
        """Digest of the mutant, its file and its test files."""
        paths = [root / self.file, *(root / "tests" / test.partition("::")[0] for test in self.tests)]
        files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
        return hashlib.sha256(repr(self).encode() + b"".join(file.read_bytes() for file in files)).hexdigest()[:20]

    def __str__(self) -> str:
        line, broken = (" ".join(text.split()) for text in (self.line, self.broken))
        tests = self.tests[0] if len(self.tests) == 1 else f"{self.tests[0]} and {len(self.tests) - 1} other files"
        return f"{self.file}: {line}  →  {broken or '(left out)'}  [{tests}]"


def listed_mutants(root: Path = ROOT) -> list[Mutant]:
    """The mutants of ``tests/mutants.toml``, in its order."""
    return [Mutant(**entry) for entry in tomllib.loads((root / "tests/mutants.toml").read_text("utf-8"))["mutant"]]


def problem_of(mutant: Mutant, root: Path = ROOT) -> str | None:
    """What is wrong with an entry (None: nothing): its file, its line, what it is broken to, or its test."""
    path = root / mutant.file
    if not path.is_file():
        return "there is no such file"
    source = path.read_text("utf-8")
    count = source.count(mutant.line)
    if count == 0 or (mutant.occurrence or 1) > count or (count > 1 and mutant.occurrence is None):
        return f"the line occurs {count} times: it should occur once, or the entry says which one is its `occurrence`"
    if mutant.applied(source) == source:
        return "the line is broken to itself"
    if path.suffix == ".py":
        try:
            ast.parse(mutant.applied(source))
        except SyntaxError as error:
            return f"the broken file does not parse: {error}"
    for file, _, name in (test.partition("::") for test in mutant.tests):
        if not (root / "tests" / file).is_file():
            return f"there is no file tests/{file}"
        if name.partition("[")[0] not in functions_of(root / "tests" / file):
            return f"tests/{file} has no test {name!r}"
    return None


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Names of the functions in a file."""
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


def check(mutants: Iterable[Mutant], root: Path = ROOT) -> list[str]:
    """One sentence for each entry with a problem, and for each that stands twice."""
    faults, seen = [], set()
    for mutant in mutants:
        problem = "it stands twice" if mutant in seen else problem_of(mutant, root)
        seen.add(mutant)
        if problem:
            faults.append(f"{mutant}\n    {problem}")
    return faults


def verdict(worker: Worker, mutant: Mutant) -> Ending:
    """How the tests of a mutant end."""
    source = mutant.applied((worker.tree / mutant.file).read_text("utf-8"))
    ending = worker.run_broken(mutant.file, source, mutant.tests, mutant.limit)
    return ending._replace(word=KILLED) if ending.word == LATE and mutant.timeout == "kills" else ending


def check_unbroken(submit: Submit, mutants: Sequence[Mutant]) -> None:
    """Run the tests of these mutants on the unbroken code, and exit where one does not pass."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    groups = [group for group in (tests[start::NUM_WORKERS] for start in range(NUM_WORKERS)) if group]
    print(f"{len(tests)} tests on the unbroken code", flush=True)
    runs = [submit(lambda worker, group: worker.run(group, all_of_them=True), group) for group in groups]
    failed = [ending.output for ending in (run.result() for run in runs) if ending.word != SURVIVED]
    if failed:
        raise SystemExit("\n".join(failed) + "\nThe unbroken code does not pass these tests: fix that first")


def run(mutants: Sequence[Mutant]) -> dict[Mutant, str]:
    """How each mutant ends, known or run; printed as it comes, kills kept in ``build/mutants.json``."""
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    endings = {mutant: KILLED for mutant in mutants if mutant.key() in known}
    pending = [mutant for mutant in mutants if mutant not in endings]
    if endings:
        print(f"{len(endings)} of them are known to be killed ({RESULTS.relative_to(ROOT)})")
    if not pending:
        return endings
    with workers() as submit:
        check_unbroken(submit, pending)
        began = time.monotonic()
        runs = {submit(verdict, mutant): mutant for mutant in pending}
        for done, future in enumerate(as_completed(runs), 1):
            mutant, ending = runs[future], future.result()
            endings[mutant] = ending.word
            if ending.word == KILLED:
                known[mutant.key()] = str(mutant)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False), "utf-8")
            left = (time.monotonic() - began) / done * (len(pending) - done) / 60
            print(f"[{done}/{len(pending)}, {left:.0f} min left] {ending.word}: {mutant}", flush=True)
            if ending.word == ERROR:
                print(ending.output)
    return endings


def summary(endings: dict[Mutant, str]) -> int:
    """Prints the counts and what was not killed; 1 where there is such a mutant, else 0."""
    alive = [mutant for mutant, ending in endings.items() if ending != KILLED]
    print(f"\n{len(endings) - len(alive)} of {len(endings)} mutants were killed")
    for mutant in alive:
        print(f"{endings[mutant]}: {mutant}")
    return int(bool(alive))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="check the list, run nothing")
    parser.add_argument("--only", metavar="TEXT", default="", help="only mutants with this in file, line or test")
    parser.add_argument("--random", metavar="N", type=int, help="N random mutants instead of the listed ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random mutants")
    options = parser.parse_args()
    if options.random is None:
        mutants = listed_mutants()
        if faults := check(mutants):
            raise SystemExit(
                "\n".join(faults) + f"\n{len(faults)} of {len(mutants)} entries of tests/mutants.toml are wrong"
            )
    else:
        from random_mutants import random_mutants

        mutants = random_mutants(options.random, options.seed)
    chosen = [mutant for mutant in mutants if options.only in str(mutant)]
    print(f"{len(chosen)} of {len(mutants)} mutants")
    return 0 if options.check else summary(run(chosen))


if __name__ == "__main__":
    sys.exit(main())
