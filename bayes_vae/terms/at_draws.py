"""The three log densities at draws from the guide, kept one by one."""

from __future__ import annotations

from typing import Unpack

import torch

from bayes_vae.terms.containers import Draw, LogTerms, join_particles
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Batch, OpenPair, Options, collect, open_pair
from bayes_vae.terms.rows import X
from bayes_vae.terms.traits import Program
from bayes_vae.terms.whole_numbers import switch, whole_number

__all__ = ["TermsAtDraws", "log_terms"]


@lists_options
def log_terms(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 1,
    *,
    keep_latents: bool = False,
    **options: Unpack[Options],
) -> LogTerms:
    r"""Log densities of prior, likelihood and guide at draws from the guide.

    .. math:: z_{kn} \sim q(z \mid x_n): \quad \log p(z_{kn}), \; \log p(x_n \mid z_{kn}), \; \log q(z_{kn} \mid x_n)

    Args:
        model: Pyro program of p(x, z), called as ``model(x)``.
        guide: Pyro program of q(z given x), called as ``guide(x)``.
        x: observations, shape (N, *event); a tuple of tensors, passed positionally; or rows of a data set, such as
            ``data.test[:500]``, which bring index, labels, data policy, device and precision along.
        num_particles: K.
        keep_latents: store the draws too.
        Others: the keywords that every estimator takes, :class:`bayes_vae.Options`.

    Returns:
        :class:`LogTerms`, each term of shape (K, N) in float64, nats.

    Raises:
        ProgramError: the terms of this pair cannot be read; the message names the site.
        SupportError: observations outside the likelihood's support, such as gray pixels under a Bernoulli.
        NumericalError: a term is NaN, or infinite where it cannot be.
    """
    terms = TermsAtDraws(keep_latents=switch("keep_latents", keep_latents))
    with open_pair(model, guide, x, **options) as opened:
        opened.check_memory(3 * whole_number("num_particles", num_particles), f"num_particles={num_particles}")
        collect(opened, num_particles, terms)
        return terms.result(opened)


class TermsAtDraws:
    """Keeps the terms of every draw; an :class:`~bayes_vae.terms.opened.Accumulator`.

    Args:
        keep_latents: keep the draws too.
        most: particles that are kept, the first ones; all when None.
    """

    def __init__(self, *, keep_latents: bool = False, most: int | None = None) -> None:
        self._keep_latents, self._most = keep_latents, most
        self._batches: list[Draw] = []
        self._chunks: list[Draw] = []

    def begin(self, batch: Batch) -> None:
        """A batch starts."""
        self._chunks = []

    def update(self, draw: Draw) -> None:
        """Some particles of it."""
        kept = sum(len(chunk.log_prior) for chunk in self._chunks)
        if self._most is not None and kept + len(draw.log_prior) > self._most:
            draw = draw.select(slice(0, self._most - kept))
        if len(draw.log_prior) > 0:
            self._chunks.append(draw if self._keep_latents else draw._replace(latents={}))

    def end(self) -> None:
        """All its particles have come."""
        self._batches.append(join_particles(self._chunks))

    def result(self, opened: OpenPair) -> LogTerms:
        """The terms of all observations that came."""
        draws = self._batches
        columns = zip(*(draw[:3] for draw in draws), strict=True)
        prior, likelihood, guide = (torch.cat(terms, dim=1).double() for terms in columns)
        latents = {name: torch.cat([draw.latents[name] for draw in draws], dim=1) for name in draws[0].latents}
        terms = LogTerms(prior, likelihood, guide, opened.provenance, latents)
        return opened.whole(terms, ("log_prior", "log_likelihood", "log_guide", "latents"))
