"""How the terms of a pair are read: one interface, two implementations."""

from __future__ import annotations

import reprlib
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.errors import NumericalError, SettingsError
from bayes_vae.progress import Progress
from bayes_vae.terms.containers import Draw, JointTerms, ModelSite
from bayes_vae.terms.coupling import ROWS, refuse_coupled_rows
from bayes_vae.terms.dependence import refuse_likelihood_of_seen_data
from bayes_vae.terms.exposed import ExposedPair, exposes_distributions
from bayes_vae.terms.masks import Masked
from bayes_vae.terms.probe import read_traced_pair
from bayes_vae.terms.program import Observations, Program
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.shared_noise import SharedNoise

__all__ = ["BoundBatch", "Pair", "Progress", "Source", "check_source", "read_pair", "refuse_impossible"]

Source = Literal["auto", "distributions", "traces"]


class BoundBatch(Protocol):
    """A batch of observations bound to a pair."""

    support_checked: bool
    """Whether the observations were found to lie in the support of the likelihood; else the first draw looks."""
    shared: SharedNoise | None
    """Where draws without keyed noise come from, if these are some rows of a batch that several processes share."""

    @property
    def masked(self) -> Masked:
        """Numbers of z that these observations do not have, site → (N, *rest), bool; known from the first draw on."""

    def draw(self, particles: range, noise: KeyedNoise | None) -> Draw:
        """Draw latents and evaluate the terms."""

    def log_likelihood(self, particles: range, noise: KeyedNoise | None) -> Tensor:
        """Draw the same latents and evaluate log p(x given z) alone, shape (K, N)."""

    def evaluate(self, latents: dict[str, Tensor]) -> Draw:
        """The three log densities at given latents, each of shape (K, N, *rest)."""

    def log_joint(self, latents: dict[str, Tensor]) -> JointTerms:
        """The model's log densities at given latents."""

    def model_sites(self, latents: dict[str, Tensor]) -> list[ModelSite]:
        """The model's sites at given latents of one particle."""

    def supports(self) -> dict[str, constraints.Constraint]:
        """Where each latent lives."""

    def kl_by_site(self) -> dict[str, Tensor]:
        """Closed-form KL of each latent site, shape (N,); their sum is the KL of the pair."""

    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL by dimension, shape (N, D)."""


class Pair(Protocol):
    """A model/guide pair whose terms can be read: the one interface of both implementations."""

    @property
    def source(self) -> str:
        """Either "distributions" or "traces"."""

    @property
    def particles(self) -> str:
        """How particles are laid out."""

    @property
    def randomness(self) -> str:
        """Either "per observation" or "data blocks"."""

    @property
    def keyed(self) -> bool:
        """Whether noise is keyed by observation."""

    @property
    def splittable(self) -> bool:
        """Whether the observations may be split into batches."""

    @property
    def scaled(self) -> tuple[tuple[str, str], ...]:
        """(site, factor) of every scaled site."""

    @property
    def discrete(self) -> tuple[str, ...]:
        """Latents with discrete values."""

    @property
    def not_reparameterized(self) -> tuple[str, ...]:
        """Latents whose draws carry no gradient."""

    @property
    def masks_latents(self) -> bool:
        """Whether a latent was seen under a mask."""

    def bind(self, x: Observations, index: Tensor) -> BoundBatch:
        """A batch of observations."""


def check_source(source: Source) -> None:
    """Refuse a way to read the terms that there is not.

    Raises:
        SettingsError: none of "auto", "distributions" and "traces".
    """
    if not isinstance(source, str) or source not in get_args(Source):
        raise SettingsError(f"source must be 'auto', 'distributions' or 'traces', got {reprlib.repr(source)}.")


def read_pair(model: Program, guide: Program, rows: Rows, source: Source = "auto") -> Pair:
    """Choose how the terms of a pair are read.

    Args:
        model, guide: the programs.
        rows: observations to probe with.
        source: "auto" takes the distributions where both programs expose them, else traces.

    Raises:
        SettingsError: a source that this pair has not.
        ProgramError: the terms cannot be read, or those of an observation change with the others of its batch.
        LikelihoodSeesDataError: at a fixed z the parameters of the likelihood move with the numbers they are of.
    """
    exposed = exposes_distributions(model, guide)
    check_source(source)
    if source == "distributions" and not exposed:
        raise SettingsError(
            f"source={source!r} does not work here: it needs a model with prior() and likelihood(z) "
            "and a guide with variational_posterior(x); use 'auto' or 'traces'."
        )
    pair = ExposedPair(model, guide, rows) if exposed and source != "traces" else read_traced_pair(model, guide, rows)
    few = rows.take(slice(0, ROWS)) if pair.splittable else rows
    x = few.read()
    refuse_coupled_rows(pair, x, few.index)
    refuse_likelihood_of_seen_data(pair, x, few.index)
    return pair


def refuse_impossible(draw: Draw, index: Tensor) -> None:
    """Raise NumericalError for NaN or infinity in a term; a prior or likelihood of zero is allowed."""
    for name, term in zip(("log_prior", "log_likelihood", "log_guide"), draw[:3], strict=True):
        bad = ~torch.isfinite(term)
        if not bad.any():
            continue
        if name != "log_guide":
            bad = term.isnan() | (term == torch.inf)
        if bad.any():
            where = index[bad.any(0)].tolist()
            value = term[bad][0].item()
            raise NumericalError(
                f"{name} is {value} for {len(where)} observation(s), the first with index {where[0]}. Look there "
                "for NaN in the data, a scale that reached zero or infinity, or weights that diverged."
            )
