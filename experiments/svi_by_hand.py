"""The whole idea as a visible loop: train a VAE with Pyro's own SVI, then read the terms of Bayes' rule off it.

A VAE is one model p(x, z), one guide q(z|x) and one objective, the ELBO. SVI (stochastic variational inference) takes
one gradient step on the ELBO for each batch. The ELBO that comes out lies below log p(x).

Nothing is hidden here, and the script ends with the question: how far below log p(x) is the ELBO that was trained?
Takes about 15 seconds on one core; ``--data mnist`` about five minutes.
"""

from typing import Any, Literal

import pyro
import torch
from pyro.infer import SVI
from pyro.optim import Adam  # type: ignore[attr-defined]

import bayes_vae as bv
from bayes_vae.experiments.study import print_answer, resolve_device
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE

EPOCHS = {"digits": 40, "mnist": 10}
BATCH_SIZE, LEARNING_RATE, NUM_OBSERVATIONS, NUM_PARTICLES = 100, 1e-3, 500, 1000


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, float]:
    """Train, then measure.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 40 for the digits and 10 for MNIST when not given.
        num_particles: draws from q for each test image.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    pyro.set_rng_seed(seed)
    images = bv.load_data(data, policy="stochastic")  # pixels become zeros and ones, drawn anew at each use
    networks: dict[str, Any] = {"data_shape": images.data_shape, "hidden_dims": (200, 200), "activation": "tanh"}
    model, guide = VAE(8, **networks).to(where), AmortizedNormalGuide(8, **networks).to(where)
    svi = SVI(model, guide, Adam({"lr": LEARNING_RATE}), loss=bv.Elbo())

    generator = torch.Generator().manual_seed(seed)
    for epoch in range(1, (epochs or EPOCHS[data]) + 1):
        negative_elbo = 0.0
        for rows in torch.randperm(len(images.train), generator=generator).split(BATCH_SIZE):
            negative_elbo += svi.step(images.train.training_batch(rows, generator).to(where))
        print(f"epoch {epoch:3d}   training ELBO {-negative_elbo / len(images.train):8.3f} nats per image")

    first = slice(NUM_OBSERVATIONS)
    x = images.test.observations(first, seed=seed, device=where)
    draws: dict[str, Any] = {"seed": seed, "index": images.test.index[first].to(where), "data_policy": images.policy}
    terms = bv.elbo_terms(model, guide, x, num_particles, **draws).averages()
    evidence = bv.estimate_log_evidence(model, guide, x, num_particles, **draws).averages()["log_evidence"]
    print(f"\nOn {len(x)} test images, in nats each: K = {num_particles}, KL weight 1, {images.policy}, seed {seed}")
    for term in (*terms.values(), evidence):
        print(f"  {term.name:<24} {term}")

    gap = evidence.value - terms["elbo"].value
    print(f"\nThe ELBO lies {gap:.2f} nats below log p(x), or more: {num_particles} draws give a lower bound on it.")
    return {**{name: term.value for name, term in terms.items()}, "log_evidence": evidence.value, "gap": gap}


if __name__ == "__main__":
    main()
