"""Bayes' rule for a two-dimensional latent, every term on one grid: where the exact posterior can be looked at."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import GridWarning, NotDefinedError, NumericalError
from bayes_vae.estimators.free_coordinates import FreeCoordinates
from bayes_vae.estimators.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.estimators.quadrature_nodes import product_indices
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import ROWS_AT_ONCE, Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.whole_numbers import real_number, whole_number

__all__ = ["BayesRuleOnGrid", "bayes_rule_on_grid"]

PILOT_DRAWS = 256
"""Draws of the guide, and of the prior, that say where to look."""

REACH = 5.0
"""The grid reaches so many deviations to each side of the prior's mean, and of every guide's."""

MOST_MISSED = 1e-3
"""A grid that misses more of the mass of prior or guide, or is off by more nats, gives a warning."""

WIDEST = 1e18
"""Of a grid: the squares of its nodes are then finite in float32."""


@dataclass(frozen=True, eq=False)
class BayesRuleOnGrid:
    r"""Every term of Bayes' rule at the nodes of one grid over z, for each observation.

    .. math:: \log p(z \mid x) = \log p(z) + \log p(x \mid z) - \log p(x), \qquad
        p(x) = \sum_{ij} p(z_{ij}) \, p(x \mid z_{ij}) \, h_1 h_2

    Node (i, j) is z = (first_axis[i], second_axis[j]). Densities are those of z in unconstrained coordinates, which
    are z itself where its support is the whole plane. z is what is not masked.

    Attributes:
        first_axis, second_axis: values of the first and the second latent number, each of shape (G,), evenly spaced.
        log_prior: log p(z), shape (G, G), nats.
        log_likelihood: log p(x given z), shape (N, G, G), nats.
        log_guide: log q(z given x), shape (N, G, G), nats.
        provenance: seed (of the draws that say where to look), source and policy.
    """

    first_axis: Tensor
    second_axis: Tensor
    log_prior: Tensor
    log_likelihood: Tensor
    log_guide: Tensor
    provenance: Provenance

    def __repr__(self) -> str:
        """The size of the grid, and of how many observations."""
        return f"BayesRuleOnGrid of {self.num_points} × {self.num_points} nodes, {self.num_observations} observations"

    @property
    def num_points(self) -> int:
        """G."""
        return len(self.first_axis)

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.log_likelihood)

    @property
    def log_cell(self) -> float:
        """log of a cell's area h₁ h₂."""
        return math.log(
            float(self.first_axis[1] - self.first_axis[0]) * float(self.second_axis[1] - self.second_axis[0])
        )

    @property
    def log_joint(self) -> Tensor:
        """log p(x, z), shape (N, G, G), nats."""
        return self.log_prior + self.log_likelihood

    @property
    def log_evidence(self) -> Tensor:
        """log p(x): log of the joint density's sum over the grid, shape (N,), nats."""
        return self.log_joint.flatten(1).logsumexp(1) + self.log_cell

    @property
    def log_posterior(self) -> Tensor:
        """log p(z given x), the exact posterior, shape (N, G, G), nats; it sums to one over the grid."""
        return self.log_joint - self.log_evidence[:, None, None]

    @property
    def expected_log_likelihood(self) -> Tensor:
        """E_q log p(x given z), shape (N,), nats; q normalized over the grid."""
        return self._under_guide(self.log_likelihood)

    @property
    def expected_log_prior(self) -> Tensor:
        """E_q log p(z), shape (N,), nats."""
        return self._under_guide(self.log_prior)

    @property
    def expected_log_guide(self) -> Tensor:
        """E_q log q(z given x), minus the entropy of q, shape (N,), nats."""
        return self._under_guide(self._log_q)

    @property
    def kl_to_prior(self) -> Tensor:
        """KL(q to the prior), shape (N,), nats."""
        return self._under_guide(self._log_q - self.log_prior)

    @property
    def elbo(self) -> Tensor:
        """expected_log_likelihood − kl_to_prior, shape (N,), nats: log_evidence − inference_gap, without a draw."""
        return self.expected_log_likelihood - self.kl_to_prior

    @property
    def inference_gap(self) -> Tensor:
        """KL(q to the exact posterior) = log p(x) − ELBO, shape (N,), nats; q normalized over the grid."""
        return self._under_guide(self._log_q - self.log_posterior)

    @property
    def refinement_error(self) -> Tensor:
        """Change of log p(x) when every second node is left out, shape (N,), nats; far above its error in general."""
        return (self.coarser.log_evidence - self.log_evidence).abs()

    @property
    def coarser(self) -> BayesRuleOnGrid:
        """The same without every second node: what changes by it states the error of each sum over the grid."""
        half = {name: getattr(self, name)[..., ::2, ::2] for name in ("log_prior", "log_likelihood", "log_guide")}
        return replace(self, first_axis=self.first_axis[::2], second_axis=self.second_axis[::2], **half)

    @property
    def resolved(self) -> Tensor:
        """Whether the grid holds the prior and the guide and is fine enough, shape (N,), bool: else it warns."""
        missed = self.missed_guide_mass.abs().clamp(min=abs(self.missed_prior_mass))
        return (missed <= MOST_MISSED) & (self.refinement_error <= MOST_MISSED)

    @property
    def missed_prior_mass(self) -> float:
        """Part of the prior's mass that the grid's sum misses (or, where it is negative, counts too much)."""
        return 1 - math.exp(float(self.log_prior.flatten().logsumexp(0)) + self.log_cell)

    @property
    def missed_guide_mass(self) -> Tensor:
        """The same of each guide, shape (N,): because q leaves the grid, or is narrower than its cells."""
        return 1 - self._log_guide_mass.exp()

    @property
    def _log_q(self) -> Tensor:
        """log q(z given x), normalized over the grid."""
        return self.log_guide - self._log_guide_mass[:, None, None]

    def _under_guide(self, values: Tensor) -> Tensor:
        """The mean of a function of z under q, shape (N,); nothing where q has no mass."""
        q = self._log_q.exp()
        return torch.where(q > 0, q * values, 0).sum((1, 2)) * math.exp(self.log_cell)

    @property
    def _log_guide_mass(self) -> Tensor:
        return self.log_guide.flatten(1).logsumexp(1) + self.log_cell


