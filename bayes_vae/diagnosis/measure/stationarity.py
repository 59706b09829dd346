"""The weight on the KL for which a pair is at rest: the balance of two gradients, observation by observation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Rows, Subject
from bayes_vae.distributions import normal_parts
from bayes_vae.errors import NotDefinedError
from bayes_vae.objectives import Elbo
from bayes_vae.terms.factorized import variational_normal
from bayes_vae.terms.gradients import gradients_at
from bayes_vae.terms.randomness import KeyedNoise, derived_seed, isolated_rng
from bayes_vae.terms.reached import reached_modules

__all__ = [
    "Pulls",
    "measure_parameters_balance",
    "measure_stationarity",
    "pulls",
    "ratio_of_sums",
    "stationary_weights",
]

DRAWS, ROWS_AT_ONCE, BLOCKS = 16, 256, 8

MASKS, DRAWS_OF_A_MASK = 8, 4
"""Masks of dropout, and draws of q under each: the masks are the larger noise."""

DROPPING = (nn.modules.dropout._DropoutNd, nn.RNNBase, nn.MultiheadAttention)
"""Layers that drop some of their numbers in training, and do nothing else then that they do not do in evaluation."""


@contextmanager
def dropout_as_in_training(subject: Subject) -> Iterator[bool]:
    """Dropout on, with masks of the subject's seed: the pair came to rest with it. Whether there is any."""
    layers = [layer for layer in reached_modules(subject.model, subject.guide) if isinstance(layer, DROPPING)]
    modes = [layer.training for layer in layers]
    with isolated_rng(derived_seed(subject.seed, "dropout"), subject.device):
        try:
            for layer in layers:
                layer.training = True
            yield any(_drops(layer) for layer in layers)
        finally:
            for layer, mode in zip(layers, modes, strict=True):
                layer.training = mode


def _drops(layer: nn.Module) -> bool:
    """Whether a layer that can drop numbers does."""
    return float(getattr(layer, "p", getattr(layer, "dropout", 0.0))) > 0


class Pulls(NamedTuple):
    """Gradients for each observation with respect to q's mean m and log deviation, and q's deviations, all (N, D).

    Means and deviations, and with them the gradients, are in units of the prior. Where there is dropout, the D
    dimensions under each mask stand side by side, so that sums over dimensions are over masks too.
    """

    likelihood_loc: Tensor
    likelihood_log_scale: Tensor
    likelihood_at_mean: Tensor
    kl_loc: Tensor
    kl_log_scale: Tensor
    scale: Tensor
    masks: int = 1

    def over_masks(self, values: Tensor) -> Tensor:
        """The mean over masks of values in all dimensions."""
        return values.reshape(*values.shape[:-1], self.masks, -1).mean(-2)


Reading = Callable[[Tensor], Tensor]
"""From what the guide takes as deviations to other deviations."""


def pulls(subject: Subject, rows: Rows, reading: Reading | None = None) -> Pulls:
    """What pulls at each q(z given x): the likelihood to one side, the prior to the other.

    Dropout is on, as in training: the balance holds for the codes of the training, not for those without dropout.

    Args:
        subject: a factorized pair.
        rows: observations.
        reading: changes the guide's deviations; None leaves them.
    """
    batches = (slice(first, first + ROWS_AT_ONCE) for first in range(0, len(rows.index), ROWS_AT_ONCE))
    _ = subject.factorized  # read without dropout, under which no pair repeats itself
    with dropout_as_in_training(subject) as drops:
        keys = [("pulls", str(mask)) for mask in range(MASKS)] if drops else [("pulls",)]
        draws = DRAWS_OF_A_MASK if drops else DRAWS
        found = [
            _side_by_side([_pulls_of(subject, part, reading, key, draws) for key in keys])
            for part in map(rows.take, batches)
        ]
    loc, log_scale, at_mean, *rest = (torch.cat(column).double() for column in zip(*found, strict=True))
    return Pulls(loc, log_scale, at_mean, rest[0], rest[1], rest[2], len(keys))


