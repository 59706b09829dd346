"""Building the model and the guide that settings describe."""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from bayes_vae.data import Data, require_fit
from bayes_vae.data.stored_rows import pieces
from bayes_vae.parts.compatibility import check_combination
from bayes_vae.parts.part import Part, class_at
from bayes_vae.parts.registry import find
from bayes_vae.settings import PairSettings
from bayes_vae.terms.memory import check_memory
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.whole_numbers import seed_number

__all__ = ["build_pair"]

NETWORKS = ("latent_dim", "hidden_dims", "activation", "network")
"""Settings that every class takes under the same name, where it takes them."""

PSEUDO_INPUT_RANGES = {"binary": "pixels", "gray": "pixels", "counts": "positive", "real": "real"}
"""Kind of observations → range of a VampPrior's pseudo-inputs."""


def build_pair(settings: PairSettings, data: Data, seed: int = 0) -> tuple[Any, Any]:
    """The model and the guide for a data set, the decoder started where the likelihood's mean is the data's.

    Args:
        settings: which model and guide, and the sizes and activation of their networks.
        data: gives the shape of an observation, the mean of the training observations and the number of classes.
        seed: of the initial weights.

    Raises:
        SettingsError: parts that cannot work together, or networks that do not fit the memory; the message says why.
        SupportError: data that the likelihood has no density for.
        DataError: a structure with labels, and data without.
    """
    check_combination(settings)
    structure, likelihood, prior, q = (
        find(kind, getattr(settings, kind)) for kind in ("structure", "likelihood", "prior", "guide")
    )
    require_fit(data, likelihood)
    _check_size(settings, data)
    with isolated_rng(derived_seed(seed_number("seed", seed), "initial weights")):
        parts = {part.kind: _choice(part, settings, data) for part in (likelihood, prior)}
        model = structure.cls(**_arguments(structure.cls, structure, settings, data, **parts))
        if structure.guide:
            own = class_at(structure.guide)
            guide = own(**_arguments(own, structure, settings, data))
        else:
            guide = q.cls(**_arguments(q.cls, q, settings, data, model=model))
            model.attach_guide(guide)
            first = torch.arange(min(len(data.train), settings.num_components))
            model.start_prior_at(data.train.observations(first))
        model.set_output_bias(data.train.mean())
    return model, guide


COPIES = 2 * 4 / 2
"""Of two networks, each number with its gradient and two of Adam's: all float32, where memory is told in float64."""


def _check_size(settings: PairSettings, data: Data) -> None:
    """Refuse networks that would not fit the memory before any of them is built: their largest layers alone."""
    pixels, latent, hidden = math.prod(data.data_shape), settings.latent_dim, settings.hidden_dims
    widths = (*hidden, latent) if settings.network == "conv" else (pixels, *hidden, latent)
    numbers = sum(math.prod(pair) for pair in pairwise(widths))
    if settings.guide == "full-covariance":
        numbers += widths[-2:][0] * latent**2 // 4  # of one of the two networks
    if settings.prior in ("mixture", "vamp"):
        numbers += settings.num_components * (pixels if settings.prior == "vamp" else latent)
    if settings.structure == "two-layer":
        numbers += sum(
            math.prod(pair) for pair in pairwise((latent, *settings.top_hidden_dims, settings.top_latent_dim))
        )
    sizes = f"latent_dim={latent} and hidden_dims={reprlib.repr(list(hidden))}"
    check_memory(int(COPIES * numbers), f"networks with {sizes}", torch.device("cpu"))


def _choice(part: Part, settings: PairSettings, data: Data) -> str | dict[str, Any]:
    """A likelihood or prior with its options, as a model takes it."""
    arguments = _arguments(part.cls, part, settings, data)
    options = {name: value for name, value in arguments.items() if name not in ("data_shape", "latent_dim")}
    return {"name": part.name, **options} if options else part.name


def _arguments(cls: type, part: Part, settings: PairSettings, data: Data, **given: Any) -> dict[str, Any]:
    """What a class of a part is built with: what is given, its options, the data; the others keep their defaults."""
    chosen = {name: name for name in NETWORKS} | {argument: setting for setting, argument in part.options.items()}
    arguments = {}
    for name in inspect.signature(cls).parameters:
        if name in given:
            arguments[name] = given[name]
        elif name in chosen and getattr(settings, chosen[name]) is not None:
            arguments[name] = getattr(settings, chosen[name])
        elif name in _FROM_DATA:
            arguments[name] = _FROM_DATA[name](data)
    return arguments


def _largest(data: Data, of: Callable[[Any], Any]) -> int:
    """The largest number in all three splits."""
    splits = (data.train, data.validation, data.test)
    return max(int(part.max()) for split in splits for part in pieces(of(split)))


def _largest_of_each(data: Data) -> list[float]:
    """The largest value of each number of an observation in all three splits, flattened."""
    parts = (part for split in (data.train, data.validation, data.test) for part in pieces(split.values))
    found: list[float] = torch.stack([part.flatten(1).amax(0).float() for part in parts]).amax(0).tolist()
    return found


_FROM_DATA: dict[str, Callable[[Data], Any]] = {
    "data_shape": lambda data: data.data_shape,
    "num_classes": lambda data: data.num_classes,
    "num_categories": lambda data: 1 + _largest(data, lambda split: split.values),
    "num_observations": lambda data: 1 + _largest(data, lambda split: split.index),
    "columns": lambda data: data.columns,
    "largest": lambda data: tuple(map(float, _largest_of_each(data))),
    "mask_input": lambda data: data.missing_share > 0,
    "values": lambda data: PSEUDO_INPUT_RANGES[data.observation_kind],
}
"""Argument of a class → how the data tell it, where no setting does."""
