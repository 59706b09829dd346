"""Progress of training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import Literal, Protocol

from tqdm import tqdm

from bayes_vae.errors import SettingsError, printable
from bayes_vae.progress import TimeEstimate

__all__ = ["ProgressStyle", "Reporter", "reporter"]

ProgressStyle = Literal["auto", "bar", "lines", "none"]


class Reporter(Protocol):
    """What training tells while it runs."""

    def start(self, parameter_names: tuple[str, ...], num_epochs: int, machine: str, epochs_done: int) -> None:
        """Name what is trained, and on what."""

    def note(self, text: str) -> None:
        """Tell something that the user should know."""

    def step(self, done: int, total: int) -> None:
        """A step was made, of so many."""

    def epoch(self, row: dict[str, float]) -> None:
        """The figures of an epoch."""

    def close(self) -> None:
        """Training ended."""


class _Silent:
    def start(self, parameter_names: tuple[str, ...], num_epochs: int, machine: str, epochs_done: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def step(self, done: int, total: int) -> None:
        pass

    def epoch(self, row: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def _summary(row: dict[str, float]) -> str:
    return (
        f"train ELBO {row['train_elbo']:.2f}  validation ELBO {row['validation_elbo']:.2f}  "
        f"log likelihood {row['validation_expected_log_likelihood']:.2f}  KL {row['validation_kl_to_prior']:.2f}"
    )


class _Lines:
    def __init__(self) -> None:
        self.num_epochs = 0

    def start(self, parameter_names: tuple[str, ...], num_epochs: int, machine: str, epochs_done: int) -> None:
        self.num_epochs, self._estimate = num_epochs, TimeEstimate()
        going_on = f", going on after epoch {epochs_done}" if epochs_done else ""
        self._write(f"training {machine}{going_on}")
        self._write(f"training {len(parameter_names)} parameters: {', '.join(parameter_names)}")

    def note(self, text: str) -> None:
        self._write(f"note: {text}")

    def step(self, done: int, total: int) -> None:
        needed = self._estimate(done, total)
        if needed:
            self._write(f"training: {needed}")

    def epoch(self, row: dict[str, float]) -> None:
        self._write(f"epoch {int(row['epoch'])}/{self.num_epochs}  {_summary(row)}  {row['seconds']:.1f} s")

    def close(self) -> None:
        pass

    def _write(self, line: str) -> None:
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()


class _Bar(_Lines):
    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[None] | None = None

    def start(self, parameter_names: tuple[str, ...], num_epochs: int, machine: str, epochs_done: int) -> None:
        super().start(parameter_names, num_epochs, machine, epochs_done)
        self._bar = tqdm(total=num_epochs, initial=epochs_done, unit="epoch", file=sys.stderr, dynamic_ncols=True)

    def epoch(self, row: dict[str, float]) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_summary(row))
            self._bar.update()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _write(self, line: str) -> None:
        if self._bar is None:
            super()._write(line)
        else:
            self._bar.write(printable(line), file=sys.stderr)


def reporter(style: ProgressStyle) -> Reporter:
    """A reporter of the given style; "auto" is a bar on a terminal and lines elsewhere."""
    styles: dict[str, type[_Silent | _Lines]] = {"bar": _Bar, "lines": _Lines, "none": _Silent}
    if style == "auto":
        return _Bar() if sys.stderr.isatty() else _Lines()
    if style not in styles:
        raise SettingsError(f"progress must be 'auto', 'bar', 'lines' or 'none', got {style!r}.")
    return styles[style]()