def _side_by_side(masks: list[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.cat(sides, -1) for sides in zip(*masks, strict=True)]


def _pulls_of(
    subject: Subject, rows: Rows, reading: Reading | None, key: tuple[str, ...], draws: int
) -> tuple[Tensor, ...]:
    bound = subject.factorized.bind(*rows)
    loc, scale = (part.detach() for part in variational_normal(bound))
    scale = reading(scale) if reading else scale
    keyed = KeyedNoise(derived_seed(subject.seed, *key))
    noise = keyed.normal("z", rows.index, range(draws // 2), loc.shape[1:], loc)
    noise = torch.cat([noise, -noise])
    with torch.enable_grad():
        m, log_scale = loc.clone().requires_grad_(), scale.log().requires_grad_()
        expected = bound.log_likelihood_at(m + log_scale.exp() * noise).mean(0)
        of_loc, of_scale = gradients_at(expected, m, log_scale)
        (of_mean,) = gradients_at(bound.log_likelihood_at(m.unsqueeze(0)), m)
    prior = normal_parts(bound.prior)
    assert prior is not None, "the pair is factorized"
    middle, width = (part.detach() for part in prior)
    place, scale = (loc - middle) / width, scale / width
    return of_loc * width, of_scale, of_mean * width, place, scale.square() - 1, scale


def ratio_of_sums(top: Tensor, bottom: Tensor) -> Measurement:
    r"""Ratio of two sums over observations, with its error.

    .. math:: r = \sum_n a_n / \sum_n b_n, \qquad s^2 = \sum_n (a_n - r b_n)^2 \Big/ \Big(\sum_n b_n\Big)^2

    Args:
        top, bottom: a and b, shape (N,).
    """
    total = bottom.sum()
    ratio = top.sum() / total
    return Measurement.of(ratio, (top - ratio * bottom).square().sum().sqrt() / total.abs())


def measure_stationarity(subject: Subject) -> dict[str, Measurement]:
    """β for which the pair is at rest on its training rows, as :func:`stationary_weights` says."""
    return stationary_weights(pulls(subject, subject.train))


def stationary_weights(p: Pulls) -> dict[str, Measurement]:
    r"""β for which a pair is at rest, from q's means and from q's deviations apart, and from both.

    The last layer of an encoder makes m a linear function of its features, so at a stationary point of
    :math:`E_q \log p(x \mid z) - \beta \, \mathrm{KL}` the two pulls on the means balance where they are weighted with
    the means themselves; those on the log deviations do nearly so. With k the gradient of the KL:

    .. math:: \beta = \sum_n k_n \cdot \nabla E_q \log p(x_n \mid z) \Big/ \sum_n k_n \cdot k_n

    Args:
        p: the pulls.

    Returns:
        ``kl_weight_of_means``, ``kl_weight_of_scales``, ``kl_weight`` (both); ``kl_weight_at_means`` with the
        likelihood's pull at q's mean in place of draws; ``kl_weight_of_scales_as_variances`` with the KL of a q whose
        variance is what was taken as deviation, ``kl_weight_of_scales_as_roots`` of one whose deviation is its square;
        ``unbalanced_share``, what is left of the likelihood's pull; the numbers of another prior and of the codes' own
        moments.
    """
    means, scales = p.kl_loc, p.kl_log_scale
    both = torch.cat([p.likelihood_loc, p.likelihood_log_scale], -1)
    kl = torch.cat([means, scales], -1)
    variances, roots = (p.scale - 1) / 2, 2 * (p.scale**4 - 1)
    found = {
        name: ratio_of_sums((k * pull).sum(-1), k.square().sum(-1))
        for name, k, pull in (
            ("kl_weight", kl, both),
            ("kl_weight_of_means", means, p.likelihood_loc),
            ("kl_weight_of_scales", scales, p.likelihood_log_scale),
            ("kl_weight_at_means", means, p.likelihood_at_mean),
            ("kl_weight_of_scales_as_variances", variances, p.likelihood_log_scale),
            ("kl_weight_of_scales_as_roots", roots, p.likelihood_log_scale),
        )
    }
    left = both - found["kl_weight"].value * kl
    found["unbalanced_share"] = Measurement.of(left.square().sum() / both.square().sum())
    return found | _of_another_prior(p) | _of_moments(p)


def _of_another_prior(p: Pulls) -> dict[str, Measurement]:
    r"""The normal prior for which the means are at rest at weight 1, and the weight that the deviations then give.

    For the prior :math:`N(a, v)` the two balances are

    .. math:: \nabla_m E_q \log p(x \mid z) = (m - a) / v, \qquad \nabla_{\log s} E_q \log p(x \mid z) = s^2 / v - 1,

    so that 1/v is the slope of the first over m, and a is where it is 0. A weight β on the KL has the same slope in m,
    but β (s² − 1) for the second.

    Returns:
        ``prior_precision`` 1/v, ``prior_centre_off`` the largest |a|, ``kl_weight_of_scales_under_prior``.
    """
    means, pull = p.kl_loc.mean(0), p.likelihood_loc.mean(0)
    off = p.kl_loc - means
    precision = ratio_of_sums((off * (p.likelihood_loc - pull)).sum(-1), off.square().sum(-1))
    under = p.scale.square() * precision.value - 1
    weight = ratio_of_sums((under * p.likelihood_log_scale).sum(-1), under.square().sum(-1))
    away = p.over_masks(pull) / precision.value
    centre, left = (p.over_masks(means) - away).abs(), p.over_masks(p.likelihood_loc - pull - precision.value * off)
    noise = left.std(0) / (len(left) ** 0.5 * abs(precision.value))
    error = torch.hypot(noise, away * precision.error / precision.value)
    return {
        "prior_precision": precision,
        "prior_centre_off": Measurement.of(centre.max(), error[centre.argmax()]),
        "kl_weight_of_scales_under_prior": weight,
    }


def _of_moments(p: Pulls) -> dict[str, Measurement]:
    r"""The weight of a KL of the codes' own mean m̄ and variance v, by dimension, that the means are at rest at.

    .. math:: \nabla_{m_n} \mathrm{KL}(N(\bar m, v) \,\|\, N(0, 1)) \propto \bar m + (m_n - \bar m)(1 - 1/v)

    It is 1 where the loss has the KL of the batch's moments, and 0 where it has none.
    """
    middle = p.kl_loc.mean(0)
    spread = p.kl_loc.var(0, correction=0) + p.scale.square().mean(0)
    moments = middle + (p.kl_loc - middle) * (1 - 1 / spread)
    weight = ratio_of_sums((moments * p.likelihood_loc).sum(-1), moments.square().sum(-1))
    return {"kl_weight_of_moments": weight}


def measure_parameters_balance(subject: Subject) -> dict[str, Measurement]:
    r"""β for which the pair is at rest, from gradients with respect to its parameters: where q's own are not known.

    The training rows are cut into blocks a, b, … of gradients g (of the expected log likelihood) and k (of the KL);
    products within a block are left out, whose noise would not average out:

    .. math:: \beta = \sum_{a \ne b} g_a \cdot k_b \Big/ \sum_{a \ne b} k_a \cdot k_b

    The error is the jackknife's over blocks.

    Raises:
        NotDefinedError: a term that no parameter moves, as with a guide that has none.
    """
    if "kl_weight" in subject.measured:
        return {}
    copy = subject.copy()
    objective = Elbo(DRAWS // 2)(copy.model, copy.guide)
    blocks = torch.arange(len(subject.train.index), device=subject.device).chunk(BLOCKS)
    products = []
    with torch.enable_grad(), dropout_as_in_training(copy):
        weights = [weight for weight in objective.parameters() if weight.requires_grad]
        for block in map(subject.train.take, blocks):
            terms = objective.terms(*block.x, index=block.index)
            sides = terms.expected_log_likelihood, terms.kl_to_prior
            if not all(term.requires_grad for term in sides):
                raise NotDefinedError("no parameter moves both log p(x | z) and the KL, so nothing balances.")
            pair = [
                torch.autograd.grad(term.mean(), weights, retain_graph=True, allow_unused=True, materialize_grads=True)
                for term in sides
            ]
            products.append([torch.cat([part.flatten().double() for part in side]) for side in pair])
    g, k = (torch.stack(side) for side in zip(*products, strict=True))
    k = k * (g != 0)  # the parameters of a learned prior answer to the KL alone
    return {"kl_weight": _jackknife(g @ k.T, k @ k.T)}


def _jackknife(top: Tensor, bottom: Tensor) -> Measurement:
    """Ratio of the sums of two (B, B) matrices without their diagonals, and its error."""
    size = len(top)
    top, bottom = (matrix - matrix.diag().diag() for matrix in (top, bottom))
    kept = 1 - torch.eye(size, dtype=top.dtype)
    ratios = torch.stack([(keep @ top @ keep) / (keep @ bottom @ keep) for keep in kept])
    error = ((size - 1) / size * (ratios - ratios.mean()).square().sum()).sqrt()
    return Measurement.of(top.sum() / bottom.sum(), error)
