"""Workers that run pytest in a temporary copy of the tree, for :mod:`mutants`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NUM_WORKERS = 2
NOT_COPIED = {".git", "build", "dist", "runs"}
KILLED, SURVIVED, ERROR, LATE = "killed", "SURVIVED", "ERROR", "OUT OF TIME"

SERVER = """
import json, os, signal, sys
import numpy, pyro, pytest, torch
for line in sys.stdin:
    arguments, output, write_bytecode = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        if not write_bytecode:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.stdin, code = open(0), 70
        try:
            code = int(pytest.main(arguments))
        finally:
            sys.stdout.flush()
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A process that has imported what takes long, but nothing of this project, and forks for each call of pytest."""


class Ending(NamedTuple):
    """How a call of pytest ended, and what it printed."""

    word: str
    output: str


class Worker:
    """A copy of the tree in a folder of its own, and pytest in it, on one thread."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder, self.tree = folder, folder / "tree"

        def left_out(parent: str, names: list[str]) -> list[str]:
            if Path(parent) != root:
                return [name for name in names if name == "__pycache__"]
            return [name for name in names if name in NOT_COPIED or name.startswith(".venv") or name.endswith("_cache")]

        shutil.copytree(root, self.tree, symlinks=True, ignore=left_out)
        environment = os.environ | {"PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=self.tree, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, tests: Iterable[str], limit: float | None = None, *, all_of_them: bool = False) -> Ending:
        """Run tests, named within ``tests/``, up to the first failure; all of them only on the unbroken code.

        Only a failed test kills: an error of import, collection or fixture is an ERROR, too many seconds are LATE.
        """
        report, output = self.folder / "report.xml", self.folder / "output.txt"
        report.unlink(missing_ok=True)
        options = f"-q -n0 -p no:cacheprovider --junitxml={report} --basetemp={self.folder}/temp".split()
        arguments = [*options, *([] if all_of_them else ["-x"]), *(f"tests/{test}" for test in tests)]
        print(json.dumps([arguments, str(output), all_of_them]), file=self.server.stdin, flush=True)
        child = int(self.server.stdout.readline())
        late = threading.Event()

        def stop() -> None:
            late.set()
            os.killpg(child, signal.SIGKILL)

        timer = threading.Timer(limit or threading.TIMEOUT_MAX, stop)
        timer.start()
        code = int(self.server.stdout.readline())
        timer.cancel()
        if late.is_set():
            return Ending(LATE, f"no end after {limit:.0f} s")
        failures = ElementTree.parse(report).getroot().find("testsuite").get("failures") if report.exists() else 0
        word = SURVIVED if code == 0 else KILLED if code == 1 and int(failures) else ERROR
        return Ending(word, output.read_text("utf-8", "replace"))

    def run_broken(self, file: str, source: str, tests: Iterable[str], limit: float) -> Ending:
        """Run tests with another text in a file of the copy, which is as before afterwards."""
        path = self.tree / file
        before, stat = path.read_text("utf-8"), path.stat()
        try:
            path.write_text(source, "utf-8")
            return self.run(tests, limit)
        finally:
            path.write_text(before, "utf-8")
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its bytecode stays valid

    def close(self) -> None:
        self.server.communicate()


Submit = Callable[..., "Future[Ending]"]


@contextmanager
def workers(count: int = NUM_WORKERS) -> Iterator[Submit]:
    """Workers, as a function that runs ``task(worker, *arguments)`` as soon as one is free."""
    free: SimpleQueue[Worker] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(count):
            worker = Worker(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-"))))
            stack.callback(worker.close)
            free.put(worker)
        pool = ThreadPoolExecutor(count)
        stack.callback(pool.shutdown, cancel_futures=True)

        def on_a_free_worker(task: Callable[..., Ending], arguments: tuple[object, ...]) -> Ending:
            worker = free.get()
            try:
                return task(worker, *arguments)
            finally:
                free.put(worker)

        yield lambda task, *arguments: pool.submit(on_a_free_worker, task, arguments)
