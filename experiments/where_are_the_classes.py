"""Where are the classes in a VAE?

Nowhere, unless the model has a label: p(x, z) = p(z) p(x|z) says nothing of classes, and its prior is one round cloud.
Digits of one kind often lie together in it all the same, because they look alike, and so they do in the pixels. To ask
a model "which digit is this?" it needs a latent for the answer, and a few labels to name its values.

This script trains a VAE without labels and a semi-supervised one that sees 100 labels of 1,297, and compares how often
each names the class of a test image: the nearest of the 100 labelled images by pixels, the nearest by means of q(z|x),
a classifier trained on these 100 alone, and the label's own posterior q(y|x), trained on all. Beside them the nearest
by the z of the semi-supervised model, which is left with what y does not say: style.

The answer for the digits, three seeds: two in three by pixels, two in three by the VAE's codes, four in five or more by
q(y|x), which is no more than the classifier alone; and hardly better than chance by the z beside a label. Takes about
40 seconds on one core.
"""

from typing import Any

import torch
from torch import Tensor, nn

import bayes_vae as bv
from bayes_vae.data import Data, Split
from bayes_vae.data.classes import class_labels
from bayes_vae.experiments.study import fit, resolve_device
from bayes_vae.guides import AmortizedNormalGuide, SemiSupervisedGuide
from bayes_vae.models import VAE, SemiSupervisedVAE
from bayes_vae.networks.perceptron import mlp

EPOCHS, NUM_LABELLED, NUM_PARTICLES = 60, 100, 500
CLASSIFIER_STEPS, CLASSIFIER_RATE = 500, 3e-3
NETWORKS: dict[str, Any] = {"latent_dim": 8, "data_shape": (8, 8), "hidden_dims": (100,), "activation": "relu"}


def main(
    epochs: int = EPOCHS,
    num_labelled: int = NUM_LABELLED,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, float]:
    """Train both, then ask each for the class of the test images.

    Args:
        epochs: passes over the training images, for each of the two.
        num_labelled: training images whose label is seen.
        num_particles: draws from q for each test image, for the ELBO and log p(x).
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
    """
    where = resolve_device(device)
    data = bv.load_data("digits", policy="stochastic").with_visible_labels(num_labelled)
    torch.manual_seed(seed)
    vae = VAE(**NETWORKS), AmortizedNormalGuide(**NETWORKS)
    semi = SemiSupervisedVAE(num_classes=10, **NETWORKS), SemiSupervisedGuide(num_classes=10, **NETWORKS)
    pairs: dict[str, tuple[Any, Any]] = {"VAE": vae, "semi-supervised VAE": semi}
    for name, (model, guide) in pairs.items():
        print(f"training a {name} for {epochs} epochs")
        model.set_output_bias(data.train.mean())
        fit(model, guide, data, epochs=epochs, seed=seed, device=where)

    figures = {f"accuracy_{name}": value for name, value in accuracies(vae[1], semi[1], data, seed, where).items()}
    print(f"\nTest images whose class is named, of {len(data.test)}, from {num_labelled} labels:")
    for name, value in figures.items():
        print(f"  {LINES[name.removeprefix('accuracy_')]:<58} {value:6.1%}")

    print(f"\nIn nats for each test image, K = {num_particles}, seed {seed}; log p(x) is a lower bound:")
    x = data.test.observations(seed=seed, device=where)
    draws: dict[str, Any] = {"seed": seed, "index": data.test.index.to(where), "data_policy": data.policy}
    for name, (model, guide) in {"vae": vae, "semi_supervised": semi}.items():
        elbo = bv.elbo_terms(model, guide, x, num_particles, **draws).averages()["elbo"]
        evidence = bv.estimate_log_evidence(model, guide, x, num_particles, **draws).averages()["log_evidence"]
        print(f"  {name:<16} ELBO {elbo}   log p(x) {evidence}")
        figures |= {f"{name}_elbo": elbo.value, f"{name}_log_evidence": evidence.value}
    return figures


LINES = {
    "chance": "always the most frequent class",
    "pixels": "the nearest labelled image, by pixels",
    "vae_means": "the nearest labelled image, by the VAE's means of q(z|x)",
    "classifier_alone": "a classifier of the same size, trained on these alone",
    "label_posterior": "q(y|x) of the semi-supervised VAE",
    "style_means": "the nearest labelled image, by its means of q(z|x,y)",
}


@torch.no_grad()
def accuracies(
    vae_guide: AmortizedNormalGuide, semi_guide: SemiSupervisedGuide, data: Data, seed: int, device: torch.device
) -> dict[str, float]:
    """How often the class of a test image is named rightly, each way of asking by itself."""
    train, test = data.train, data.test
    seen = torch.arange(len(train)) if train.visible is None else train.visible.nonzero().flatten()
    labelled, x = train.observations(seen, seed=seed, device=device), test.observations(seed=seed, device=device)
    answers, truth = (class_labels(split.labels, "the experiment").to(device) for split in (train, test))
    answers = answers[seen.to(device)]

    def nearest(of_labelled: Tensor, of_test: Tensor) -> Tensor:
        return answers[torch.cdist(of_test.flatten(1), of_labelled.flatten(1)).argmin(1)]

    def means(batch: Tensor) -> Tensor:
        return vae_guide.variational_posterior(batch).mean

    def style(batch: Tensor) -> Tensor:
        return semi_guide.variational_posterior(batch, semi_guide.classify(batch).argmax(-1)).mean

    named = {
        "chance": answers.new_full(truth.shape, int(truth.mode().values)),
        "pixels": nearest(labelled, x),
        "vae_means": nearest(means(labelled), means(x)),
        "classifier_alone": classifier_of(train, seen, answers, seed)(x.flatten(1)).argmax(-1),
        "label_posterior": semi_guide.classify(x).argmax(-1),
        "style_means": nearest(style(labelled), style(x)),
    }
    return {name: float((found == truth).double().mean()) for name, found in named.items()}


@torch.enable_grad()
def classifier_of(train: Split, seen: Tensor, answers: Tensor, seed: int) -> nn.Module:
    """A network like that of q(y|x), which knows of no other images: Adam on all labelled ones, binarized anew."""
    torch.manual_seed(seed)
    classifier = mlp([64, *NETWORKS["hidden_dims"], 10], NETWORKS["activation"]).to(answers.device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=CLASSIFIER_RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(CLASSIFIER_STEPS):
        x = train.training_batch(seen, generator).flatten(1).to(answers.device)
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(x), answers).backward()
        optimizer.step()
    return classifier


if __name__ == "__main__":
    main()
