"""Quadrature: log p(x) as a sum over nodes, for pairs with one, two or three latent dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, NumericalError, ProgramError, SettingsError
from bayes_vae.estimators.free_coordinates import FreeCoordinates
from bayes_vae.estimators.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.estimators.quadrature_nodes import GaussHermite, Rule, TrapezoidGrid, product_indices
from bayes_vae.estimators.unseen import ALLOWED
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import ROWS_AT_ONCE, Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.stream import BoundBatch
from bayes_vae.terms.tabular import Tabular
from bayes_vae.terms.whole_numbers import real_number, whole_number
from bayes_vae.vocabulary.readings import Reading

__all__ = ["QuadratureEstimate", "quadrature_log_evidence"]

MOST_DIMENSIONS = 3

MOST_HERMITE_POINTS = 256
"""Beyond about so many nodes the Gauss–Hermite weights at the ends underflow."""

PILOT_DRAWS = 256
"""Draws of the guide, or the prior, that set centres and scales; no weight of them is taken."""

ROUNDING = 4
"""Levels cannot agree more closely than so many units in the last place of log p(x)."""

Method = Literal["gauss-hermite", "grid"]


@dataclass(frozen=True, eq=False)
class QuadratureEstimate(Tabular, observation=("log_evidence", "refinement_error", "converged", "num_points")):
    """log p(x) of each observation by quadrature, with the error that refinement states.

    Attributes:
        log_evidence: at the finest level, shape (N,), nats.
        refinement_error: difference between the two finest levels, and at least the rounding of the pair's dtype,
            shape (N,), nats; of the coarser one rather than the finer, whose own error is mostly far smaller. NaN where
            nodes over the prior find more of p(x) than those about the guide did.
        converged: whether the two finest levels agreed to the tolerance and nothing more was found, shape (N,), bool.
        num_points: nodes along each dimension at the finest level, shape (N,).
        num_dimensions: D, latent dimensions in all; where some are masked, the most that an observation has.
        method: "gauss-hermite" or "grid".
        provenance: seed (of the draws that centre the nodes), source and policy.
    """

    log_evidence: Tensor
    refinement_error: Tensor
    converged: Tensor
    num_points: Tensor
    num_dimensions: int
    method: str
    provenance: Provenance

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.log_evidence)

    @property
    def reading(self) -> Reading:
        """How the data set's figure reads, with how many observations did not converge."""
        missed = int(self.refinement_error.isnan().sum())
        return Reading("quadrature", int((~self.converged).sum()), self.num_observations, missed=missed)

    def averages(self) -> dict[str, Average]:
        """The figure over the data set; in the Monte-Carlo error's place stands the mean refinement error.

        Nothing is drawn at random, so errors of different observations do not average out: they are added.
        """
        exact = torch.zeros_like(self.log_evidence)
        figure = average("log_evidence", self.log_evidence, exact, 0, self.reading)
        return {"log_evidence": replace(figure, monte_carlo_error=float(self.refinement_error.mean()))}


@lists_options
def quadrature_log_evidence(
    model: Program,
    guide: Program,
    x: X,
    *,
    method: Method = "gauss-hermite",
    num_points: int = 16,
    tolerance: float = 1e-6,
    max_nodes: int = 2**21,
    **options: Unpack[Options],
) -> QuadratureEstimate:
    r"""log p(x) as an integral over one, two or three latent dimensions, refined until two levels agree.

    .. math:: \log p(x) = \log \int p(x, T(m + s v)) \, \Big|\frac{dz}{dv}\Big| \, dv
        \approx \log \sum_i \omega_i \, p(x, z_i) \Big|\frac{dz}{dv}\Big|_i

    The nodes lie in unconstrained coordinates v, centred on the mean m of q(z given x) and scaled by its deviations s,
    each observation's own. "gauss-hermite" is the cheapest and trusts the guide: a mode that lies far from it in units
    of its scale goes unseen, and then two levels may agree on a part of p(x). A coarse grid over the prior looks for
    one, and an observation for which it finds more has not converged. "grid" covers what the prior believes as well,
    and includes such a mode. Each refinement doubles the points along every dimension; the grid's box also grows by a
    quarter.

    Args:
        method: "gauss-hermite" or "grid".
        num_points: nodes along each dimension at the first level.
        tolerance: nats within which two levels agree; no closer than the rounding of the pair's dtype allows.
        max_nodes: nodes of the finest level for one observation: refinement ends there, converged or not.
        Others: as in :func:`bayes_vae.log_terms`; the seed is of the draws that find m and s.

    Returns:
        :class:`QuadratureEstimate`, shape (N,), nats; neither a lower nor an upper bound.

    Raises:
        NotDefinedError: more than three latent dimensions, or a discrete latent.
        SettingsError: settings that leave no room for two levels.
        NumericalError: the joint density is NaN or infinite at a node, or zero at all of them.

    Reference: Liu, Pierce (1994), "A note on Gauss–Hermite quadrature"; Trefethen, Weideman (2014), "The
    exponentially convergent trapezoidal rule".
    """
    with open_pair(model, guide, x, **options) as opened:
        return integrate(opened, method=method, num_points=num_points, tolerance=tolerance, max_nodes=max_nodes)


