"""What more training would give: a copy of the pair trained a little, and the end of the history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.sites import GAIN
from bayes_vae.diagnosis.measure.subject import Rows, Subject
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.elbo import ElboAtDraws, ElboTerms
from bayes_vae.objectives import Elbo, EnumeratedElbo
from bayes_vae.terms.opened import collect
from bayes_vae.terms.program import modules_of
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.traits import traits_of

__all__ = [
    "measure_history",
    "start_again",
    "start_layers_again",
    "train_a_little",
    "train_at_own_weight",
    "train_on",
    "weighted_elbo",
]

STEPS, BATCH, DRAWS, LAST = 120, 100, 8, 0.2

FAST_RATE, SLOW_RATE = 5e-3, 1e-3
"""Adam's first rates: one that moves what has hardly been trained, and one that hardly moves what is at rest."""

OWN_WEIGHT_FROM, LARGEST_WEIGHT = 0.05, 1000.0
"""How far from 1 the estimated weight must be for a copy to be trained at that weight; the largest that is tried."""

AGAIN_STEPS, AGAIN_BELOW = 250, 0.1
"""Steps of a copy that is started again; nats of KL below which one is."""

TRAINED_ROWS = 8000
"""Training rows that a copy is trained on, at most."""


def train_on(subject: Subject) -> dict[str, Measurement]:
    """What a little more training on the ELBO gains, and of it each observed site where there are several."""
    found = _train_a_copy(subject, 1.0, "gain_of_training", FAST_RATE)
    sites = [number for name, number in found.items() if name.startswith(GAIN)]
    return {**found, "largest_gain_of_a_site": max(sites, key=lambda gain: gain.value)} if sites else found


def train_at_own_weight(subject: Subject) -> dict[str, Measurement]:
    """What a little more training gains at the estimated weight on the KL, where that is not 1."""
    weight = subject.measured["kl_weight"].value if "kl_weight" in subject.measured else math.nan
    if not math.isfinite(weight) or abs(weight - 1) < OWN_WEIGHT_FROM:
        return {}
    return _train_a_copy(subject, max(0.0, min(weight, LARGEST_WEIGHT)), "gain_at_own_weight", SLOW_RATE)


def _train_a_copy(subject: Subject, kl_weight: float, name: str, rate: float) -> dict[str, Measurement]:
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
    copy = subject.copy()
    held_out = subject.rows(subject.data.validation, subject.most_test)
    both = {name: held_out, f"{name}_on_train": subject.train.first(subject.most_test)}
    before = {key: _terms(copy, rows) for key, rows in both.items()}
    train_a_little(copy, kl_weight, STEPS, rate)
    after = {key: _terms(copy, rows) for key, rows in both.items()}
    gains = {key: _weighted(after[key], kl_weight) - _weighted(before[key], kl_weight) for key in both}
    if name == "gain_of_training":
        by_site = before[name].by_group
        gains |= {f"{GAIN}{site}": after[name].by_group[site] - values for site, values in by_site.items()}
    return {key: Measurement.mean(gain) for key, gain in gains.items()}


def start_again(subject: Subject) -> dict[str, Measurement]:
    """What a copy with fresh weights, trained a little on the ELBO, has more of it than the pair, on validation rows.

    Only for a pair whose latent was given up: a large gain says that the ELBO at weight 1 does not want that.

    Raises:
        NotDefinedError: no copy can be made, or it has no layers that can be started again.
    """
    kl = subject.measured.get("train_kl_to_prior")
    if kl is None or not kl.value < AGAIN_BELOW:
        return {}
    copy = subject.copy()
    held_out = subject.rows(subject.data.validation, subject.most_test)
    before = weighted_elbo(copy, held_out, 1.0)
    if not start_layers_again(copy, copy.model, copy.guide):
        raise NotDefinedError("the pair has no layers with reset_parameters, so no copy starts again.")
    train_a_little(copy, 1.0, AGAIN_STEPS, FAST_RATE)
    return {"gain_of_starting_again": Measurement.mean(weighted_elbo(copy, held_out, 1.0) - before)}


def start_layers_again(subject: Subject, *programs: Any) -> int:
    """Give every layer that knows how fresh weights, unless one of them is held; how many there were."""
    with isolated_rng(derived_seed(subject.seed, "again"), subject.device):
        layers = [part for program in programs for owner in modules_of(program) for part in owner.modules()]
        layers = [layer for layer in layers if hasattr(layer, "reset_parameters")]
        layers = [layer for layer in layers if all(weight.requires_grad for weight in layer.parameters())]
        for layer in layers:
            layer.reset_parameters()  # type: ignore[operator]
    return len(layers)


def train_a_little(subject: Subject, kl_weight: float, steps: int, rate: float) -> None:
    """Adam on the weighted ELBO of a copy, its rate falling to zero."""
    kind = EnumeratedElbo if traits_of(subject.model).infers_labels else Elbo
    objective = kind(1, kl_weight=kl_weight)(subject.model, subject.guide)
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


def weighted_elbo(subject: Subject, rows: Rows, kl_weight: float) -> Tensor:
    """The weighted ELBO of some rows, shape (N,)."""
    return _weighted(_terms(subject, rows), kl_weight)


def _weighted(terms: ElboTerms, kl_weight: float) -> Tensor:
    return terms.expected_log_likelihood - kl_weight * terms.kl_to_prior


def _terms(subject: Subject, rows: Rows) -> ElboTerms:
    elbo = ElboAtDraws("auto")
    with subject.opened(rows, "weighted elbo") as opened:
        collect(opened, DRAWS, elbo)
        return elbo.result(opened)


def measure_history(history: Sequence[Mapping[str, float]]) -> dict[str, Measurement]:
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
        "last_rise": Measurement(values[-1] - values[-1 - last]),
        "epochs": Measurement(len(values), unit=""),
        "below_best": Measurement(max(values) - values[-1]),
    }
