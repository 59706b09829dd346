"""What a training leaves behind, in memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor

from bayes_vae.runs.checkpoint import Checkpoint

__all__ = ["VALIDATION_PARTICLES", "Ending", "Run"]

VALIDATION_PARTICLES = 2
"""Draws from q for each validation image, after each epoch."""

Ending: TypeAlias = Literal["all epochs", "patience", "callback", "interrupted"]
"""Why training ended: all epochs were done, no progress for a while, a callback said so, or Ctrl-C."""


@dataclass(frozen=True, eq=False)
class Run:
    """A trained pair and how it came about; :func:`bayes_vae.save` writes it to a run directory.

    Attributes:
        model: the Pyro program of p(x, z).
        guide: the Pyro program of q(z given x).
        settings: JSON types by section: ``data``, ``pair``, ``training``.
        data: what the data were: name, policy, digest, sizes, data_shape.
        history: one row of named figures for each epoch.
        best_state: the weights of the epoch with the largest validation ELBO. Keys start with ``model.`` or
            ``guide.``, and go on as in the module's ``state_dict``; those of ``pyro.param`` sites that belong
            to no module start with ``param.``, and their values are unconstrained.
        last_state: the weights at the end, under the same keys.
        best_epoch: number of the epoch of ``best_state``.
        ending: why training ended: "all epochs", "patience", "callback" or "interrupted".
        parameter_names: what was trained, as named at the start of training.
        checkpoint: where training stood at its end, from which it can be resumed; None if that is not known.
        command: the command line that trained it; empty where it was trained from Python.
        extended_at: whole epochs that were done whenever a resumed training was given another number of epochs.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    settings: dict[str, Any]
    data: dict[str, Any]
    history: list[dict[str, float]]
    best_state: dict[str, Tensor] = field(repr=False)
    last_state: dict[str, Tensor] = field(repr=False)
    best_epoch: int
    ending: Ending = "all epochs"
    parameter_names: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    command: str = ""
    extended_at: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """What was trained on what, for how long, and how it ended."""
        model, guide = (getattr(part, "__name__", type(part).__name__) for part in (self.model, self.guide))
        return (
            f"Run of {model} and {guide} on {self.data.get('name', 'unnamed data')}: epochs: {len(self.history)}, best "
            f"epoch: {self.best_epoch}, ended by {self.ending}; see history_frame()"
        )

    @property
    def interrupted(self) -> bool:
        """Whether training was stopped from outside before its last epoch."""
        return self.ending == "interrupted"

    def history_frame(self) -> Any:
        """The history as a ``pandas.DataFrame``, one row for each epoch, with the epoch as its index."""
        pd = importlib.import_module("pandas")

        frame = pd.DataFrame(self.history)
        return frame.set_index("epoch") if "epoch" in frame else frame
