"""The figures of each epoch for TensorBoard, as a callback of :func:`bayes_vae.fit`."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bayes_vae.errors import SettingsError
from bayes_vae.training.callbacks import Callback, EpochState

__all__ = ["tensorboard_callback"]


def tensorboard_callback(folder: str | Path) -> Callback:
    """A callback that writes each epoch's figures as TensorBoard scalars, with the epoch as their step.

    ``train_elbo`` becomes ``train/elbo``, and so on.

    Args:
        folder: where the event files go; ``tensorboard --logdir`` reads it.

    Raises:
        SettingsError: TensorBoard is not installed.
    """
    try:
        importlib.import_module("tensorboard")
        writer_class = importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise SettingsError(
            f"TensorBoard is not installed ({error}). Install it with: pip install 'bayes_vae[tensorboard]'."
        ) from error

    return _Writer(writer_class, folder)


class _Writer:
    """Opens its file at the first epoch, so that nothing is written where training does not begin."""

    def __init__(self, writer_class: Callable[[str], Any], folder: str | Path) -> None:
        self._open, self._folder = writer_class, folder
        self._writer: Any = None

    def __call__(self, state: EpochState) -> None:
        if self._writer is None:
            self._writer = self._open(str(self._folder))
            weakref.finalize(self, self._writer.close)
        for name, value in state.row.items():
            if name != "epoch":
                self._writer.add_scalar(_tag(name), value, state.epoch)
        self._writer.flush()


def _tag(name: str) -> str:
    split, _, term = name.partition("_")
    return f"{split}/{term}" if split in ("train", "validation") else name
