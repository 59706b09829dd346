"""Observations that a model generates: drawn from the prior, again from their codes, and between two codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.progress import Progress, shown
from bayes_vae.terms.exposed import exposes_distributions
from bayes_vae.terms.opened import open_pair, refuse_other_orders
from bayes_vae.terms.program import Program, index_arguments
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.reached import evaluation_mode
from bayes_vae.terms.rows import Rows, X
from bayes_vae.terms.traits import traits_of
from bayes_vae.terms.whole_numbers import seed_number, switch, whole_number, whole_number_or_none

__all__ = ["interpolate", "reconstruct", "sample"]

AT_ONCE = 256
"""Observations in one pass through the networks, whose noise has a seed of its own."""


def sample(
    model: Program,
    num_observations: int,
    *,
    seed: int = 0,
    mean: bool = False,
    label: int | None = None,
    progress: Progress | bool | None = None,
) -> Tensor:
    """New observations: z from the prior, then x from the likelihood.

    They are drawn in blocks, so the first ones are the same however many are asked for.

    Args:
        model: with a method ``sample``, as every model of :mod:`bayes_vae.models` has.
        num_observations: how many.
        seed: of the draws; torch's random state stays as it was.
        mean: the mean of p(x given z) in place of a draw of x.
        label: of all of them, for a model that knows classes; when None, as the model draws them.
        progress: called with (done, of how many); or True, as in :func:`bayes_vae.log_terms`.

    Returns:
        shape (num_observations, *event), on the CPU.

    Raises:
        NotDefinedError: a program that cannot be drawn from alone, or a likelihood whose mean is not known.
        SettingsError: a label for a model that takes none.
    """
    traits, count, mean = traits_of(model), whole_number("num_observations", num_observations), switch("mean", mean)
    seed, label = seed_number("seed", seed), whole_number_or_none("label", label, 0)
    draw = traits.sample
    if draw is None:
        raise NotDefinedError(
            f"{type(model).__name__} has no sample(n): draw from a program of your own with pyro.infer.Predictive."
        )
    if label is not None and not (traits.needs_labels or traits.infers_labels):
        raise SettingsError("this model knows no classes: leave label out.")
    chosen = {} if label is None else {"label": label}
    blocks = []
    with shown(progress, "sample") as told:
        for start in range(0, count, AT_ONCE):
            own = derived_seed(seed, "sample", start)
            blocks.append(_known(draw, AT_ONCE, seed=own, mean=mean, **chosen))
            _tell(told, start, count)
    return torch.cat(blocks)[:count]


def reconstruct(
    model: Program,
    guide: Program,
    x: X,
    *,
    seed: int = 0,
    mean: bool = True,
    progress: Progress | bool | None = None,
) -> Tensor:
    """Observations drawn again from their codes: z from q(z given x), then x from p(x given z).

    Args:
        model: with a method ``reconstruct``.
        guide: q(z given x).
        x: as in :func:`bayes_vae.log_terms`.
        seed: of the draws.
        mean: the mean of p(x given z) in place of a draw of x; z is always drawn.
        progress: as in :func:`bayes_vae.log_terms`.

    Returns:
        shape (N, *event), on the CPU.

    Raises:
        NotDefinedError: a program that cannot reconstruct, or a likelihood whose mean is not known.
    """
    refuse_other_orders(model, guide, x)
    draw, seed, mean = traits_of(model).reconstruct, seed_number("seed", seed), switch("mean", mean)
    if draw is None:
        raise NotDefinedError(
            f"{type(model).__name__} has no reconstruct(x, guide): run the guide, then the model at its latents, with "
            "pyro.poutine.replay."
        )
    rows, blocks = _supported(model, guide, x), []
    with shown(progress, "reconstruct") as told:
        for start in range(0, len(rows.index), AT_ONCE):
            part = rows.take(slice(start, start + AT_ONCE))
            given = part.read()
            own = derived_seed(seed, "reconstruct", start)
            taken = given if len(given) > 1 else given[0]
            blocks.append(_known(draw, taken, guide, seed=own, mean=mean, index=part.index))
            _tell(told, start, len(rows.index))
    return torch.cat(blocks)


@torch.no_grad()
def interpolate(
    model: Any, guide: Any, x: X, num_steps: int = 9, *, path: Literal["linear", "spherical"] = "linear"
) -> Tensor:
    r"""From one observation to the next: means of p(x given z) along a path between the means of q.

    .. math:: z_t = (1 - t) z_0 + t z_1, \qquad
        z_t = \frac{\sin((1 - t) \Omega) z_0 + \sin(t \Omega) z_1}{\sin \Omega} \quad \text{(spherical)}

    Args:
        model, guide: a pair that exposes its distributions, of one latent.
        x: 2P observations, of which the first is joined to the second, the third to the fourth, ….
        num_steps: S, both ends counted.
        path: straight, or along a great circle, whose codes are about as far from 0 as the ends: with many latent
            dimensions a straight path leaves the shell in which a normal prior has its mass.

    Returns:
        shape (P, S, *event), on the CPU.

    Raises:
        NotDefinedError: another pair, or moments that are not known.
        SettingsError: an odd number of observations, fewer than two steps, or an unknown path.

    Reference: White (2016), "Sampling generative networks", section 2.1.
    """
    refuse_other_orders(model, guide, x)
    if not exposes_distributions(model, guide):
        raise NotDefinedError(
            "interpolation needs a pair that exposes likelihood(z) and variational_posterior(x), with a single z."
        )
    if path not in ("linear", "spherical"):
        raise SettingsError(f"path must be 'linear' or 'spherical', got {path!r}.")
    rows, steps = _supported(model, guide, x), whole_number("num_steps", num_steps, 2)
    count = len(rows.index)
    if count % 2:
        raise SettingsError(
            f"interpolation joins observations in pairs, got {count} observations: pass an even number."
        )
    with evaluation_mode(model), evaluation_mode(guide):
        q = guide.variational_posterior(rows.read()[0], **index_arguments(guide, rows.index))
        between = _between(_known(lambda: q.mean), steps, path).to(rows.index.device)
        return torch.stack([_known(lambda z: model.likelihood(z).mean, codes) for codes in between])


def _supported(model: Program, guide: Program, x: X) -> Rows:
    """The rows of x, for each of which the likelihood has a density.

    Raises:
        SupportError: as every estimator.
    """
    with open_pair(model, guide, x) as opened:
        opened.check_support()
        return opened.rows


def _between(codes: Tensor, steps: int, path: str) -> Tensor:
    """Codes of shape (2P, D) and those between, shape (P, S, D)."""
    first, second = codes[0::2].unsqueeze(1), codes[1::2].unsqueeze(1)
    share = torch.linspace(0, 1, steps, dtype=codes.dtype).reshape(-1, *[1] * (codes.dim() - 1))
    straight = (1 - share) * first + share * second
    if path == "linear":
        return straight
    along = torch.nn.functional.cosine_similarity(first, second, dim=-1).clamp(-1, 1).unsqueeze(-1)
    angle = along.acos()
    round_about = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()
    return torch.where(angle.sin() > 1e-4, round_about, straight)


def _known(draw: Callable[..., Tensor], *given: Any, **how: Any) -> Tensor:
    """What is drawn, on the CPU; a moment that torch does not know is a documented error."""
    try:
        return draw(*given, **how).cpu()
    except NotImplementedError as error:
        raise NotDefinedError(
            "the mean of p(x|z) or of q(z|x) is not known for this pair: take draws of x, with mean=False (--no-mean)."
        ) from error


def _tell(progress: Progress | None, start: int, count: int) -> None:
    if progress is not None:
        progress(min(start + AT_ONCE, count), count)
