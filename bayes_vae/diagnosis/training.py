"""What more training would give: a copy of the pair trained a little, and the end of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bayes_vae.diagnosis.numbers import Number, mean_number
from bayes_vae.diagnosis.subject import Rows, Subject
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.elbo import elbo_terms
from bayes_vae.objectives import Elbo, EnumeratedElbo
from bayes_vae.terms.program import modules_of
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.traits import traits_of

__all__ = ["FAST_RATE", "SLOW_RATE", "measure_history", "start_again", "train_a_copy"]

STEPS, BATCH, DRAWS, LAST = 120, 100, 8, 0.2

FAST_RATE, SLOW_RATE = 5e-3, 1e-3
"""Adam's first rates: one that moves what has hardly been trained, and one that hardly moves what is at rest."""

AGAIN_STEPS = 250

TRAINED_ROWS = 8000
"""Training rows that a copy is trained on, at most."""


def train_a_copy(subject: Subject, kl_weight: float, name: str, rate: float) -> dict[str, Number]:
    r"""What the weighted ELBO of held-out and of training rows gains by a little more training of a copy.

    .. math:: E_q \log p(x \mid z) - \beta \, \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    Args:
        subject: the pair; it is left alone.
        kl_weight: β.
        name: of the numbers.
        rate: Adam's at the start; it falls to zero.

    Returns:
        the gain on validation rows under ``name``, on training rows under ``name_on_train``, nats.
    """
    model, guide = subject.copy()
    held_out = subject.rows(subject.data.validation, subject.most_test)
    both = {name: held_out, f"{name}_on_train": subject.train.first(subject.most_test)}
    before = {key: _weighted(subject, model, guide, rows, kl_weight) for key, rows in both.items()}
    _train(subject, model, guide, kl_weight, STEPS, rate)
    after = {key: _weighted(subject, model, guide, rows, kl_weight) for key, rows in both.items()}
    return {key: mean_number(after[key] - before[key]) for key in both}


def start_again(subject: Subject) -> dict[str, Number]:
    """What a copy with fresh weights, trained a little on the ELBO, has more of it than the pair, on validation rows.

    For a pair whose latent was given up: a large gain says that the ELBO at weight 1 does not want that.

    Raises:
        NotDefinedError: no copy can be made, or it has no layers that can be started again.
    """
    model, guide = subject.copy()
    held_out = subject.rows(subject.data.validation, subject.most_test)
    before = _weighted(subject, model, guide, held_out, 1.0)
    with isolated_rng(derived_seed(subject.seed, "again"), subject.device):
        layers = [part for program in (model, guide) for owner in modules_of(program) for part in owner.modules()]
        layers = [layer for layer in layers if hasattr(layer, "reset_parameters")]
        for layer in layers:
            layer.reset_parameters()  # type: ignore[operator]
    if not layers:
        raise NotDefinedError("the pair has no layers with reset_parameters, so no copy starts again.")
    _train(subject, model, guide, 1.0, AGAIN_STEPS, FAST_RATE)
    return {"gain_of_starting_again": mean_number(_weighted(subject, model, guide, held_out, 1.0) - before)}


def _train(subject: Subject, model: Any, guide: Any, kl_weight: float, steps: int, rate: float) -> None:
    """Adam on the weighted ELBO, its rate falling to zero."""
    kind = EnumeratedElbo if traits_of(model).infers_labels else Elbo
    objective = kind(1, kl_weight=kl_weight)(model, guide)
    data = subject.rows(subject.data.train, TRAINED_ROWS, training=True)
    with torch.enable_grad(), isolated_rng(derived_seed(subject.seed, "copy"), subject.device):
        optimizer = torch.optim.Adam(list(objective.parameters()), lr=rate, fused=True)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            chosen = torch.randint(len(data.index), (min(BATCH, len(data.index)),)).unique()
            batch = data.take(chosen.to(subject.device))
            optimizer.zero_grad()
            (objective(*batch.x, index=batch.index) / len(chosen)).backward()
            optimizer.step()


def _weighted(subject: Subject, model: Any, guide: Any, rows: Rows, kl_weight: float) -> Tensor:
    """The weighted ELBO of some rows, shape (N,)."""
    seed = derived_seed(subject.seed, "weighted elbo")
    terms = elbo_terms(model, guide, rows.x, DRAWS, seed=seed, index=rows.index)
    return terms.expected_log_likelihood - kl_weight * terms.kl_to_prior


def measure_history(history: Sequence[Mapping[str, float]]) -> dict[str, Number]:
    """How much the validation ELBO rose over the last fifth of the epochs, and by which it lies below its best.

    Args:
        history: one row of named figures for each epoch.

    Raises:
        NotDefinedError: no history, too short a one, or a KL weight that moved at its end.
    """
    rows = [row for row in history if row.get("validation_elbo") is not None]
    values = [row["validation_elbo"] for row in rows]
    if len(values) < 5:
        raise NotDefinedError("there is no history of at least five epochs.")
    last = max(1, round(LAST * len(values)))
    if len({row.get("kl_weight", 1.0) for row in rows[-1 - last :]}) > 1:
        raise NotDefinedError("the KL weight moved over the last fifth of the epochs, and the ELBO with it.")
    return {
        "last_rise": Number(values[-1] - values[-1 - last]),
        "epochs": Number(len(values), unit=""),
        "below_best": Number(max(values) - values[-1]),
    }
