"""Starting a command in several processes on this machine, as torchrun does, and watching over them."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any

from bayes_vae.cli.flags import Flags
from bayes_vae.cli.output import note
from bayes_vae.errors import ProcessesError, SettingsError, Terminated
from bayes_vae.process import ENDS_WITH_STDIN, local_rank_and_size, rank_and_size

__all__ = ["add_devices", "run_in_processes", "wants_processes"]

SECONDS_BETWEEN_LOOKS = 0.05

SECONDS_TO_END = 20.0
"""That the other processes have once one has failed, before they are killed; a checkpoint may be under way."""

HOST = "127.0.0.1"

PROGRAM = (sys.executable, "-m", "bayes_vae")

FAILED, LOST = 2, 3
"""Exit codes: wrong input, and of a process that ended because another one of its command did."""


def add_devices(parser: Flags, work: str) -> None:
    """Add the flag ``--devices`` to those of a command."""
    group = parser.add_argument_group("several processes")
    each = "each on a CUDA device of its own or on its share of the cores; under torchrun leave it out"
    parser.add_flag(group, "devices", int, 1, f"processes on this machine that {work} together, {each}")


def wants_processes(devices: int) -> bool:
    """Whether this process is to start others, rather than to do the work.

    Raises:
        SettingsError: a number of processes that cannot be.
    """
    if devices < 1:
        raise SettingsError(f"devices must be at least 1, got {devices}.")
    _, started = rank_and_size()
    if started == 1:
        return devices > 1
    if devices not in (1, local_rank_and_size()[1]):
        raise SettingsError(
            f"--devices {devices}, but torchrun started {local_rank_and_size()[1]} processes on this machine: leave "
            "--devices out."
        )
    return False


def run_in_processes(count: int, words: Sequence[str], program: Sequence[str] = PROGRAM) -> int:
    """Run a command in so many processes, and return the exit code.

    What rank 0 prints is printed; of the others, what they said where they failed and rank 0 did not. If one fails, the
    others end too, or are killed.

    Args:
        count: how many.
        words: the command and its arguments.
        program: what takes them.

    Raises:
        ProcessesError: no port is free.
    """
    with _Processes(count, [*program, *words]) as processes:
        return processes.result()


def free_port() -> int:
    """The port at which the processes meet: that of MASTER_PORT, or else one that is free now.

    Raises:
        ProcessesError: it is taken, or none is free.
    """
    asked = os.environ.get("MASTER_PORT", "0")
    if not asked.isdecimal() or int(asked) > 65535:
        raise ProcessesError(f"MASTER_PORT={asked!r} is no port: expected a number from 1 to 65535. Unset it.")
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, int(asked)))
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        what = f"port {asked}, which MASTER_PORT names, is not free" if int(asked) else "no port is free"
        raise ProcessesError(
            f"the processes have nowhere to meet: {what} on {HOST} ({error.strerror}). "
            f"{'Unset MASTER_PORT, or name another one' if int(asked) else 'End other programs that listen'}."
        ) from error


class _Processes:
    """The processes of one command, from their start to their end."""

    def __init__(self, count: int, words: Sequence[str]) -> None:
        port = free_port()
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
        shared = {"MASTER_ADDR": HOST, "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads, ENDS_WITH_STDIN: "1"}
        shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        self.said: list[IO[str]] = []
        self.all: list[subprocess.Popen[Any]] = []
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,  # closed where this process is gone, even by kill -9
                stdout=subprocess.DEVNULL if rank else None,
                stderr=said if rank else None,
                env={**os.environ, **shared, **own},
                start_new_session=True,  # Ctrl-C reaches this process alone, which hands it on once
            )
            self.said.append(said)
            self.all.append(process)

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.all:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        for said in self.said:
            said.close()

    def result(self) -> int:
        """Wait for their end; the exit code."""
        try:
            self._wait(until_one_fails=True)
        except KeyboardInterrupt as asked:
            number = asked.number if isinstance(asked, Terminated) else signal.SIGINT
            for process in self.all:  # a second one while they end has them killed
                process.send_signal(number)
            self._wait()
            return self._code(0)
        self._wait(seconds=SECONDS_TO_END)
        killed = {rank for rank, process in enumerate(self.all) if process.poll() is None}
        failed = [rank for rank in range(len(self.all)) if rank not in killed and self._code(rank) not in (0, LOST)]
        if 0 not in failed:
            self._tell(failed)
        if failed:
            return max(self._code(failed[0]), FAILED)
        return FAILED if killed or any(self._code(rank) for rank in range(len(self.all))) else 0

    def _wait(self, *, until_one_fails: bool = False, seconds: float = math.inf) -> None:
        """Until all have ended, or one with an error, or the time is over."""
        end = time.monotonic() + seconds
        while any(process.poll() is None for process in self.all) and time.monotonic() < end:
            if until_one_fails and any(process.poll() for process in self.all):
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _code(self, rank: int) -> int:
        code = self.all[rank].poll()
        return 0 if code is None else code

    def _tell(self, failed: Sequence[int]) -> None:
        """What the processes said that failed where that of rank 0 did not, each text once."""
        texts: dict[str, int] = {}
        for rank in failed:
            self.said[rank].seek(0)
            lines = self.said[rank].read().strip().splitlines()
            text = lines[-1].removeprefix("bayes-vae: ") if lines else f"it ended with exit code {self._code(rank)}."
            if self._code(rank) < 0:
                text = f"it was ended by {signal.Signals(-self._code(rank)).name}."
            texts.setdefault(text, rank)
        for text, rank in texts.items():
            note(f"bayes-vae: process {rank} of {len(self.all)}: {text}")
