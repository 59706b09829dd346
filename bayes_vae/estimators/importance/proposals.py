"""Refined proposals: a normal or a Student t for each observation, fitted to its posterior before weights are taken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.annealing.diagonal_start import fit_diagonal
from bayes_vae.estimators.annealing.path import GuidePath, State, hamiltonian_move
from bayes_vae.estimators.annealing.start import LARGEST_LATENT, fit_normal
from bayes_vae.estimators.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.terms.containers import Draw
from bayes_vae.terms.opened import Batch
from bayes_vae.terms.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.stream import Pair, refuse_impossible

__all__ = ["ESTIMATORS", "ROOM", "Proposal", "RefinedProposal", "check_proposal", "fit_proposal"]

Proposal = Literal["guide", "normal", "full_covariance", "student_t"]
"""Where the particles are drawn from."""

DEGREES_OF_FREEDOM = 20
"""Of the Student t."""

ESTIMATORS = {
    "guide": "importance",
    "normal": "importance from a refined normal",
    "full_covariance": "importance from a refined full-covariance normal",
    "student_t": f"importance from a refined Student t with {DEGREES_OF_FREEDOM} degrees of freedom",
}
"""Proposal → what the estimate says of itself."""

PILOT_DRAWS = 64
"""Draws of the guide that set the coordinates."""

CHAINS, SETTLING, KEPT, DRAWS_PER_DIMENSION = 8, 15, 25, 4
"""Chains of the fit, the moves before it looks, the fewest that it looks at, and positions for each dimension."""

LEAPFROG, FIRST_STEP, TARGET_ACCEPTANCE, ADAPTATION = 5, 0.3, 0.85, 1.0
"""Leapfrog steps of a move, the first step, the acceptance it aims at, and how fast its logarithm follows."""

NOISE_AHEAD = 8
"""Moves whose noise is drawn at once."""

ROOM = 64
"""Particles for which an observation is counted while its proposal is fitted, so that memory stays bounded."""

SMALLEST = 1e-12
"""Eigenvalues are held above so much of the largest."""


def check_proposal(proposal: str, pair: Pair) -> None:
    """Refuse a proposal that is unknown, or that the latents do not allow.

    Raises:
        SettingsError: an unknown name.
        NotDefinedError: a discrete latent.
    """
    if proposal not in get_args(Proposal):
        raise SettingsError(f"proposal must be one of {', '.join(get_args(Proposal))}, got {proposal!r}.")
    if proposal != "guide" and pair.discrete:
        raise NotDefinedError(
            f"latent site {pair.discrete[0]!r} is discrete, and proposal={proposal!r} is a density over continuous "
            'latents. Use proposal="guide", or marginalize the site in the model.'
        )


@dataclass(frozen=True, eq=False)
class RefinedProposal:
    r"""q(v) = N(v; m, R R^T), or a Student t with that location and scale, in unconstrained numbers v.

    Attributes:
        space: what maps v to latents.
        loc: m of each observation, shape (N, D).
        root: R of each observation, shape (N, D, D); its diagonal, shape (N, D), where factorized.
        degrees_of_freedom: ν of the Student t; None for a normal.
    """

    space: LatentSpace
    loc: Tensor
    root: Tensor
    degrees_of_freedom: int | None

    @classmethod
    def join(cls, parts: Sequence[RefinedProposal]) -> RefinedProposal:
        """The observations of several, one after another."""
        loc, root = (torch.cat([getattr(part, name) for part in parts]) for name in ("loc", "root"))
        return cls(LatentSpace.join([part.space for part in parts]), loc, root, parts[0].degrees_of_freedom)

    def take(self, rows: Tensor | slice) -> RefinedProposal:
        """Some observations."""
        return RefinedProposal(self.space.rows(rows), self.loc[rows], self.root[rows], self.degrees_of_freedom)

    def log_weights(self, batch: Batch) -> Iterator[Tensor]:
        """log p(x, z) + log |dz/dv| − log q(v) of the batch, one (K, N) tensor in float64 for each chunk."""
        noise = KeyedNoise(derived_seed(batch.seed, "refined proposal"))
        for particles in batch.chunks:
            v, log_q = self._draw(batch, noise, particles)
            latents, log_det = self.space.latents(v)
            prior, likelihood = batch.bound.log_joint(latents)
            draw = Draw(prior, likelihood, log_q - log_det.double(), latents)
            refuse_impossible(draw, batch.index)
            yield draw.log_importance_weights

    def log_density_at(self, batch: Batch, places: Tensor, latents: dict[str, Tensor]) -> Tensor:
        """log q(z given x) of some observations at latents of shape (K, N, *rest); shape (K, N), float64."""
        own = self.take(places)
        u = own.space.coordinates(latents)
        log_det = own.space.latents(u)[1].double()
        away = own.space.moving(u - own.loc).double()
        root = own.root.double()
        plain = away / root if root.dim() == 2 else torch.linalg.solve(root, away.permute(1, 2, 0)).permute(2, 0, 1)
        return own._log_standard_at(plain.square().sum(-1)) - log_det

    def _draw(self, batch: Batch, noise: KeyedNoise, particles: range) -> tuple[Tensor, Tensor]:
        """Coordinates (K, N, D) and log q there, (K, N) in float64; the Student t takes ν more normals for its χ²."""
        size, degrees = self.space.size, self.degrees_of_freedom or 0
        drawn = noise.normal("v", batch.index, particles, (size + degrees,), self.loc)
        normal, squares = self.space.moving(drawn[..., :size]), drawn.double().square()
        stretch = (degrees / squares[..., size:].sum(-1)).sqrt() if degrees else torch.ones_like(squares[..., 0])
        v = self.loc + stretch.unsqueeze(-1).to(normal) * self._scaled(normal)
        distance = normal.double().square().sum(-1) * stretch.square()
        return v, self._log_standard_at(distance)

    def _log_standard_at(self, distance: Tensor) -> Tensor:
        return _log_standard(distance, self.space.dimensions, self.degrees_of_freedom) - self._log_det()

    def _scaled(self, normal: Tensor) -> Tensor:
        if self.root.dim() == 2:
            return self.root * normal
        return torch.bmm(normal.transpose(0, 1), self.root.mT).transpose(0, 1)

    def _log_det(self) -> Tensor:
        root = self.root.double()
        return root.log().sum(-1) if root.dim() == 2 else torch.linalg.slogdet(root).logabsdet


def _log_standard(distance: Tensor, size: Tensor | int, degrees: int | None) -> Tensor:
    """Log density of the standard normal, or Student t, in so many dimensions at a squared distance from its centre."""
    size = torch.as_tensor(size, dtype=torch.float64, device=distance.device)
    if degrees is None:
        return -0.5 * distance - 0.5 * size * math.log(2 * math.pi)
    constant = torch.lgamma((degrees + size) / 2) - math.lgamma(degrees / 2) - 0.5 * size * math.log(degrees * math.pi)
    return constant - 0.5 * (degrees + size) * torch.log1p(distance / degrees)


def fit_proposal(batch: Batch, proposal: Proposal) -> RefinedProposal:
    r"""Fit a proposal to the posterior of each observation; what is drawn here is used for nothing else.

    .. math:: \min_{m, \Sigma} \sum_i \big\| \nabla \log p(x, z_i) + \Sigma^{-1} (v_i - m) \big\|^2_\Sigma
        \;\Rightarrow\; \Sigma G \Sigma = C, \quad m = \bar v + \Sigma \bar g

    C and G are the covariances of the positions v_i of short Hamiltonian chains and of the gradients g_i there. The
    chains start at the normal that annealing starts from. Where the posterior is normal this is exact from D + 1
    positions, however far the chains have mixed; elsewhere it is the normal closest to it in Fisher divergence.
    "normal" takes the deviations of that normal: the best factorized one in KL(p to q), and not in KL(q to p), which is
    narrow and gives worse weights.

    Args:
        batch: observations bound to a pair with continuous latents.
        proposal: which; not "guide".

    Reference: Cai, Modi, Pillaud-Vivien, Margossian, Gower, Blei, Saul (2024), "Batch and match: black-box
    variational inference with a score-based divergence", sections 2 and 3.
    """
    space = whitened_space(batch.bound, pilot_draws(batch, PILOT_DRAWS, "scales of the proposal"))
    space = fit_normal(batch, space).space if space.size <= LARGEST_LATENT else fit_diagonal(batch, space)
    loc, root = _unconstrained(space, *_normal_fit(_visited(batch, space)))
    space = space.unwhitened()
    if proposal == "normal":
        root = root.square().sum(-1).sqrt()
    degrees = DEGREES_OF_FREEDOM if proposal == "student_t" else None
    return RefinedProposal(space, loc.to(space.loc), root.to(space.loc), degrees)


class _Moments(NamedTuple):
    """Means, each (N, D), and covariances, each (N, D, D), of positions and of gradients, in float64."""

    position: Tensor
    gradient: Tensor
    spread: Tensor
    gradient_spread: Tensor


def _visited(batch: Batch, space: LatentSpace) -> _Moments:
    """Where short Hamiltonian chains have been once their steps are settled."""
    noise = KeyedNoise(derived_seed(batch.seed, "fit of the proposal"))
    path, like, size = GuidePath(batch.bound, space), space.loc, space.size
    posterior, step = like.new_tensor(1.0), torch.full_like(like[:, 0], FIRST_STEP)
    state = path.state(space.moving(noise.normal("start", batch.index, range(CHAINS), (size,), like)))
    kept = max(KEPT, math.ceil(DRAWS_PER_DIMENSION * size / CHAINS))
    sums = _Sums()
    for time in range(1, SETTLING + kept + 1):
        if time % NOISE_AHEAD == 1:
            ahead = noise.normal(f"moves {time}", batch.index, range(CHAINS), (NOISE_AHEAD, size + 1), like)
        drawn = ahead[..., (time - 1) % NOISE_AHEAD, :]
        state, acceptance = hamiltonian_move(path, state, posterior, step, LEAPFROG, drawn)
        if time <= SETTLING:
            step = step * torch.exp(ADAPTATION * (acceptance.mean(0) - TARGET_ACCEPTANCE))
        else:
            sums.update(state, posterior)
    position, gradient, *spreads = sums.moments()
    return _Moments(position, gradient, *map(space.of_free, spreads))


class _Sums:
    """Running sums of positions, gradients and their outer products."""

    def __init__(self) -> None:
        self._count = 0
        self._totals: list[Tensor] = []

    def update(self, state: State, temperature: Tensor) -> None:
        position, gradient = state.position.double(), state.gradient(temperature).double()
        outer = [torch.einsum("kni,knj->nij", part, part) for part in (position, gradient)]
        new = [position.sum(0), gradient.sum(0), *outer]
        self._totals = [old + more for old, more in zip(self._totals, new, strict=True)] if self._totals else new
        self._count += len(position)

    def moments(self) -> _Moments:
        position, gradient, *outer = (total / self._count for total in self._totals)
        means = (position, gradient)
        spreads = [part - mean.unsqueeze(-1) * mean.unsqueeze(-2) for part, mean in zip(outer, means, strict=True)]
        return _Moments(position, gradient, *spreads)


def _normal_fit(moments: _Moments) -> tuple[Tensor, Tensor]:
    """m (N, D) and R (N, D, D) of the normal; the guide's own where the chains left the finite numbers."""
    position, gradient, spread, gradient_spread = moments
    finite = (spread + gradient_spread).isfinite().all(-1).all(-1)
    same = torch.eye(spread.shape[-1], device=spread.device).to(spread)
    spread, gradient_spread = (torch.where(finite[:, None, None], part, same) for part in (spread, gradient_spread))
    half = _power(spread, 0.5)
    root = half @ _power(half @ gradient_spread @ half, -0.25)
    loc = position + (root @ root.mT @ gradient.unsqueeze(-1)).squeeze(-1)
    return torch.where(finite[:, None], loc, torch.zeros_like(loc)), root


def _unconstrained(space: LatentSpace, loc: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """m (N, D) and R (N, D, D) of the normal in unconstrained numbers u, from those in coordinates of the space."""
    factor = torch.diag_embed(space.scale) if space.mixing is None else space.scale.unsqueeze(-1) * space.mixing
    factor = factor.to(root)
    moved = space.loc.to(loc) + (factor @ space.moving(loc).unsqueeze(-1)).squeeze(-1)
    return space.moving(moved), space.of_free(factor @ root)


def _power(matrix: Tensor, power: float) -> Tensor:
    """A power of symmetric matrices whose eigenvalues are held above zero, shape (N, D, D)."""
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    largest = values[:, -1:].clamp(min=torch.finfo(values.dtype).tiny)
    held = torch.maximum(values, SMALLEST * largest)
    raised: Tensor = (vectors * held.pow(power).unsqueeze(-2)) @ vectors.mT
    return raised
