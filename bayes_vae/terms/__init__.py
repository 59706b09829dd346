"""The terms of Bayes' rule, read off any pair of Pyro programs.

One interface, two implementations: reading the distributions that a pair exposes, and tracing its programs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.terms.containers import LogTerms, Provenance, join_particles
from bayes_vae.terms.program import Program, as_observations, undisturbed
from bayes_vae.terms.stream import Progress, Source, as_index, provenance, read_pair, stream

__all__ = ["LogTerms", "Progress", "Provenance", "Source", "log_terms"]


def log_terms(
    model: Program,
    guide: Program,
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 1,
    *,
    seed: int = 0,
    index: Tensor | None = None,
    source: Source = "auto",
    keep_latents: bool = False,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> LogTerms:
    r"""Log densities of prior, likelihood and guide at draws from the guide.

    .. math:: z_{kn} \sim q(z \mid x_n): \quad \log p(z_{kn}), \; \log p(x_n \mid z_{kn}), \; \log q(z_{kn} \mid x_n)

    Args:
        model: Pyro program of p(x, z), called as ``model(x)``.
        guide: Pyro program of q(z given x), called as ``guide(x)``.
        x: observations, shape (N, *event), or a tuple of tensors passed positionally.
        num_particles: K.
        seed: of every draw; torch's own random state stays as it was.
        index: the observations' indices, which key their noise; 0…N−1 when None.
        source: "auto", "distributions" or "traces".
        keep_latents: store the draws too.
        batch_size, chunk_size: observations and particles at once; they change no result beyond rounding.
        data_policy: how pixels became observations, stored in the result.
        progress: called with (observations done, N).

    Returns:
        :class:`LogTerms`, each term of shape (K, N) in float64, nats.

    Raises:
        ProgramError: the terms of this pair cannot be read; the message names the site.
        SupportError: observations outside the likelihood's support, such as gray pixels under a Bernoulli.
        NumericalError: a term is NaN, or infinite where it cannot be.
    """
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair = read_pair(model, guide, parts, indices, source)
        draws = [
            join_particles([draw if keep_latents else draw._replace(latents={}) for draw in batch.draws()])
            for batch in stream(pair, parts, indices, num_particles, seed, batch_size, chunk_size, progress)
        ]
    prior, likelihood, log_guide = (
        torch.cat(terms, dim=1).double() for terms in zip(*(draw[:3] for draw in draws), strict=True)
    )
    latents = {name: torch.cat([draw.latents[name] for draw in draws], dim=1) for name in draws[0].latents}
    return LogTerms(prior, likelihood, log_guide, provenance(pair, seed, data_policy), latents)
