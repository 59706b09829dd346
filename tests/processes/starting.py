"""Several processes that work together, for tests: forked from one that has everything imported, so they start at once.

``together(2, work, *arguments)`` runs ``work(*arguments)`` in two processes that see each other as those of torchrun
do, and gives what each returned; ``work`` is a function of a module that lies in ``tests``.
"""

import multiprocessing
import os
import signal
import socket
import sys
import traceback
from multiprocessing import forkserver
from typing import Any, NamedTuple

SECONDS = 100
"""After which processes that hang are killed, and the test fails."""


class Ended(NamedTuple):
    """How one process ended: with a value, an error, or by a signal."""

    value: Any = None
    error: str = ""
    exit_code: int = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def together(count, work, *arguments):
    """Run the work in so many processes; how each of them ended, by rank."""
    context = _context()
    port, started = free_port(), []
    for rank in range(count):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(there, rank, count, port, work, arguments), daemon=True)
        process.start()
        there.close()
        started.append((process, here))
    return [_ended(process, here) for process, here in started]


def _context():
    """The way processes are started; what they are forked from imports :mod:`processes.warm` when it starts."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["processes.warm"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def values(count, work, *arguments):
    """What each of them returned; an error in one of them is this test's."""
    ended = together(count, work, *arguments)
    for rank, each in enumerate(ended):
        assert (each.error, each.exit_code) == ("", 0), f"process {rank}: {each.exit_code} {each.error}"
    return [each.value for each in ended]


def _ended(process, here):
    found = Ended()
    try:
        if here.poll(SECONDS):
            found = here.recv()
    except EOFError:
        pass
    process.join(SECONDS if found else 1)
    if process.is_alive():
        process.kill()
        process.join()
    return found._replace(exit_code=process.exitcode)


def _run(there, rank, count, port, work, arguments):
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs do not hear it
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"})
    try:
        there.send(Ended(work(*arguments)))
    except BaseException as error:
        there.send(Ended(None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
