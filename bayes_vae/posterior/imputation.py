"""Missing values given the observed ones: draws and means of p(x_missing given x_observed)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import DataError, NotDefinedError
from bayes_vae.estimators.importance.reliability import pareto_k, pareto_k_threshold
from bayes_vae.estimators.importance.variation import LOOKED_AT, trusted_pareto_k
from bayes_vae.posterior.chain_diagnostics import chain_sample_size
from bayes_vae.posterior.hamiltonian import Plan, draws_of
from bayes_vae.posterior.likelihood_numbers import likelihood_numbers
from bayes_vae.terms.containers import Draw, Provenance, join_particles
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import ROWS_AT_ONCE, Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.randomness import KeyedNoise, derived_seed, isolated_rng
from bayes_vae.terms.rows import X
from bayes_vae.terms.whole_numbers import whole_number
from bayes_vae.vocabulary.number_text import count_of

__all__ = ["Imputation", "Method", "impute"]

Method: TypeAlias = Literal["nothing missing", "importance resampling", "Hamiltonian draws", "refused"]
"""Where the z came from at which the missing numbers of an observation were drawn."""

CHAINS = Plan(num_draws=1000, num_chains=4, num_warmup=500, num_leapfrog=8, from_prior=True)
"""Of observations whose importance weights cannot be trusted; from the prior, since the guide is what failed."""


@dataclass(frozen=True, eq=False)
class Imputation:
    """Draws and means of the missing numbers of each observation, given its observed ones.

    Attributes:
        x: as it was given, NaN where missing, shape (N, *event).
        draws: x with its missing numbers drawn, S times, shape (S, N, *event); NaN where refused.
        mean: x with the means of its missing numbers, shape (N, *event), float64; NaN where refused.
        mean_error: Monte-Carlo standard error of the mean, shape (N, *event); 0 of observed numbers.
        methods: of each observation where its z came from, N of them; "refused" where neither importance weights nor
            chains can be trusted.
        pareto_k: k̂ of the importance weights, shape (N,); NaN where nothing is missing, and of discrete latents.
        provenance: seed, source and policy.
    """

    x: Tensor
    draws: Tensor
    mean: Tensor
    mean_error: Tensor
    methods: tuple[Method, ...]
    pareto_k: Tensor
    provenance: Provenance

    @property
    def missing(self) -> Tensor:
        """Which numbers were missing, shape (N, *event), bool."""
        return self.x.isnan()

    @property
    def refused(self) -> Tensor:
        """Observations without an answer, shape (N,), bool."""
        return torch.tensor([method == "refused" for method in self.methods], device=self.x.device)

    @property
    def sd(self) -> Tensor:
        """Deviation of the draws, shape (N, *event): how uncertain each missing number is; 0 of observed ones."""
        return self.draws.double().std(0)

    def __repr__(self) -> str:
        """How many draws of how many numbers, and where z came from."""
        counts = {method: self.methods.count(method) for method in dict.fromkeys(self.methods)}
        said = "; ".join(f"{method}: {count_of(count, 'observation')}" for method, count in counts.items())
        numbers = f"{len(self.draws)} draws of {int(self.missing.sum())} missing numbers"
        return f"Imputation: {numbers}; {said}; see mean, draws and sd"


@lists_options
def impute(
    model: Program,
    guide: Program,
    x: X,
    num_draws: int = 100,
    *,
    num_particles: int = 5000,
    **options: Unpack[Options],
) -> Imputation:
    r"""Draw missing numbers from what the model knows of them, given the observed ones.

    .. math:: p(x_m \mid x_o) = \int p(x_m \mid z) \, p(z \mid x_o) \, dz

    z is drawn from the exact posterior of what was observed, and never from q itself: by importance resampling among K
    draws of q where k̂ vouches for their weights, elsewhere by Hamiltonian chains from the prior where they converge
    (R̂ ≤ 1.01, effective sample sizes ≥ 400). Where neither holds, there is no answer: NaN, and the method "refused".
    Then x_m is drawn from p(x given z), not set to its mean: draws scatter as missing values do. Values are taken as
    missing at random.

    Means are :math:`E[x_m \mid x_o] = E[E[x_m \mid z] \mid x_o]`, over all K weighted draws or all chain draws; the
    errors are the delta method's for weights, and from effective sample sizes for chains.

    Args:
        model, guide: a pair; a likelihood whose numbers are independent given z, or depend on observed ones alone.
        x: observations, as in :func:`bayes_vae.log_terms`, NaN where a number is missing; of a tuple its first tensor.
        num_draws: S.
        num_particles: K, draws of q that are weighted.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`Imputation`; draws and means in the units of x (``data.in_original_units`` undoes a standardization).

    Raises:
        DataError: nothing is missing.
        NotDefinedError: a likelihood without a mean, or whose missing numbers depend on each other given z.
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.

    Reference: Mattei, Frellsen (2019), "MIWAE: deep generative modelling and imputation of incomplete data sets",
    section 3.
    """
    num_draws, num_particles = whole_number("num_draws", num_draws), whole_number("num_particles", num_particles)
    with open_pair(model, guide, x, **options) as opened:
        return _Work(opened, num_draws, num_particles).result()


class _Found(NamedTuple):
    """Of some rows: their draws (S, N, *event), means and errors (N, *event)."""

    draws: Tensor
    mean: Tensor
    error: Tensor


class _Work:
    """The imputation of all observations of an open pair."""

    def __init__(self, opened: OpenPair, num_draws: int, num_particles: int) -> None:
        self.opened, self.num_draws, self.num_particles = opened, num_draws, num_particles
        self.x = opened.rows.read()[0]
        count = opened.num_observations
        missing = self.x.isnan() if self.x.is_floating_point() else torch.zeros_like(self.x, dtype=torch.bool)
        if not bool(missing.any()):
            raise DataError("x has no missing value to impute: expected NaN where a number is missing.")
        opened.check_memory(num_draws * self.x[0].numel(), f"num_draws={num_draws}")
        self.wanted = missing.reshape(count, -1).any(1)
        self.splittable = opened.pair.splittable
        self.rows = (
            torch.nonzero(self.wanted).flatten() if self.splittable else torch.arange(count, device=self.x.device)
        )
        self.draws = self.x.expand(num_draws, *self.x.shape).clone()
        self.mean, self.error = self.x.double().clone(), torch.zeros_like(self.x, dtype=torch.float64)
        self.pareto_k = torch.full((count,), torch.nan, dtype=torch.float64, device=self.x.device)
        self.methods: list[Method] = ["nothing missing"] * count

    def result(self) -> Imputation:
        """Every observation by the first method that can be trusted."""
        failed = torch.cat(list(self._by_importance()))
        failed = failed[self.wanted[failed]]
        if len(failed):
            self._by_chains(failed)
        whole: Method = "nothing missing"
        self.methods = [
            found if is_wanted else whole for found, is_wanted in zip(self.methods, self.wanted.tolist(), strict=True)
        ]
        origin = self.opened.provenance
        return Imputation(self.x, self.draws, self.mean, self.error, tuple(self.methods), self.pareto_k, origin)

    def _keep(self, places: Tensor, found: _Found, method: Method) -> None:
        """Put the missing numbers of some observations in place.

        Raises:
            NotDefinedError: a draw is NaN: it depends on other missing numbers.
        """
        missing = self.x[places].isnan()
        if bool((found.draws.isnan() & missing).any()):
            raise NotDefinedError(
                "a missing number cannot be drawn given z, because its parameters depend on other missing numbers: "
                "expected a likelihood whose numbers are independent given z."
            )
        for kept, values in ((self.mean, found.mean), (self.error, found.error)):
            kept[places] = torch.where(missing, values, kept[places])
        self.draws[:, places] = torch.where(missing, found.draws, self.draws[:, places])
        for place in places.tolist():
            self.methods[place] = method

    def _by_importance(self) -> Iterator[Tensor]:
        """Impute by importance resampling what k̂ vouches for; gives the places of what it does not."""
        opened, start = self.opened.take(self.rows), 0
        limit = pareto_k_threshold(self.num_particles)
        for batch in opened.batches(self.num_particles, "imputation"):
            draw = join_particles([_detached(part) for part in batch.draws()])
            places = self.rows[start : start + len(batch.index)]
            start += len(batch.index)
            found = pareto_k(draw.log_importance_weights).to(self.pareto_k.device)
            found = trusted_pareto_k(found, batch, draw.select(slice(LOOKED_AT)))
            if opened.pair.discrete:
                found = torch.full_like(found, torch.nan)
            self.pareto_k[places] = found
            trusted = (found == -torch.inf) | (found <= limit)
            if bool(trusted.any()):
                self._keep(places[trusted], _of_weights(batch, draw, trusted, self.num_draws), "importance resampling")
            yield places[~trusted]

    def _by_chains(self, places: Tensor) -> None:
        """Impute by Hamiltonian draws where the chains converged, and refuse the others.

        Chains are of these observations alone, which a pair must be able to be run on.
        """
        converged = torch.zeros(len(places), dtype=torch.bool, device=places.device)
        if not self.opened.pair.discrete and self.splittable:
            opened = self.opened.with_prior_as_guide().take(places)
            chains = draws_of(opened, CHAINS)
            converged = chains.converged & (chains.divergences == 0)
        if bool(converged.any()):
            for batch in opened.quiet().batches(1, rows=torch.nonzero(converged).flatten()):
                rows = torch.nonzero(converged).flatten()[batch.rows]
                latents = {name: value[:, :, rows] for name, value in chains.latents.items()}
                self._keep(places[rows], _of_chains(batch, latents, self.num_draws), "Hamiltonian draws")
        refused = places[~converged]
        for place in refused.tolist():
            self.methods[place] = "refused"
        self.error[refused] = self.error[refused].masked_fill(self.x[refused].isnan(), torch.nan)


def _detached(draw: Draw) -> Draw:
    prior, likelihood, guide = (term.detach() for term in draw[:3])
    return Draw(prior, likelihood, guide, {name: value.detach() for name, value in draw.latents.items()})


def _of_weights(batch: Batch, draw: Draw, trusted: Tensor, num_draws: int) -> _Found:
    r"""Self-normalized importance sampling, of the rows that can be trusted.

    .. math:: \mu = \sum_k \bar w_k m_k, \quad s^2 = \sum_k \bar w_k^2 (m_k - \mu)^2, \quad m_k = E[x \mid z_k]
    """
    weights = draw.log_importance_weights.softmax(0)
    x, (_, *event) = batch.x[0], batch.x[0].shape
    pieces = torch.arange(len(weights), device=x.device).split(max(1, ROWS_AT_ONCE // len(x)))
    wide = weights.reshape(*weights.shape, *(1,) * len(event))

    def means(piece: Tensor) -> Tensor:
        latents = {name: value[piece] for name, value in draw.latents.items()}
        return likelihood_numbers(batch.bound, latents, x, "mean").double()

    mean = torch.stack([(wide[piece] * means(piece)).sum(0) for piece in pieces]).sum(0)
    square = torch.stack([(wide[piece] * (means(piece) - mean)).square().sum(0) for piece in pieces]).sum(0)
    noise = KeyedNoise(derived_seed(batch.seed, "resampling"))
    uniform = torch.special.ndtr(noise.normal("u", batch.index, range(num_draws), (), weights))
    chosen = torch.searchsorted(weights.cumsum(0).T.contiguous(), uniform.T.contiguous()).T.clamp(max=len(weights) - 1)
    latents = {
        name: value.gather(0, chosen.reshape(*chosen.shape, *(1,) * (value.dim() - 2)).expand(-1, -1, *value.shape[2:]))
        for name, value in draw.latents.items()
    }
    return _Found(_drawn(batch, latents)[:, trusted], mean[trusted], square.sqrt()[trusted])


def _of_chains(batch: Batch, chains: dict[str, Tensor], num_draws: int) -> _Found:
    """Means over all draws of the chains, latents of shape (chains, draws, N, …); x drawn at as many as are wanted."""
    shape = next(iter(chains.values())).shape[:2]
    flat = {name: value.flatten(0, 1) for name, value in chains.items()}
    x = batch.x[0]
    pieces = torch.arange(shape.numel(), device=x.device).split(max(1, ROWS_AT_ONCE // len(x)))
    each = [
        likelihood_numbers(batch.bound, {name: value[piece] for name, value in flat.items()}, x, "mean").double()
        for piece in pieces
    ]
    means = torch.cat(each)
    missing = x.isnan()
    error = torch.zeros_like(means[0])
    wanted = means[:, missing]
    error[missing] = wanted.std(0) / chain_sample_size(wanted.unflatten(0, shape), "mean").sqrt()
    spread = torch.linspace(0, shape.numel() - 1, num_draws, device=x.device).round().long()
    drawn = _drawn(batch, {name: value[spread] for name, value in flat.items()})
    return _Found(drawn, means.mean(0), error)


def _drawn(batch: Batch, latents: dict[str, Tensor]) -> Tensor:
    """One draw of x from p(x given z) at each latent, shape (S, N, *event), from a seed for each batch."""
    seed = derived_seed(batch.seed, "missing numbers", int(batch.index[0]))
    with isolated_rng(seed, batch.index.device):
        return likelihood_numbers(batch.bound, latents, batch.x[0], "sample").to(batch.x[0].dtype)