def integrate(
    opened: OpenPair, *, method: Method, tolerance: float, max_nodes: int, num_points: int = 16
) -> QuadratureEstimate:
    """:func:`quadrature_log_evidence` of a pair that is open."""
    if method not in ("gauss-hermite", "grid"):
        raise SettingsError(f"method must be 'gauss-hermite' or 'grid', got {method!r}.")
    num_points, max_nodes = whole_number("num_points", num_points, least=2), whole_number("max_nodes", max_nodes)
    tolerance = real_number("tolerance", tolerance, "positive, in nats")
    plan = _Plan(num_points, tolerance, max_nodes, MOST_HERMITE_POINTS if method == "gauss-hermite" else max_nodes)
    found, size = _levels(opened, method, plan)
    if method == "gauss-hermite":
        with suppress(NotDefinedError, NumericalError, ProgramError):  # somewhere over the prior, where nobody asked
            over_prior, _ = _levels(opened.quiet(), "grid", CHECK)
            more = over_prior.log_evidence - over_prior.refinement_error - found.log_evidence
            found = found.without(over_prior.converged & (more > ALLOWED))
    return QuadratureEstimate(*found, size, method, opened.provenance)


def _levels(opened: OpenPair, method: Method, plan: _Plan) -> tuple[_Level, int]:
    """The finest level of every observation, and D."""
    spread = _prior_space(opened) if method == "grid" else None
    rows, sizes = [], []
    for batch in opened.batches(PILOT_DRAWS, "guide"):
        space = _space(batch)
        rule = GaussHermite(space) if spread is None else TrapezoidGrid(space, spread.rows(batch.rows), plan.coarsest)
        rows.append(_refine(batch, rule, plan))
        sizes.append(rule.space.size)
    return _Level(*(torch.cat(column) for column in zip(*rows, strict=True))), max(sizes)


class _Plan(NamedTuple):
    """How far to refine."""

    num_points: int
    tolerance: float
    max_nodes: int
    max_points: int
    coarsest: float = 1.0

    def allows(self, points: int, dimensions: int) -> bool:
        """Whether a level with so many points along each dimension may be computed."""
        return points <= self.max_points and points**dimensions <= self.max_nodes


CHECK = _Plan(num_points=16, tolerance=0.2, max_nodes=2**15, max_points=128, coarsest=2.0)
"""The grid over the prior that looks for what Gauss–Hermite's nodes did not see; it only has to tell that from zero."""


class _Level(NamedTuple):
    """What one level gave, each of shape (N,)."""

    log_evidence: Tensor
    refinement_error: Tensor
    converged: Tensor
    num_points: Tensor

    def without(self, missed: Tensor) -> _Level:
        """The same; where a part of p(x) was missed, (N,), bool, what had converged has not, its error unknown."""
        error = self.refinement_error.masked_fill(missed & self.converged, torch.nan)
        return self._replace(converged=self.converged & ~missed, refinement_error=error)


def _prior_space(opened: OpenPair) -> LatentSpace:
    """Where the prior puts the latents of every observation."""
    batches = opened.with_prior_as_guide().quiet().batches(PILOT_DRAWS, "prior")
    return LatentSpace.join([_space(batch) for batch in batches])


