"""Fitting a prior to codes: the ELBO's one term that holds p(z), maximized with all else frozen."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.errors import NumericalError
from bayes_vae.runs import Ending
from bayes_vae.settings import RefitPriorSettings
from bayes_vae.terms import LogTerms
from bayes_vae.terms.stream import Progress
from bayes_vae.training.stopping import epochs_without_progress

__all__ = ["FittedPrior", "fit_to_codes"]

ROWS_AT_ONCE = 8192
"""Codes in one pass where no gradient is needed."""


@dataclass(frozen=True, eq=False)
class FittedPrior:
    """How a prior was fitted to codes.

    Attributes:
        history: one row of named figures for each epoch, as :func:`bayes_vae.fit` has them.
        best_epoch: the one with the largest validation ELBO; its weights are in place.
        last_weights: those of the last epoch, as the prior's ``state_dict``.
        ending: why it ended.
    """

    history: list[dict[str, float]]
    best_epoch: int
    last_weights: dict[str, Tensor]
    ending: Ending


def fit_to_codes(
    prior: Any, train: LogTerms, validation: LogTerms, settings: RefitPriorSettings, progress: Progress | None = None
) -> FittedPrior:
    r"""Maximize the mean log density of codes by Adam, and keep the epoch that is best on validation rows.

    .. math:: \max_{p} \frac1N \sum_n E_{q(z \mid x_n)} \log p(z)

    This is the ELBO, whose other terms hold no p(z). Each epoch takes one code of every row, in turn one of the K that
    were drawn.

    Args:
        prior: of :mod:`bayes_vae.models.priors`, at its start; it is trained in place.
        train: terms at K draws from q, with the latents, for the training rows.
        validation: the same for the validation rows.
        settings: epochs, patience, learning rate, rows of a step.
        progress: called with (epochs done, epochs).

    Raises:
        NumericalError: log p(z) is not finite.
    """
    (codes,), (held_out,) = train.latents.values(), validation.latents.values()
    weights = [weight for weight in prior.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.learning_rate)
    order = torch.Generator().manual_seed(settings.seed % 2**63)
    history: list[dict[str, float]] = []
    best, best_epoch = prior.state_dict(), 0
    for epoch in range(settings.epochs):
        began = time.perf_counter()
        rate = settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        optimizer.param_groups[0]["lr"] = rate
        draw = epoch % len(codes)
        norm = _pass(prior, weights, optimizer, codes[draw], settings.batch_size, order)
        row = {"epoch": epoch + 1, "learning_rate": rate, "kl_weight": 1.0, "gradient_norm": norm}
        row |= _figures("train", prior, train, codes, slice(draw, draw + 1))
        row |= _figures("validation", prior, validation, held_out, slice(None), error=True)
        history.append(row | {"seconds": time.perf_counter() - began})
        if row["validation_elbo"] >= max(past["validation_elbo"] for past in history):
            best = {name: value.detach().clone() for name, value in prior.state_dict().items()}
            best_epoch = epoch + 1
        if progress is not None:
            progress(epoch + 1, settings.epochs)
        elbos = [past["validation_elbo"] for past in history]
        if settings.patience and epochs_without_progress(elbos) >= settings.patience:
            break
    last = {name: value.detach().clone() for name, value in prior.state_dict().items()}
    prior.load_state_dict(best)
    return FittedPrior(history, best_epoch, last, "all epochs" if len(history) == settings.epochs else "patience")


def _pass(
    prior: Any, weights: list[Tensor], optimizer: Any, codes: Tensor, batch_size: int, order: torch.Generator
) -> float:
    """One step for each batch of codes, shape (N, D); the mean norm of the gradient."""
    norms = []
    for rows in torch.randperm(len(codes), generator=order).to(codes.device).split(batch_size):
        loss = -prior().log_prob(codes[rows]).mean()
        if not bool(loss.isfinite()):
            raise NumericalError(
                f"log p(z) of the new prior is {-float(loss.detach()):g} at the codes of some rows: lower the learning "
                "rate, and look for codes that are not finite."
            )
        gradients = torch.autograd.grad(loss, weights)  # of a vamp prior none goes to the guide
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        norms.append(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients])))
        optimizer.step()
    return float(torch.stack(norms).mean())


@torch.no_grad()
def _figures(
    name: str, prior: Any, terms: LogTerms, codes: Tensor, draws: slice, *, error: bool = False
) -> dict[str, float]:
    """The ELBO and its two terms under the new prior, of these draws, shape (K, N, D)."""
    distribution = prior()
    chosen = codes[draws]
    parts = [distribution.log_prob(part) for part in chosen.flatten(0, 1).split(ROWS_AT_ONCE)]
    log_prior = torch.cat(parts).double().reshape(chosen.shape[:2])
    likelihood = terms.log_likelihood[draws].mean(0)
    kl = (terms.log_guide[draws] - log_prior).mean(0)
    elbo = likelihood - kl
    found = {"elbo": elbo, "expected_log_likelihood": likelihood, "kl_to_prior": kl}
    figures = {f"{name}_{term}": float(values.mean()) for term, values in found.items()}
    return figures | ({f"{name}_elbo_error": float(elbo.std()) / math.sqrt(len(elbo))} if error else {})
