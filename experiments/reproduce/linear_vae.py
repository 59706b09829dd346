"""Does the linear VAE find probabilistic PCA, and does its ELBO add maxima that the evidence has not?

With a linear decoder and normal noise everything is known: the best evidence is that of probabilistic PCA, and a guide
of independent dimensions loses nothing there. From every start the ELBO ends at that evidence, with the principal
directions of the data as the columns of its weight. Directions with less variance than the noise are given up, by the
evidence as by the ELBO.

With the eigenvalues λ of the covariance of the data the largest mean of log p(x) is

    −½ (P log 2π + Σ_{i ≤ D} log λ_i + (P − D) log σ² + P),    σ² the mean of the other λ;

for a fixed σ a direction is used if λ_i > σ², and the latent dimensions beyond are pruned: q(z given x) = p(z) there.
Given W and σ the best guide has the exact posterior's mean and the deviations (1 + |w_i|²/σ²)^(−½), and the ELBO has no
other maximum over guides. So only W and σ are searched, by L-BFGS from random starts. The figures are the
library's own, at the end of each search. Takes about 20 seconds on one core.

Reference: Tipping, Bishop (1999), "Probabilistic principal component analysis", eqs. 7 and 8; Lucas, Tucker, Grosse,
Norouzi (2019), "Don't blame the ELBO! A linear VAE perspective on posterior collapse", theorem 1 and corollary 1.
"""

import math
from typing import NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor, nn

import bayes_vae as bv
from bayes_vae.distributions import diagonal_normal
from bayes_vae.experiments.reproduce.results import Figure, print_figures, write_results
from bayes_vae.experiments.study import print_answer
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE

LATENT_DIM, NUM_STARTS, TOLERANCE = 8, 5, 1e-3

UNUSED = 0.02
"""Nats of KL below which a latent dimension counts as pruned, as in a diagnosis."""


class LinearGuide(SingleLatentGuide):
    """q(z given x) = N(V (x − b), diag s²), with one s for all x."""

    def __init__(self, weight: Tensor, centre: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.weight, self.centre, self.scale = (nn.Parameter(part) for part in (weight, centre, scale))

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x)."""
        loc = (x - self.centre) @ self.weight.T
        return diagonal_normal(loc, self.scale.expand_as(loc))


class End(NamedTuple):
    """Where a search ended, by the library's own estimators: means over the data, nats.

    Attributes:
        elbo, log_evidence: of all rows.
        noise: σ.
        angle: the largest sine between a column of W that is used and the nearest principal direction.
        used: latent dimensions with a KL.
    """

    elbo: float
    log_evidence: float
    noise: float
    angle: float
    used: int


def main(
    latent_dim: int = LATENT_DIM, num_starts: int = NUM_STARTS, seed: int = 0, results: str | None = None
) -> dict[str, float]:
    """Maximize the exact ELBO from several starts, and compare with the closed form of probabilistic PCA.

    Args:
        latent_dim: D.
        num_starts: random weights to start from.
        seed: of the first start; the others follow.
        results: a JSON file for the results; none is written when not given.
    """
    print_answer(__doc__)
    x = bv.load_data("digits", policy="none").train.observations().flatten(1).double()
    covariance = torch.cov(x.T, correction=0)
    eigenvalues, directions = torch.linalg.eigh(covariance)
    eigenvalues, directions = eigenvalues.flip(0).clamp(min=0), directions.flip(1)
    between = float(eigenvalues[latent_dim // 2 - 1 : latent_dim // 2 + 1].log().mean().exp().sqrt())
    found: list[Figure] = []
    for name, noise in (("σ learned", None), (f"σ fixed at {between:.3f}", between)):
        best, used = best_evidence(eigenvalues, latent_dim, noise)
        searches = [maximum(covariance, latent_dim, noise, seed + start) for start in range(num_starts)]
        found += figures(name, [judged(x, *search, directions[:, :used]) for search in searches], best, used)
        if noise is None:
            free = float(eigenvalues[latent_dim:].mean().sqrt())
            found.append(Figure(f"{name}: σ, first start", float(searches[0][1]), free))
    print_figures(found)
    print(f"\n{answer(found)}")
    settings = {"latent_dim": latent_dim, "num_starts": num_starts, "seed": seed, "num_observations": len(x)}
    write_results(results, "linear_vae", settings, found)
    return {figure.name: figure.value for figure in found}


def best_evidence(eigenvalues: Tensor, latent_dim: int, noise: float | None) -> tuple[float, int]:
    """The largest mean log p(x) of probabilistic PCA, nats, and how many directions it uses.

    Args:
        eigenvalues: of the covariance of the data, largest first.
        latent_dim: D.
        noise: σ where it is fixed; None where it is the best one.
    """
    variance = eigenvalues[latent_dim:].mean() if noise is None else torch.tensor(noise**2, dtype=torch.float64)
    modelled = torch.cat([eigenvalues[:latent_dim].maximum(variance), variance.expand(len(eigenvalues) - latent_dim)])
    evidence = -0.5 * (math.log(2 * math.pi) + modelled.log() + eigenvalues / modelled).sum()
    return float(evidence), int((modelled > variance).sum())


def maximum(covariance: Tensor, latent_dim: int, noise: float | None, seed: int) -> tuple[Tensor, Tensor]:
    """W and σ at which the ELBO under the best guide of independent dimensions ends from one random start."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(len(covariance), latent_dim, generator=generator, dtype=torch.float64) / latent_dim**0.5
    log_scale = torch.tensor(math.log(0.5 if noise is None else noise), dtype=torch.float64)
    parameters = [weight.requires_grad_(), log_scale.requires_grad_(noise is None)]
    optimizer = torch.optim.LBFGS(
        [parameter for parameter in parameters if parameter.requires_grad],
        max_iter=5000,
        max_eval=10_000,
        history_size=100,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -elbo_of_best_guide(covariance, weight, log_scale)
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), log_scale.detach().exp()


