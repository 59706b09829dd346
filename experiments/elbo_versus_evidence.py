"""How far below log p(x) is the ELBO, for which images, and why?

The ELBO is not log p(x): it falls short of it by KL(q(z|x) ‖ p(z|x)), the inference gap, image by image. This script
trains a VAE, anneals log p(x), and splits the gap of each test image in two: what no normal with independent dimensions
could mend (approximation: the family of q), and what the one encoder for all images loses beside the best such normal
(amortization). Then it asks which images have the large gaps: those with more ink, or those that the model finds
unlikely?

The answer for the digits: half a nat of 24, family and encoder alike; and the gap is larger for unlikely images, the
encoder's part more so than the family's. Ink has no part in it. Takes about 45 seconds on one core; ``--data mnist``
about four minutes.
"""

from typing import Any, Literal

import torch
from torch import Tensor

import bayes_vae as bv
from bayes_vae.plots.elbo_and_evidence import elbo_and_evidence_figure
from bayes_vae.plots.writing import write_figure
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import with_error
from bayes_vae.training import build_pair

NETWORKS = {
    "digits": PairSettings(latent_dim=8, hidden_dims=(200, 200)),
    "mnist": PairSettings(latent_dim=20, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 100, "mnist": 20}
NUM_OBSERVATIONS, NUM_PARTICLES, NUM_TEMPERATURES = 200, 1000, 100


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    num_temperatures: int = NUM_TEMPERATURES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train, measure the gap of each test image, and say which images have the large ones.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 100 for the digits and 20 for MNIST when not given.
        num_observations: test images.
        num_particles: draws from q for each ELBO.
        num_temperatures: steps of annealing.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    data_set = bv.load_data(data, policy="static")
    model, guide = build_pair(NETWORKS[data], data_set, seed)
    bv.fit(model, guide, data_set, epochs=epochs or EPOCHS[data], seed=seed, device=device, interruptible=False)

    where = next(model.parameters()).device
    rows = range(min(num_observations, len(data_set.test)))
    x, index = data_set.test.observations(rows, device=where), data_set.test.index[list(rows)].to(where)
    about: dict[str, Any] = {"index": index, "seed": seed, "data_policy": data_set.policy}
    gap = bv.inference_gap(model, guide, x, num_particles, num_temperatures=num_temperatures, **about)

    print(f"\nOf {len(x)} test images, nats each; K = {num_particles}, {num_temperatures} temperatures, seed {seed}:")
    means = gap.averages()
    for name in ("log_evidence", "elbo", "inference_gap", "approximation_gap", "amortization_gap"):
        print(f"  {name:<18} {means[name]}")

    unlikely, ink = -gap.log_evidence, x.flatten(1).sum(1)
    with_unlikely, with_ink = (correlation(gap.inference_gap, other) for other in (unlikely, ink))
    print(f"\nRank correlation of the gap with −log p(x): {with_error(*with_unlikely)}")
    print(f"Rank correlation of the gap with ink:        {with_error(*with_ink)}")
    for part in ("amortization", "approximation"):
        found = correlation(getattr(gap, f"{part}_gap"), unlikely)
        print(f"  of the {part} gap with −log p(x): {with_error(*found)}")
    share = means["amortization_gap"].value / means["inference_gap"].value
    print(answer(means["inference_gap"].value, means["inference_gap"].total_error, share, with_unlikely, with_ink))
    for warning in gap.failures:
        print(f"note: {warning}")

    if out is not None:
        print(f"Figure: {write_figure(elbo_and_evidence_figure(gap, x.cpu()), out, 'elbo_versus_evidence')}")
    return {
        **{name: figure.value for name, figure in means.items()},
        "share_of_amortization": share,
        "correlation_with_unlikely": with_unlikely[0],
        "correlation_with_ink": with_ink[0],
    }


def correlation(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Spearman's rank correlation of two numbers for each image, and its standard error, (1 − r²) / √(N − 1).

    Equal numbers share the mean of their ranks; a constant tells nothing, 0 ± 1 / √(N − 1).
    """
    pairs = [values.double().cpu()[:, None] - values.double().cpu() for values in (first, second)]
    ranks = [(pair > 0).sum(1) + (pair == 0).sum(1) / 2 for pair in pairs]
    r = float(torch.corrcoef(torch.stack(ranks))[0, 1]) if all(float(values.std()) > 0 for values in ranks) else 0.0
    return r, (1 - r * r) / (len(first) - 1) ** 0.5


def answer(
    gap: float, error: float, share: float, with_unlikely: tuple[float, float], with_ink: tuple[float, float]
) -> str:
    """The sentence that the numbers bear out.

    Args:
        gap, error: mean inference gap and its standard error.
        share: of the amortization gap in it.
        with_unlikely, with_ink: rank correlations of the gap with −log p(x) and with ink, each with its error.
    """
    if gap < 3 * error:
        return f"The ELBO is log p(x) as far as {error:.2f} nats can tell: there is no gap to explain."
    whose = (
        "the encoder's" if share > 0.6 else "the family's" if share < 0.4 else "the family's and the encoder's alike"
    )
    likelihood = _grows_with(with_unlikely, "the less likely the image is", "the more likely the image is")
    ink = _grows_with(with_ink, "the more ink it has", "the less ink it has")
    causes = [words for words in (likelihood, ink) if words]
    which = f"it is larger {' and '.join(causes)}" if causes else "neither likelihood nor ink tells where it is large"
    short = (
        f"The ELBO falls {with_error(gap, error)} nats short of log p(x), {share:.0%} of it amortization, so {whose}"
    )
    return f"{short}; {which}."


def _grows_with(correlated: tuple[float, float], more: str, less: str) -> str:
    """Which way a correlation goes, where it is more than three of its errors from 0."""
    r, error = correlated
    return "" if abs(r) <= 3 * error else more if r > 0 else less


if __name__ == "__main__":
    main(out="figures")