@lists_options
def bayes_rule_on_grid(
    model: Program,
    guide: Program,
    x: X,
    *,
    num_points: int = 201,
    width: float | None = None,
    **options: Unpack[Options],
) -> BayesRuleOnGrid:
    r"""Prior, likelihood, evidence, exact posterior and guide on one grid over a two-dimensional z.

    .. math:: \underbrace{p(z \mid x)}_{\text{exact posterior}} =
        \frac{\overbrace{p(x \mid z)}^{\text{likelihood}} \, \overbrace{p(z)}^{\text{prior}}}
        {\underbrace{p(x)}_{\text{evidence}}}

    Args:
        num_points: G, nodes along each dimension; memory grows with N G².
        width: the grid spans so much to each side of the prior's mean, in units of z; None takes what holds five
            deviations of the prior and of every guide.
        Others: as in :func:`bayes_vae.log_terms`; the seed is of the draws that say where to look.

    Returns:
        :class:`BayesRuleOnGrid`, all densities in nats.

    Raises:
        NotDefinedError: not two latent dimensions in all, or masks that leave different ones to different
            observations; a discrete latent, a prior that differs between observations, or a guide with auxiliary
            sites.
        SettingsError: fewer than five points, or a width that is not positive.
        NumericalError: a density is NaN or +infinity at a node.

    Warns:
        GridWarning: the grid misses more than 0.001 of the mass of the prior or of a guide, or is too coarse for a
            posterior.

    Reference: Gelman et al. (2013), "Bayesian data analysis", third edition, section 3.7.
    """
    with open_pair(model, guide, x, **options) as opened:
        return on_grid(opened, num_points=num_points, width=width)


def on_grid(opened: OpenPair, *, num_points: int = 201, width: float | None = None) -> BayesRuleOnGrid:
    """:func:`bayes_rule_on_grid` of a pair that is open."""
    num_points = whole_number("num_points", num_points, least=5)
    if width is not None:
        width = real_number("width", width, "positive, in units of z", below=WIDEST)
    opened.check_memory(3 * num_points**2, f"num_points={num_points}")
    space = _spaces(opened, "guide")
    plane = _plane(space)
    axes = _axes(plane, _plane(_spaces(opened.with_prior_as_guide(), "prior")), num_points, width)
    terms = [_on_grid(batch, space.rows(batch.rows), axes) for batch in opened.batches(PILOT_DRAWS, "guide")]
    found = BayesRuleOnGrid(
        axes[0],
        axes[1],
        _common_prior([batch.log_prior for batch in terms]),
        torch.cat([batch.log_likelihood for batch in terms]),
        torch.cat([batch.log_guide for batch in terms]),
        opened.provenance,
    )
    _warn_of_what_is_missed(found, opened.index)
    return found


class _Terms(NamedTuple):
    """The three terms for some observations, each of shape (N, G, G)."""

    log_prior: Tensor
    log_likelihood: Tensor
    log_guide: Tensor


def _spaces(opened: OpenPair, purpose: str) -> LatentSpace:
    """Where a guide, or the prior, puts the latents of every observation."""
    return LatentSpace.join([_space(batch) for batch in opened.quiet().batches(PILOT_DRAWS, purpose)])


def _space(batch: Batch) -> LatentSpace:
    """Coordinates whitened by draws."""
    supports, draws = batch.bound.supports(), pilot_draws(batch, PILOT_DRAWS, "extent")
    for name, support in supports.items():
        if support.is_discrete:
            raise NotDefinedError(f"latent site {name!r} is discrete: a grid over the plane needs continuous latents.")
    for name in draws.keys() - supports.keys():
        raise NotDefinedError(
            f"guide site {name!r} is auxiliary: the density of q at a given z is an integral over it. Use a guide "
            "whose sites are the model's latents."
        )
    return whitened_space(batch.bound, draws)


