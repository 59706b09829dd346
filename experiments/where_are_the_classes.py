"""Where are the classes in a VAE?

Nowhere, unless the model has a label: p(x, z) = p(z) p(x|z) mentions no class, and its prior is one round cloud. Digits
of one kind often lie together in it, as they do in the pixels, because they look alike. In the pictures the classes are
your colours. A model that is to answer "which digit is this?" needs a latent for the answer, and a few labels to name
its values.

On the digits, three seeds: two in three test images are named rightly by pixels and by the VAE's codes; four in five or
more by q(y|x) of a model with a label, which is no more than by a classifier alone; and hardly more than by chance by
the z beside a label. Takes about 40 seconds on one core.

The script trains a VAE without labels and a semi-supervised one that sees 100 labels of 1,297, and compares how often
each of these names the class of a test image rightly: the nearest of the 100 labelled images by pixels, the nearest by
means of q(z|x), a classifier trained on these 100 alone, and the label's own posterior q(y|x), trained on all. Last
comes the nearest by the z of the semi-supervised model, which is left with what y does not say: style.
"""

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import bayes_vae as bv
from bayes_vae.data import Data, Split
from bayes_vae.data.classes import class_labels
from bayes_vae.experiments.study import fit, print_answer, resolve_device, write_figure
from bayes_vae.guides import AmortizedNormalGuide, SemiSupervisedGuide
from bayes_vae.models import VAE, SemiSupervisedVAE
from bayes_vae.networks.perceptron import mlp
from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.latents import draw_latent_means
from bayes_vae.plots.style import caption, new_figure, plain_axes

EPOCHS, NUM_LABELLED, NUM_PARTICLES = 60, 100, 500
CLASSIFIER_STEPS, CLASSIFIER_RATE = 500, 3e-3
NETWORKS: dict[str, Any] = {"latent_dim": 8, "data_shape": (8, 8), "hidden_dims": (100,), "activation": "relu"}


def main(
    epochs: int = EPOCHS,
    num_labelled: int = NUM_LABELLED,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train both, then ask each for the class of the test images.

    Args:
        epochs: passes over the training images, for each of the two.
        num_labelled: training images whose label is seen.
        num_particles: draws from q for each test image, for the ELBO and log p(x).
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
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
    named = {name.removeprefix("accuracy_"): value for name, value in figures.items() if name.startswith("accuracy_")}
    print(f"\n{answer(named, len(data.test))}")

    if out is not None:
        with torch.no_grad():
            means = vae[1].variational_posterior(x).mean
        write_figure(draw(named, means.cpu(), data, num_labelled), out, "where_are_the_classes")
    return figures


LINES = {
    "chance": "always the most frequent class",
    "pixels": "the nearest labelled image, by pixels",
    "vae_means": "the nearest labelled image, by the VAE's means of q(z|x)",
    "classifier_alone": "a classifier of the same size, trained on these alone",
    "label_posterior": "q(y|x) of the semi-supervised VAE",
    "style_means": "the nearest labelled image, by its means of q(z|x,y)",
}


def answer(named: dict[str, float], count: int) -> str:
    """The sentence that the numbers bear out.

    Args:
        named: way of asking → share of the test images whose class it names.
        count: test images.
    """

    def beats(one: str, other: str) -> int:
        """1 where the first is better by three standard errors, −1 where it is worse, 0 where neither."""
        variance = sum(named[name] * (1 - named[name]) / count for name in (one, other))
        difference = named[one] - named[other]
        return 0 if abs(difference) <= 3 * variance**0.5 else 1 if difference > 0 else -1

    def share(name: str) -> str:
        return f"{100 * named[name]:.0f} %"

    codes = {1: "more than", 0: "as much as", -1: "less than"}[beats("vae_means", "pixels")]
    label = {1: "more often", 0: "as often", -1: "less often"}[beats("label_posterior", "vae_means")]
    than = "as" if label == "as often" else "than"
    alone = {1: "better than", 0: "no better than", -1: "worse than"}[beats("label_posterior", "classifier_alone")]
    style = "hardly more often than chance" if named["style_means"] < 2 * named["chance"] else "well above chance"
    return (
        f"The codes of the VAE know {codes} the pixels about the class: {share('vae_means')} against "
        f"{share('pixels')}. A model with a latent label names it {label} {than} they do, "
        f"{share('label_posterior')}, {alone} a classifier alone ({share('classifier_alone')}). The z beside the "
        f"label names it {style}, {share('style_means')} (chance: {share('chance')})."
    )


def draw(named: dict[str, float], means: Tensor, data: Data, num_labelled: int) -> Figure:
    """The VAE's codes without and with your colours, and how often each way of asking names the class."""
    words = f"{num_labelled} labels of {len(data.train):,} · 8 latent dimensions · errors over the images"
    figure = new_figure(11.4, 3.5, "Where are the classes?", caption("0", len(means), data.policy, words), space=0.04)
    bare, coloured, asked = figure.subplots(1, 3, width_ratios=[1, 1.15, 1])
    labels = torch.as_tensor(data.test.labels)
    draw_latent_means(bare, means)
    draw_latent_means(coloured, means, labels)
    for axes, title in ((bare, "what the VAE knows: a cloud"), (coloured, "your colours, never used in training")):
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="first principal component", ylabel="second principal component")
    shares = [named[name] for name in LINES]
    errors = [(share * (1 - share) / len(means)) ** 0.5 for share in shares]
    asked.barh(range(len(LINES)), shares, xerr=errors, height=0.5, color=COLOURS["variational_posterior"])
    for row, words in enumerate(LINES.values()):
        asked.text(0.0, row - 0.3, words, fontsize=8, va="bottom")
    asked.set(xlim=(0, 1), ylim=(len(LINES) - 0.6, -0.9), yticks=[], xlabel="test images whose class is named")
    asked.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    plain_axes(asked)
    return figure


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
    main(out="figures")