def _space(batch: Batch) -> LatentSpace:
    """Coordinates whitened by draws, of at most three dimensions."""
    for name, support in batch.bound.supports().items():
        if support.is_discrete:
            raise NotDefinedError(
                f"latent site {name!r} is discrete: quadrature integrates over continuous latents. Use "
                "estimate_log_evidence, or marginalize the site in the model."
            )
    space = whitened_space(batch.bound, pilot_draws(batch, PILOT_DRAWS, "centre"))
    most = int(space.dimensions.max())
    if most > MOST_DIMENSIONS:
        raise NotDefinedError(
            f"quadrature takes at most {MOST_DIMENSIONS} latent dimensions in all, and this pair has {most}: "
            "the nodes grow as a power of their number. Use annealed_log_evidence."
        )
    return space


def _refine(batch: Batch, rule: Rule, plan: _Plan) -> _Level:
    """Double the points until two levels agree; an observation keeps the first level at which its own did."""
    points, size = plan.num_points, rule.space.size
    if not plan.allows(2 * points, size):
        raise SettingsError(
            f"num_points={points} leaves no room for a second level of {2 * points} points in {size} dimensions, "
            f"which must be at most {plan.max_points} points and max_nodes={plan.max_nodes} nodes: take fewer points."
        )
    value = _integral(batch, rule, points, level := 0)
    unit = ROUNDING * torch.finfo(rule.space.loc.dtype).eps
    found = _Level(value, value * torch.inf, torch.zeros_like(value, dtype=torch.bool), torch.zeros_like(batch.index))
    while plan.allows(2 * points, size) and not bool(found.converged.all()):
        points, level, coarse = 2 * points, level + 1, value
        value = _integral(batch, rule, points, level)
        rounding = unit * value.abs()
        error = torch.maximum((value - coarse).abs(), rounding)
        agreed = (error <= rounding.clamp(min=plan.tolerance)) & rule.resolves(points, level)
        finer = _Level(value, error, agreed, torch.full_like(batch.index, points))
        found = _Level(*(torch.where(found.converged, old, new) for old, new in zip(found, finer, strict=True)))
    if not bool(found.log_evidence.isfinite().all()):
        where = batch.index[~found.log_evidence.isfinite()].tolist()
        raise NumericalError(
            f"p(x, z) is zero at every node for {len(where)} observation(s), the first with index {where[0]}: the "
            "guide lies where the model allows no z. Check the support of prior and likelihood."
        )
    return found


def _integral(batch: Batch, rule: Rule, points: int, level: int) -> Tensor:
    """Log of the weighted sum over all nodes of a level, shape (N,), float64."""
    total = torch.full((len(batch.index),), -torch.inf, dtype=torch.float64, device=batch.index.device)
    for which in _chunks(points, rule.space, len(batch.index)):
        v, log_weights = rule.nodes(which, points, level)
        terms = _log_density(batch.bound, rule.space, v.to(rule.space.loc.dtype)) + log_weights
        _refuse_impossible(terms, batch.index)
        total = torch.logaddexp(total, torch.logsumexp(terms, 0))
    return total


def _chunks(points: int, space: FreeCoordinates, num_observations: int) -> Iterator[Tensor]:
    """The product nodes in pieces of bounded size."""
    size = max(1, ROWS_AT_ONCE // num_observations)
    count: int = points**space.size
    for start in range(0, count, size):
        yield product_indices(range(start, min(start + size, count)), points, space.size, space.loc.device)


def _log_density(bound: BoundBatch, space: FreeCoordinates, v: Tensor) -> Tensor:
    """log p(x, z) + log |dz/dv| at coordinates v of shape (K, N, D); shape (K, N), float64."""
    latents, log_det = space.latents(v)
    joint = bound.log_joint(latents)
    return joint.log_prior.double() + joint.log_likelihood.double() + log_det.double()


def _refuse_impossible(terms: Tensor, index: Tensor) -> None:
    bad = (terms.isnan() | (terms == torch.inf)).any(0)
    if bool(bad.any()):
        where = index[bad].tolist()
        raise NumericalError(
            f"log p(x, z) is NaN or +infinity at a node for {len(where)} observation(s), the first with index "
            f"{where[0]}. Look there for NaN in the data, or for a likelihood that overflows far from the guide's mean."
        )
