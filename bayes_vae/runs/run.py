"""What a training leaves behind, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["Run"]


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
        interrupted: whether training was stopped before its last epoch.
        parameter_names: what was trained, as named at the start of training.
        command: the command line that trained it; empty where it was trained from Python.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    settings: dict[str, Any]
    data: dict[str, Any]
    history: list[dict[str, float]]
    best_state: dict[str, Tensor] = field(repr=False)
    last_state: dict[str, Tensor] = field(repr=False)
    best_epoch: int
    interrupted: bool = False
    parameter_names: tuple[str, ...] = ()
    command: str = ""
