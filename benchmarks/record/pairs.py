"""The pairs whose figures are recorded: ours with every part, and programs written elsewhere, with fixed weights."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from foreign import (
    ConvolutionalPair,
    DiscretePair,
    GammaPair,
    MaskedPair,
    PyroExample,
    decoder_network,
    encoder_network,
)
from torch import Tensor, nn

import bayes_vae as bv
from bayes_vae import guides, models

SHAPE, N, ROWS, CLASSES = (3, 3), 6, 240, 3
NETWORKS: dict[str, Any] = {"latent_dim": 2, "data_shape": SHAPE, "hidden_dims": (6,)}
LABELLED = {**NETWORKS, "num_classes": CLASSES}
LAYERED = {**NETWORKS, "top_latent_dim": 1, "top_hidden_dims": (4,)}

STRETCH = 1.6
"""Factor on initial weights, so that the decoder depends on z as a trained one does."""


@dataclass(frozen=True)
class Case:
    """A pair and what its estimators are called with.

    Attributes:
        model, guide: Pyro programs.
        x: observations, or a tuple of tensors.
        options: keywords of the estimators: index, source.
        data: kind of the data set that the pair can be trained on: "binary", "labelled", "gray", …; empty for none.
    """

    model: Any
    guide: Any
    x: Tensor | tuple[Tensor, ...]
    options: dict[str, Any]
    data: str


Made = tuple[Any, Any]


def vae(guide: type[nn.Module] = guides.AmortizedNormalGuide, **parts: Any) -> Made:
    """A VAE with these parts and an amortized guide of this class."""
    model = models.VAE(**NETWORKS, **parts)
    made = guide(model, **NETWORKS) if guide is guides.SemiAmortizedGuide else guide(**NETWORKS)
    model.attach_guide(made)
    model.start_prior_at(binary()[:3].float())
    return model, made


def linear_gaussian(guide: type[nn.Module]) -> Made:
    """The model whose evidence is known, with the exact guide or an encoder."""
    model = models.LinearGaussianVAE(latent_dim=2, data_shape=SHAPE, noise_scale=0.7)
    return model, guide(model) if guide is guides.ExactLinearGaussianGuide else guide(**NETWORKS)


def prior_guide() -> Made:
    """q is the prior."""
    model = models.VAE(**NETWORKS, prior="learned-normal")
    return model, guides.PriorGuide(model)


def networks(**options: Any) -> Made:
    """Plain torch networks as a pair."""
    return bv.pair_from_networks(
        encoder_network(),
        decoder_network(),
        latent_dim=2,
        data_shape=SHAPE,
        encoder_output="loc-and-log-variance",
        decoder_output="logits",
        split=True,
        input_shape=(9,),
        **options,
    )


def methods(owner: nn.Module) -> Made:
    """A module whose model and guide are methods."""
    return owner.model, owner.guide


PAIRS: dict[str, tuple[Callable[[], Made], str]] = {
    "exposed": (vae, "binary"),
    "traced": (vae, "binary"),
    "full-covariance": (lambda: vae(guides.FullCovarianceGuide), "binary"),
    "low-rank": (lambda: vae(guides.LowRankGuide), "binary"),
    "semi-amortized": (lambda: vae(guides.SemiAmortizedGuide), "binary"),
    "spline-flow": (lambda: vae(guides.SplineFlowGuide), "binary"),
    "autoregressive-flow": (lambda: vae(guides.AutoregressiveFlowGuide), "binary"),
    "prior-guide": (prior_guide, "binary"),
    "local": (lambda: (models.VAE(**NETWORKS), guides.LocalNormalGuide(2, ROWS)), "binary"),
    "mixture-prior": (lambda: vae(prior={"name": "mixture", "num_components": 3}), "binary"),
    "vamp-prior": (lambda: vae(prior={"name": "vamp", "num_components": 3}), "binary"),
    "flow-prior": (lambda: vae(prior={"name": "flow", "num_transforms": 1}), "binary"),
    "two-layer": (lambda: (models.TwoLayerVAE(**LAYERED), guides.TwoLayerNormalGuide(**LAYERED)), "binary"),
    "conditional": (lambda: (models.ConditionalVAE(**LABELLED), guides.ConditionalNormalGuide(**LABELLED)), "labelled"),
    "semi-supervised": (
        lambda: (models.SemiSupervisedVAE(**LABELLED), guides.SemiSupervisedGuide(**LABELLED)),
        "labelled",
    ),
    "linear-gaussian": (lambda: linear_gaussian(guides.AmortizedNormalGuide), "real"),
    "exact-guide": (lambda: linear_gaussian(guides.ExactLinearGaussianGuide), "real"),
    "normal": (lambda: vae(likelihood={"name": "normal", "noise": "shared"}), "gray"),
    "continuous-bernoulli": (lambda: vae(likelihood="continuous-bernoulli"), "gray"),
    "discretized-logistic": (lambda: vae(likelihood="discretized-logistic"), "gray"),
    "categorical": (lambda: vae(likelihood={"name": "categorical", "num_categories": 4}), "counts"),
    "negative-binomial": (lambda: vae(likelihood="negative-binomial"), "counts"),
    "networks": (networks, "binary"),
    "pyro-vae": (lambda: methods(PyroExample()), "binary"),
    "own-gamma": (lambda: methods(GammaPair()), "binary"),
    "own-convolutional": (lambda: methods(ConvolutionalPair()), "binary"),
    "own-masked": (lambda: methods(MaskedPair()), ""),
    "own-discrete": (lambda: methods(DiscretePair()), ""),
    "float32": (vae, "binary"),
}
"""Name → how the pair is made, and what it is trained on."""


def make(name: str, dtype: torch.dtype | None = None) -> Case:
    """A pair with the same weights each time.

    Args:
        name: one of ``PAIRS``.
        dtype: of weights and observations; float64 when None, and float32 for "float32".
    """
    build, data = PAIRS[name]
    dtype = dtype or (torch.float32 if name == "float32" else torch.float64)
    torch.manual_seed(zlib.crc32(("exposed" if name in ("traced", "float32") else name).encode()))
    model, guide = build()
    for module in modules(model, guide):
        module.to(dtype)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(STRETCH)
    x = values(data).to(dtype)
    options: dict[str, Any] = {"source": "traces"} if name == "traced" else {}
    if name == "local":
        options = {"index": torch.tensor([7, 0, 31, 5, 2, 11])}
        guide.fit_to(model, x, index=options["index"], num_steps=12)
    inputs: Tensor | tuple[Tensor, ...] = x
    if name == "conditional":
        inputs = (x, torch.arange(N) % CLASSES)
    if name == "own-masked":
        inputs = (x, torch.rand(N, 9, generator=torch.Generator().manual_seed(5)) < 0.7)
    return Case(model, guide, inputs, options, data)


def modules(*programs: Any) -> list[nn.Module]:
    """The modules behind programs, each once."""
    owners = [getattr(program, "__self__", program) for program in programs]
    return [owner for place, owner in enumerate(owners) if all(owner is not other for other in owners[:place])]


def binary(count: int = N) -> Tensor:
    """Zeros and ones that follow three patterns, a fifth of them wrong, shape (count, 3, 3)."""
    generator = torch.Generator().manual_seed(1)
    patterns = torch.rand(CLASSES, *SHAPE, generator=generator) < 0.5
    wrong = torch.rand(count, *SHAPE, generator=generator) < 0.2
    return patterns[torch.arange(count) % CLASSES] ^ wrong


def values(kind: str, count: int = N) -> Tensor:
    """Observations of a kind, shape (count, 3, 3), float64."""
    ones = binary(count).double()
    noise = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    if kind == "gray":
        return ((0.6 * ones + 0.4 * noise) * 255).round() / 255
    if kind == "counts":
        return (2 * ones + 1.9 * noise).floor()
    return ones + noise if kind == "real" else ones


def data_set(kind: str) -> Any:
    """A data set of 240 rows of a kind; "stochastic" is gray pixels that are binarized anew at each use."""
    rows = values("gray" if kind == "stochastic" else kind, ROWS)
    labels = torch.arange(ROWS) % CLASSES
    if kind in ("gray", "stochastic"):
        pixels = (rows * 255).round().to(torch.uint8)
        return bv.load_data(pixels, policy="none" if kind == "gray" else "stochastic", labels=labels)
    if kind == "real":
        return bv.load_data(rows.float(), kind="real", labels=labels)
    if kind == "counts":
        return bv.load_data(rows.to(torch.int32), kind="counts", labels=labels)
    return bv.load_data(rows.to(torch.uint8), kind="binary", policy="none", labels=labels)


DOZEN = (
    *("exposed", "traced", "spline-flow", "local", "mixture-prior", "vamp-prior", "two-layer", "conditional"),
    *("semi-supervised", "exact-guide", "networks", "pyro-vae", "own-gamma", "own-masked", "own-discrete"),
)
"""Those that every estimator and objective runs on; the others differ from them in one part, and are spared a few."""
