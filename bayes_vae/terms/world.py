"""The processes that work together on one training or one evaluation, and what they tell each other."""

from __future__ import annotations

import atexit
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed
from torch import Tensor

from bayes_vae.errors import LostProcessError, ProcessesError
from bayes_vae.process import rank_and_size

__all__ = ["ALONE", "ANOTHER_FAILED", "World", "join_world"]

Result = TypeVar("Result")

LOST = "the processes that work together lost each other: one of them ended, or the network between them failed"


ANOTHER_FAILED = "another of the processes that work together failed: see what it said."


@dataclass(frozen=True)
class World:
    """The processes that work together, seen from one of them.

    Attributes:
        rank: the number of this one, from 0; that of rank 0 writes.
        size: how many they are.
        device: where small tensors go that they exchange.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def alone(self) -> bool:
        """Whether this process works by itself."""
        return self.size == 1

    @property
    def writes(self) -> bool:
        """Whether this process writes, prints and draws."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of so many rows are this process's: all processes together have each row once.

        >>> [World(rank, 3).share(10) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place; the same bits in each of them."""
        if not self.alone:
            with _talking():
                torch.distributed.all_reduce(values)
        return values

    def start_adding_up(self, values: Tensor) -> Callable[[], None]:
        """Begin :meth:`add_up`; what is returned waits for its end."""
        if self.alone:
            return lambda: None
        with _talking():
            under_way = torch.distributed.all_reduce(values, async_op=True)

        def wait() -> None:
            with _talking():
                under_way.wait()

        return wait

    def spread(self, values: Tensor) -> Tensor:
        """The values of rank 0, in place."""
        if not self.alone:
            with _talking():
                torch.distributed.broadcast(values, src=0)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it holds in any of them."""
        return flag if self.alone else bool(self.add_up(torch.tensor(float(flag), device=self.device)) > 0)

    def texts(self, text: str) -> list[str]:
        """What each of them has to say, by rank."""
        if self.alone:
            return [text]
        own = torch.tensor(list(text.encode()), dtype=torch.int64, device=self.device)
        lengths = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        lengths[self.rank] = len(own)
        sizes = self.add_up(lengths).tolist()
        said = torch.zeros(self.size, max(sizes), dtype=torch.int64, device=self.device)
        said[self.rank, : len(own)] = own
        rows = zip(self.add_up(said).tolist(), sizes, strict=True)
        return [bytes(letters[:size]).decode() for letters, size in rows]

    def wait(self) -> None:
        """Wait until all of them are here."""
        self.any(False)

    def together(self, work: Callable[[], Result]) -> Result:
        """Do this process's part of a work; where one of them fails, none goes on.

        Raises:
            LostProcessError: another one failed.
            Exception: as this one's part.
        """
        if self.alone:
            return work()
        try:
            result = work()
        except Exception:
            self.any(True)
            raise
        if self.any(False):
            raise LostProcessError(ANOTHER_FAILED)
        return result

    def require_same(self, what: str, text: str) -> None:
        """Refuse to go on where the processes differ in something.

        Args:
            what: names it, as in "the processes have different ...".
            text: it, as this process has it.

        Raises:
            ProcessesError: they differ.
        """
        if self.alone:
            return
        own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        first = int(self.spread(torch.tensor(own, device=self.device)))
        if self.any(own != first):
            raise ProcessesError(
                f"the processes that work together have different {what}, and must be given the same. Start all of "
                "them with the same command, on the same files and with the same release."
            )


ALONE = World()
"""One process by itself."""


@contextmanager
def _talking() -> Iterator[None]:
    """What torch raises where a process is gone, in words."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(f"{LOST} ({' '.join(str(error).split())[:200]}).") from error


def join_world(device: torch.device) -> World:
    """Join the processes that this one was started with; :data:`ALONE` where there are none.

    An open process group of torch is taken as it is, whoever opened it, such as Lightning Fabric. Else one is opened
    as torchrun says in the environment, and stays open until the process ends.

    Args:
        device: where this process computes; on CUDA the processes talk through NCCL too, else through gloo.

    Raises:
        ProcessesError: the others cannot be reached.
    """
    rank, size = rank_and_size()
    if size == 1:
        return ALONE
    if not torch.distributed.is_initialized():
        _open_group(device, rank, size)
    on_device = torch.distributed.get_backend() == "nccl"
    return World(rank, size, str(device) if on_device else "cpu")


def _open_group(device: torch.device, rank: int, size: int) -> None:
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        torch.distributed.init_process_group(backend, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise ProcessesError(
            f"process {rank} of {size} could not join the others ({' '.join(str(error).split())[:300]}). Start them "
            "with torchrun, which sets MASTER_ADDR and MASTER_PORT; the port must be free on the first machine, and "
            "the others must be able to reach it."
        ) from error
    atexit.register(_close_group)


def _close_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
