"""What the experiments share: pairs, training, rows of a split, means with their errors, and figures in files."""

from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import bayes_vae as bv
from bayes_vae.data import Data, Split
from bayes_vae.errors import SettingsError
from bayes_vae.plots.style import save_figure
from bayes_vae.runs import Run
from bayes_vae.runs.pairs import fill_pair
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import Average
from bayes_vae.training import build_pair
from bayes_vae.training.machine import resolve_device
from bayes_vae.vocabulary.number_text import with_error

__all__ = [
    "descend",
    "difference",
    "fit",
    "mean_error",
    "new_pair",
    "observe",
    "percent",
    "print_answer",
    "resolve_device",
    "told",
    "trained_pair",
    "write_figure",
]

BATCH_SIZE = 100
COLUMNS = 100
OTHER_FORMATS = (".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp", ".gif")


def print_answer(doc: str | None) -> None:
    """Print a script's question and its plain answer, before any number: the first two parts of its docstring."""
    question, answer = (doc or "").split("\n\n")[:2]
    print(f"{question}\n\n{fill(' '.join(answer.split()), COLUMNS)}\n", flush=True)


def new_pair(networks: PairSettings, data: Data, seed: int, device: torch.device) -> tuple[Any, Any]:
    """Model and guide for a data set, not trained."""
    model, guide = build_pair(networks, data, seed)
    return model.to(device), guide.to(device)


def fit(model: Any, guide: Any, data: Data, *, device: torch.device, **settings: Any) -> Run:
    """:func:`bayes_vae.fit` to the end and without a word; ``settings`` are of training."""
    return bv.fit(model, guide, data, device=str(device), progress="none", interruptible=False, **settings)


def trained_pair(
    networks: PairSettings, data: Data, *, seed: int, device: torch.device, last_epoch: bool = False, **settings: Any
) -> tuple[Any, Any]:
    """Model and guide after training.

    Args:
        networks: which model and guide.
        data: trained on.
        seed: of the weights, the batches and the draws.
        device: where both are.
        last_epoch: take the weights of the last epoch in place of the best one's, which is chosen by the ELBO at
            weight 1.
        **settings: of training.
    """
    model, guide = build_pair(networks, data, seed)
    run = fit(model, guide, data, seed=seed, device=device, **settings)
    if last_epoch:
        fill_pair(model, guide, run.last_state)
    return model, guide


def descend(
    loss: Callable[[Tensor], Tensor],
    parameters: Iterable[Tensor],
    num_rows: int,
    *,
    epochs: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Adam on a loss of rows of the training set, over shuffled batches of 100: training by hand."""
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    for _ in range(epochs):
        for rows in torch.randperm(num_rows, generator=generator).split(BATCH_SIZE):
            value = loss(rows)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()


def observe(split: Split, rows: Iterable[int], seed: int, device: torch.device) -> tuple[Tensor, dict[str, Any]]:
    """Rows of a split, and what every estimator is told of them beside x: index, seed and data policy.

    Args:
        split: of a data set.
        rows: those that there are.
        seed: of the estimators.
        device: where the observations are.
    """
    there = [row for row in rows if row < len(split)]
    about = {"index": split.index[there].to(device), "seed": seed, "data_policy": split.policy}
    return split.observations(there, device=device), about


def mean_error(values: Tensor) -> tuple[float, float]:
    """Mean and standard error over the observations."""
    return float(values.double().mean()), float(values.double().std() / len(values) ** 0.5)


def difference(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Of two independent means, with its standard error."""
    return one[0] - other[0], (one[1] ** 2 + other[1] ** 2) ** 0.5


def percent(share: tuple[float, float]) -> str:
    """A share with its error.

    >>> percent((0.5177, 0.0203))
    '51.8 ± 2.0 %'
    """
    return f"{100 * share[0]:.1f} ± {100 * share[1]:.1f} %"


def told(average: Average) -> str:
    """A figure with its total error."""
    return with_error(average.value, average.total_error)


def write_figure(figure: Figure, out: str | Path, name: str) -> Path:
    """Write a figure as a PNG file, and print where.

    Args:
        figure: what to write.
        out: a path that ends in .png, or a folder, which is made where there is none.
        name: of the file in that folder, without .png.

    Raises:
        SettingsError: a path of another format.
    """
    path = Path(out)
    if path.suffix.lower() in OTHER_FORMATS:
        raise SettingsError(
            f"out is a folder, or a path that ends in .png, got {str(out)!r}. Figures are written as PNG."
        )
    if path.suffix.lower() != ".png":
        path = path / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save_figure(figure))
    print(f"Figure: {path}")
    return path