def _plane(space: LatentSpace) -> FreeCoordinates:
    """The two dimensions of the grid, the same for all observations."""
    plane = FreeCoordinates(space)
    if bool(plane.idle.any()) or bool((plane.places != plane.places[:1]).any()):
        raise NotDefinedError(
            "bayes_rule_on_grid draws all observations in one plane, and these have different latent dimensions, the "
            "others being masked. Pass observations with the same mask, or use quadrature_log_evidence."
        )
    if plane.size != 2:
        raise NotDefinedError(
            f"bayes_rule_on_grid draws two latent dimensions, and this pair has {plane.size}. Train it with "
            "latent_dim=2, or use quadrature_log_evidence (up to three) or annealed_log_evidence."
        )
    return plane


def _axes(
    guide: FreeCoordinates, prior: FreeCoordinates, num_points: int, width: float | None
) -> tuple[Tensor, Tensor]:
    """The values along each dimension: one box that holds the prior and every guide."""
    if width is not None:
        middle = prior.loc.double().mean(0)
        low, high = middle - width, middle + width
    else:
        low = torch.cat([(each.loc - REACH * each.scale).double() for each in (guide, prior)]).amin(0)
        high = torch.cat([(each.loc + REACH * each.scale).double() for each in (guide, prior)]).amax(0)
    steps = torch.arange(num_points, dtype=torch.float64, device=low.device) / (num_points - 1)
    first, second = (low[i] + (high[i] - low[i]) * steps for i in range(2))
    return first, second


def _on_grid(batch: Batch, space: LatentSpace, axes: tuple[Tensor, Tensor]) -> _Terms:
    """The terms at every node, in chunks of bounded size."""
    count, rows, plain = len(axes[0]), len(batch.index), FreeCoordinates(space.unwhitened())
    chunk = max(1, ROWS_AT_ONCE // rows)
    pieces = []
    for start in range(0, count**2, chunk):
        which = product_indices(range(start, min(start + chunk, count**2)), count, 2, batch.index.device)
        z = torch.stack([axes[0][which[:, 0]], axes[1][which[:, 1]]], -1).to(space.loc.dtype)
        latents, log_det = plain.latents(z.unsqueeze(1).expand(-1, rows, -1))
        draw = batch.bound.evaluate(latents)
        change = log_det.double()
        pieces.append(_Terms(draw.log_prior + change, draw.log_likelihood.double(), draw.log_guide + change))
    prior, likelihood, guide = (torch.cat(part).T.reshape(rows, count, count) for part in zip(*pieces, strict=True))
    _refuse_impossible({"log_prior": prior, "log_likelihood": likelihood, "log_guide": guide}, batch.index)
    return _Terms(prior, likelihood, guide)


def _common_prior(log_priors: list[Tensor]) -> Tensor:
    """The one prior of all observations, shape (G, G)."""
    first = log_priors[0][0]
    for log_prior in log_priors:
        if not torch.allclose(log_prior, first.expand_as(log_prior), rtol=1e-5, atol=1e-5):
            raise NotDefinedError(
                "the prior differs between observations (it depends on covariates): one grid shows one prior. Pass "
                "one observation at a time."
            )
    return first


def _refuse_impossible(terms: dict[str, Tensor], index: Tensor) -> None:
    for name, term in terms.items():
        bad = (term.isnan() | (term == torch.inf)).flatten(1).any(1)
        if bool(bad.any()):
            raise NumericalError(
                f"{name} is NaN or +infinity at a node for {int(bad.sum())} observation(s), the first with index "
                f"{index[bad][0].item()}. Look there for NaN in the data or in the networks' weights."
            )


def _warn_of_what_is_missed(found: BayesRuleOnGrid, index: Tensor) -> None:
    advice = "Widen the grid (width), or take more points (num_points)."
    if abs(found.missed_prior_mass) > MOST_MISSED:
        warnings.warn(f"the grid misses {found.missed_prior_mass:.2g} of the prior's mass. {advice}", GridWarning, 4)
    missed = found.missed_guide_mass
    bad = ~(missed.abs() <= MOST_MISSED)
    if bool(bad.any()):
        worst = int(missed.abs().argmax())
        warnings.warn(
            f"the grid misses more than {MOST_MISSED:g} of the guide's mass for {int(bad.sum())} observation(s), most "
            f"({float(missed[worst]):.2g}) for index {index[worst].item()}. {advice}",
            GridWarning,
            4,
        )
    coarse = ~(found.refinement_error <= MOST_MISSED)
    if bool(coarse.any()):
        worst = int(found.refinement_error.argmax())
        warnings.warn(
            f"the grid is coarse for {int(coarse.sum())} posterior(s): without every second node log p(x) changes by "
            f"up to {float(found.refinement_error[worst]):.2g} nats, for index {index[worst].item()}. {advice}",
            GridWarning,
            4,
        )