def elbo_of_best_guide(covariance: Tensor, weight: Tensor, log_scale: Tensor) -> Tensor:
    r"""Mean ELBO of all rows under the best guide of independent dimensions, by their covariance S alone.

    .. math:: -\tfrac12 \big(P \log 2\pi\sigma^2 + \log |M| + \operatorname{tr}(S C^{-1})\big)
        - \tfrac12 \big(\sum_i \log M_{ii} - \log |M|\big), \quad M = I + W^\top W / \sigma^2, \;
        C = W W^\top + \sigma^2 I

    The second term is KL(q to the posterior): of all normals with independent dimensions those with the precisions
    M_ii are closest to the one with the precision M.
    """
    variance = (2 * log_scale).exp()
    precision = torch.eye(weight.shape[1]).to(weight) + weight.T @ weight / variance
    explained = torch.linalg.solve(precision, weight.T @ covariance @ weight).trace() / variance
    distance = (covariance.trace() - explained) / variance
    constant = len(covariance) * (math.log(2 * math.pi) + 2 * log_scale)
    elbo: Tensor = -0.5 * (constant + distance + precision.diagonal().log().sum())
    return elbo


def judged(x: Tensor, weight: Tensor, noise: Tensor, directions: Tensor) -> End:
    """The pair with these weights and its best guide, by the library's own estimators."""
    model = LinearGaussianVAE(weight.shape[1], x.shape[1:]).double()
    model.load_state_dict({"weight": weight, "bias": x.mean(0), "log_scale": noise.log()})
    precision = torch.eye(weight.shape[1]).to(weight) + weight.T @ weight / noise**2
    means = torch.linalg.solve(precision, weight.T / noise**2)
    guide = LinearGuide(means, x.mean(0), precision.diagonal().rsqrt())
    with torch.no_grad():
        kl = bv.elbo_terms(model, guide, x, 1).kl_per_dimension.mean(0)
        elbo = model.elbo(x, guide.variational_posterior(x)).mean()
        log_evidence = model.log_evidence(x).mean()
    in_use = kl > UNUSED
    cosine = (weight / weight.norm(dim=0))[:, in_use].T @ directions
    angle = (1 - cosine.abs().amax(1).square()).clamp(min=0).sqrt().max()
    return End(float(elbo), float(log_evidence), float(noise), float(angle), int(in_use.sum()))


def figures(name: str, ends: list[End], best: float, used: int) -> list[Figure]:
    """What the starts ended at, the worst of each."""
    return [
        Figure(f"{name}: log p(x), worst start", min(end.log_evidence for end in ends), best),
        Figure(f"{name}: best log p(x) less ELBO, worst start", max(best - end.elbo for end in ends), 0.0),
        Figure(f"{name}: log p(x) less ELBO, worst start", max(end.log_evidence - end.elbo for end in ends), 0.0),
        Figure(f"{name}: sine of the angle to the principal directions, worst", max(e.angle for e in ends), 0.0),
        Figure(f"{name}: latent dimensions in use, most", float(max(end.used for end in ends)), float(used)),
        Figure(f"{name}: latent dimensions in use, fewest", float(min(end.used for end in ends)), float(used)),
    ]


def answer(found: list[Figure]) -> str:
    """The sentence that the numbers bear out."""
    worst = max(abs(figure.value) for figure in found if "best log p(x) less ELBO" in figure.name)
    verdict = "no start ended in a worse maximum" if worst < TOLERANCE else "a start ended elsewhere"
    return f"From every start the ELBO ends within {worst:.1e} nats of the best log p(x): {verdict}."


if __name__ == "__main__":
    main()
