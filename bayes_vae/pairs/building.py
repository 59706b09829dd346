"""Building the model and the guide that settings describe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bayes_vae.data import Data, require_fit
from bayes_vae.parts.compatibility import check_combination
from bayes_vae.parts.part import Part, PartKind, class_at
from bayes_vae.parts.registry import find
from bayes_vae.settings import PairSettings
from bayes_vae.terms.randomness import derived_seed, isolated_rng

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
        SettingsError: parts that cannot work together; the message says why.
        SupportError: data that the likelihood has no density for.
        DataError: a structure with labels, and data without.
    """
    check_combination(settings)
    structure, likelihood, guide_row = (_chosen(kind, settings) for kind in ("structure", "likelihood", "guide"))
    require_fit(data, likelihood)
    with isolated_rng(derived_seed(seed, "initial weights")):
        parts = {kind: _choice(_chosen(kind, settings), settings, data) for kind in ("likelihood", "prior")}
        model = _built(structure.where, structure.options, settings, data, **parts)
        if structure.guide:
            guide = _built(structure.guide, structure.options, settings, data)
        else:
            guide = _built(guide_row.where, guide_row.options, settings, data, model=model)
            model.attach_guide(guide)
            model.start_prior_at(data.train.observations(_first(settings.num_components, data)))
        model.set_output_bias(data.train.mean())
    return model, guide


def _chosen(kind: PartKind, settings: PairSettings) -> Part:
    return find(kind, getattr(settings, kind))


def _first(count: int, data: Data) -> torch.Tensor:
    return torch.arange(min(len(data.train), count))


def _built(where: str, options: Mapping[str, str], settings: PairSettings, data: Data, **given: Any) -> Any:
    """An object of the class at ``where``, its arguments from its options, the data, and what is given."""
    return class_at(where)(**_arguments(where, options, settings, data, given))


def _choice(part: Part, settings: PairSettings, data: Data) -> str | dict[str, Any]:
    """A likelihood or prior with its options, as a model takes it."""
    arguments = _arguments(part.where, part.options, settings, data, {})
    options = {name: value for name, value in arguments.items() if name not in ("data_shape", "latent_dim")}
    return {"name": part.name, **options} if options else part.name


def _arguments(
    where: str, options: Mapping[str, str], settings: PairSettings, data: Data, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What the class at ``where`` is built with; its other arguments keep their defaults."""
    chosen = {name: name for name in NETWORKS} | {argument: setting for setting, argument in options.items()}
    arguments = {}
    for name in inspect.signature(class_at(where)).parameters:
        if name in given:
            arguments[name] = given[name]
        elif name in chosen and getattr(settings, chosen[name]) is not None:
            arguments[name] = getattr(settings, chosen[name])
        elif name in _FROM_DATA:
            arguments[name] = _FROM_DATA[name](data)
    return arguments


def _largest(data: Data, of: Callable[[Any], torch.Tensor]) -> int:
    """The largest number in all three splits."""
    return max(int(of(split).max()) for split in (data.train, data.validation, data.test))


_FROM_DATA: dict[str, Callable[[Data], Any]] = {
    "data_shape": lambda data: data.data_shape,
    "num_classes": lambda data: data.num_classes,
    "num_categories": lambda data: 1 + _largest(data, lambda split: split.values),
    "num_observations": lambda data: 1 + _largest(data, lambda split: split.index),
    "values": lambda data: PSEUDO_INPUT_RANGES[data.observation_kind],
}
"""Argument of a class → how the data tell it, where no setting does."""
