"""Settings as frozen dataclasses. No torch here: the command line reads this module to print its help.

The docstrings of the fields are the help texts; what there is to choose from, ``bayes_vae.parts`` adds.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bayes_vae.errors import SettingsError
from bayes_vae.parts.part import DataKind, PartKind
from bayes_vae.parts.registry import find, listed, names, rows

__all__ = [
    "LADDER",
    "SECTIONS",
    "Colour",
    "CompareSettings",
    "DataKind",
    "DataSettings",
    "DiagnoseSettings",
    "EvaluateSettings",
    "ExplainSettings",
    "Kind",
    "PairSettings",
    "Policy",
    "Precision",
    "ReportSettings",
    "Schedule",
    "TrainingSettings",
    "as_json",
    "choices_of",
]

Policy = Literal["stochastic", "static", "threshold", "none"]
Kind = Literal["auto", "binary", "gray", "counts", "real"]
Colour = Literal["gray", "rgb"]

Schedule = Literal["cosine", "constant", "steps", "burda"]

Precision = Literal["32", "bf16-mixed", "64"]

Structure = Literal["vae", "two-layer", "conditional", "semi-supervised"]
LikelihoodName = Literal[
    "bernoulli",
    "continuous-bernoulli",
    "normal",
    "discretized-logistic",
    "categorical",
    "negative-binomial",
]
NoiseScale = Literal["fixed", "shared", "per-pixel"]
PriorName = Literal["standard-normal", "learned-normal", "mixture", "vamp", "flow"]
GuideName = Literal[
    "normal", "full-covariance", "low-rank", "autoregressive-flow", "spline-flow", "local", "semi-amortized", "prior"
]
Network = Literal["mlp", "conv"]
Objective = Literal["elbo", "importance-weighted", "doubly-reparameterized", "sticking-the-landing"]
KlChoice = Literal["auto", "analytic", "sampled"]

PARTS: dict[Any, PartKind] = {
    Structure: "structure",
    Network: "network",
    LikelihoodName: "likelihood",
    PriorName: "prior",
    GuideName: "guide",
    Objective: "objective",
}
"""Type of a setting → the kind of part that it chooses; a test compares the names of both."""

SEEDS = (-(2**63), 2**63 - 1)
"""The least and the largest seed: what fits 64 bits, as torch, JSON and netCDF have it."""

LARGEST = 10**9
"""The largest whole number that another setting takes; what fits the memory is found out where it is known."""

LARGEST_REAL = 3e38
"""The largest number with a fraction, which float32 can hold."""

LADDER = (1, 5, 50, 500, 5000)
"""Particles at each rung of the ladder from the ELBO to the tightest importance-weighted bound."""


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how their pixels become observations.

    Args:
        data: digits, mnist, fashion-mnist, kmnist, emnist-letters (or -balanced, -byclass, -bymerge, -digits, -mnist),
            omniglot, the path of a .csv, .npy, .npz or .h5ad file, or of a folder of images.
        data_root: folder of the data that are downloaded; else BAYES_VAE_DATA, else the user's cache folder.
        policy: how pixels become zeros and ones: stochastic (drawn anew at each use), static (drawn once),
            threshold (above one half), none (taken as they are); when not given, stochastic, and for counts and
            real values none.
        kind: what the numbers of an array are: binary, gray (pixels), counts (whole numbers from 0 on), real, or auto
            (found out, and refused where it could be one or another).
        image_size: pixels of each side to which a folder's images are brought; when not given they must agree.
        colour: of a folder's images: gray, or rgb with the colours first; when not given as they are.
        num_labelled: training images whose label a semi-supervised model sees, the same for each class as far as they
            go; all when not given.
        validation_data: a file of validation rows, where the file of data holds training rows alone.
        test_data: a file of test rows, where the file of data holds training rows alone.
        split: training, validation and test rows, as three fractions or numbers of rows; when not given 0.8 0.1 0.1,
            and of 100 to 199 rows 20 each for validation and test.
        label_column: the column of a table that holds labels.
        standardize: bring each column of real values to mean 0 and deviation 1 over the training rows.
    """

    data: str = "digits"
    data_root: str | None = None
    policy: Policy | None = None
    kind: Kind = "auto"
    image_size: int | None = None
    colour: Colour | None = None
    num_labelled: int | None = None
    validation_data: str | None = None
    test_data: str | None = None
    split: tuple[float, ...] = ()
    label_column: str | None = None
    standardize: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        if len(self.split) not in (0, 3) or min(self.split, default=0) < 0:
            raise SettingsError(
                "split must be three fractions or numbers of rows, for training, validation and test, such as 0.8 0.1 "
                f"0.1, got {' '.join(f'{part:g}' for part in self.split)}."
            )
        if self.image_size is not None:
            _at_least("image_size", self.image_size, 1)
        if self.num_labelled is not None:
            _at_least("num_labelled", self.num_labelled, 1)


@dataclass(frozen=True)
class PairSettings:
    """The networks of the model and the guide.

    Args:
        latent_dim: size of z (of two layers: of z1, the one nearest to x).
        hidden_dims: widths (of conv: channels) of the hidden layers, from the data's side; the decoder mirrors them.
        activation: tanh, relu, elu, silu, softplus or identity.
        network: kind of encoder and decoder.
        structure: latents and labels of the model.
        top_latent_dim: size of z2, the latent above z1.
        top_hidden_dims: widths between z1 and z2, from z1's side.
        likelihood: p(x given z), by the kind of data.
        noise_scale: standard deviation of a pixel; the initial value where it is learned.
        noise: whether that scale is fixed, shared (one for all pixels, learned) or per-pixel (from the decoder).
        num_categories: number of values; one more than the data's largest when not given.
        prior: p(z).
        num_components: components of the mixture.
        guide: q(z given x).
        rank: rank of the covariance, beside its diagonal.
        num_transforms: transforms of the flow.
        num_refinements: gradient steps.
    """

    latent_dim: int = 8
    hidden_dims: tuple[int, ...] = (200, 200)
    activation: str = "tanh"
    network: Network = "mlp"
    structure: Structure = "vae"
    top_latent_dim: int = 4
    top_hidden_dims: tuple[int, ...] = (100, 100)
    likelihood: LikelihoodName = "bernoulli"
    noise_scale: float = 0.2
    noise: NoiseScale = "fixed"
    num_categories: int | None = None
    prior: PriorName = "standard-normal"
    num_components: int = 20
    guide: GuideName = "normal"
    rank: int = 2
    num_transforms: int = 2
    num_refinements: int = 5

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("latent_dim", "top_latent_dim", "num_components", "rank", "num_transforms", "num_refinements"):
            _at_least(name, getattr(self, name), 1)
        for name in ("hidden_dims", "top_hidden_dims"):
            for width in getattr(self, name):
                _at_least(f"each of {name}", width, 1)
        if self.num_categories is not None:
            _at_least("num_categories", self.num_categories, 2)
        if not self.noise_scale > 0:
            raise SettingsError(f"noise_scale must be above 0, got {self.noise_scale:g}.")
        _one_of("noise", self.noise, get_args(NoiseScale))
        for kind in PARTS.values():
            if hasattr(self, kind):
                _one_of(kind, getattr(self, kind), names(kind))


@dataclass(frozen=True)
class TrainingSettings:
    """How the pair is trained by SVI.

    Args:
        epochs: passes over the training images.
        batch_size: images in one step.
        learning_rate: Adam's learning rate at the start.
        schedule: how the learning rate falls: cosine (to final_learning_rate, over all epochs), constant, steps (times
            step_factor every step_epochs epochs), or burda (times 10^(-i/7) for 3^i epochs, i = 0 to 7; the published
            one starts at 0.001).
        final_learning_rate: learning rate at the end of the cosine schedule; the others ignore it.
        step_epochs: epochs between two falls of the schedule steps.
        step_factor: what the schedule steps multiplies the learning rate by.
        clip_norm: largest norm of the gradient over all parameters; a longer one is shortened to it; 0 for none.
        patience: epochs after which training stops if the validation ELBO has not risen; 0 to never stop early.
            Epochs in which the weight of the KL rises do not count.
        min_delta: nats by which the validation ELBO must rise to count.
        objective: what training maximizes.
        kl: analytic, sampled, or auto (the closed form where there is one).
        num_particles: draws from q for each image and step.
        kl_weight: weight of the KL in the training objective; evaluation always uses 1.
        kl_warmup_epochs: epochs over which the weight rises from 0 to kl_weight.
        kl_cycle_epochs: epochs after which the weight starts again from 0 and rises again; 0 for never.
        free_bits: nats of KL in each latent dimension of each image that are not penalized; needs a factorized normal
            pair.
        checkpoint_every_steps: steps between checkpoints within an epoch; 0 for only one at each epoch's end.
        seed: of the initial weights, the batches and the noise.
        device: cpu, cuda, or auto.
        precision: of training: 32, bf16-mixed (matrix products in bfloat16) or 64.
    """

    epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 3e-3
    schedule: Schedule = "cosine"
    final_learning_rate: float = 2e-5
    step_epochs: int = 10
    step_factor: float = 0.5
    clip_norm: float = 0.0
    patience: int = 0
    min_delta: float = 0.0
    objective: Objective = "elbo"
    kl: KlChoice = "auto"
    num_particles: int = 1
    kl_weight: float = 1.0
    kl_warmup_epochs: int = 0
    kl_cycle_epochs: int = 0
    free_bits: float = 0.0
    checkpoint_every_steps: int = 0
    seed: int = 0
    device: str = "auto"
    precision: Precision = "32"

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("epochs", "batch_size", "num_particles", "step_epochs"):
            _at_least(name, getattr(self, name), 1)
        for name in (
            "kl_weight",
            "kl_warmup_epochs",
            "kl_cycle_epochs",
            "free_bits",
            "clip_norm",
            "patience",
            "min_delta",
            "checkpoint_every_steps",
        ):
            _at_least(name, getattr(self, name), 0)
        _one_of("objective", self.objective, names("objective"))
        _one_of("kl", self.kl, get_args(KlChoice))
        _one_of("schedule", self.schedule, get_args(Schedule))
        _one_of("precision", self.precision, get_args(Precision))
        if not 0 < self.step_factor <= 1:
            raise SettingsError(f"step_factor must be above 0 and at most 1, got {self.step_factor:g}.")
        if self.schedule != "cosine" and not self.learning_rate > 0:
            raise SettingsError(f"learning_rate must be above 0, got {self.learning_rate:g}.")
        if self.schedule == "cosine" and not 0 < self.final_learning_rate <= self.learning_rate:
            raise SettingsError(
                "the learning rates need 0 < final_learning_rate <= learning_rate, got "
                f"learning_rate={self.learning_rate:g} and final_learning_rate={self.final_learning_rate:g}."
            )
        self._check_cycle()
        self._check_objective()

    def _check_cycle(self) -> None:
        if self.kl_cycle_epochs and not 0 < self.kl_warmup_epochs < self.kl_cycle_epochs:
            raise SettingsError(
                "a cycle of the KL weight needs 0 < kl_warmup_epochs < kl_cycle_epochs, so that it rises and then "
                f"stays at kl_weight, got kl_warmup_epochs={self.kl_warmup_epochs} and "
                f"kl_cycle_epochs={self.kl_cycle_epochs}."
            )

    def _check_objective(self) -> None:
        """Refuse what the objective does not take."""
        taken = find("objective", self.objective).options
        if self.free_bits and ("free_bits" not in taken or self.kl == "sampled"):
            raise SettingsError(
                "free_bits are taken off the closed-form KL of each latent dimension, which only objective 'elbo' has: "
                f"it does not go with objective {self.objective!r} and kl {self.kl!r}. Leave free_bits out, or choose "
                "objective 'elbo' and kl 'auto'."
            )
        if "kl" not in taken and self.kl == "analytic":
            raise SettingsError(
                f"kl 'analytic' does not go with objective {self.objective!r}, which weighs p(x, z) against "
                "q(z given x) at each draw: a closed form has no draws. Leave kl out, or choose objective 'elbo'."
            )
        if "kl_weight" not in taken:
            self._check_bound()

    def _check_bound(self) -> None:
        others = listed(part.name for part in rows("objective") if "kl_weight" in part.options)
        if self.kl_weight != 1 or self.kl_warmup_epochs or self.kl_cycle_epochs:
            raise SettingsError(
                f"objective {self.objective!r} has no KL to weigh: L_K is the logarithm of a mean of weights "
                "p(x, z) / q(z given x), each of them whole. Leave out kl_weight, kl_warmup_epochs and "
                f"kl_cycle_epochs, or choose objective {others}."
            )
        if self.num_particles == 1:
            raise SettingsError(
                f"objective {self.objective!r} with num_particles=1 is the ELBO: give at least 2, or choose objective "
                f"{others}."
            )


@dataclass(frozen=True)
class EvaluateSettings:
    """How the terms of Bayes' rule are estimated on the test set.

    Args:
        num_particles: draws from q for each image (K), for the ELBO and L_K.
        num_temperatures: steps of the annealed log p(x); 0 leaves it out.
        num_observations: how many test images, from the first on; all when not given.
        num_draws: draws of q for each image that evaluation.nc keeps; 0 writes no such file.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    num_particles: int = 500
    num_temperatures: int = 50
    num_observations: int | None = None
    num_draws: int = 20
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_types(self)
        _at_least("num_particles", self.num_particles, 2)
        _at_least("num_temperatures", self.num_temperatures, 0)
        _at_least("num_draws", self.num_draws, 0)
        if self.num_observations is not None:
            _at_least("num_observations", self.num_observations, 1)


@dataclass(frozen=True)
class CompareSettings:
    """The ladder from the ELBO to the tightest importance-weighted bound.

    Args:
        rungs: particles at each rung; each divides the next.
        num_temperatures: steps of the annealed estimate; 0 leaves it out.
        tolerance: adds a converged rung: the temperatures doubled until two levels agree to so many nats.
        num_observations: how many test images, from the first on.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    rungs: tuple[int, ...] = LADDER
    num_temperatures: int = 50
    tolerance: float | None = None
    num_observations: int = 500
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_types(self)
        _at_least("num_observations", self.num_observations, 1)
        _at_least("num_temperatures", self.num_temperatures, 0)
        if self.tolerance is not None and not self.tolerance > 0:
            raise SettingsError(f"tolerance must be positive, in nats, got {self.tolerance:g}.")


@dataclass(frozen=True)
class ReportSettings:
    """What the report of a run is computed from.

    Args:
        num_observations: test observations behind the terms, the ladder and log p(x), from the first on.
        num_particles: draws from q for each observation (K), for the ELBO, L_K and k̂.
        num_temperatures: steps of the annealed log p(x); 0 leaves it out.
        num_gap_observations: test observations whose gap is split in two; 0 leaves it out.
        num_encoded: test observations behind the aggregate posterior and the latent means.
        num_simulated: observations simulated from the model to calibrate the guide; 0 leaves it out.
        num_diagnosed: training observations that are looked at for what is wrong, 20 or more; 0 leaves it out.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    num_observations: int = 500
    num_particles: int = 500
    num_temperatures: int = 50
    num_gap_observations: int = 100
    num_encoded: int = 1000
    num_simulated: int = 1000
    num_diagnosed: int = 800
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("num_observations", "num_encoded"):
            _at_least(name, getattr(self, name), 1)
        _at_least("num_particles", self.num_particles, 2)
        for name in ("num_temperatures", "num_gap_observations", "num_simulated"):
            _at_least(name, getattr(self, name), 0)
        _at_least("num_diagnosed", self.num_diagnosed, 20 if self.num_diagnosed else 0)


@dataclass(frozen=True)
class ExplainSettings:
    """Which observation is explained, and from how many draws.

    Args:
        index: which test observation, from 0 on.
        num_particles: draws from q (K), for the ELBO, L_K and k̂.
        num_temperatures: steps of the annealed log p(x); 0 leaves it out.
        num_points: of two latent dimensions, nodes of the grid along each.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    index: int = 0
    num_particles: int = 1000
    num_temperatures: int = 100
    num_points: int = 201
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_types(self)
        for name, least in (("num_particles", 2), ("num_temperatures", 0), ("num_points", 5)):
            _at_least(name, getattr(self, name), least)


@dataclass(frozen=True)
class DiagnoseSettings:
    """How a run is diagnosed.

    Args:
        num_observations: training observations that are looked at, from the first on; 20 or more.
        seconds: time that it may take; the cheapest checks come first, and what was left out is said.
        checks: the only checks to be made, whatever the time, such as those that diagnosis.json lists.
        against: another run, diagnosed alike, to see what a change did.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    num_observations: int = 800
    seconds: float = 60.0
    checks: tuple[str, ...] | None = None
    against: str | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_types(self)
        _at_least("num_observations", self.num_observations, 20)
        if not self.seconds > 0:
            raise SettingsError(f"seconds must be above 0, got {self.seconds:g}.")


SECTIONS = {
    "data": DataSettings,
    "pair": PairSettings,
    "training": TrainingSettings,
    "evaluate": EvaluateSettings,
    "compare": CompareSettings,
    "explain": ExplainSettings,
    "diagnose": DiagnoseSettings,
    "report": ReportSettings,
}
"""Section of a settings file → its settings."""


SEVERAL = {
    int: "several whole numbers, such as (200, 200)",
    float: "several numbers, such as (0.8, 0.1, 0.1)",
    str: "several names, such as ('kl_weight', 'gap')",
}
"""What a tuple of each type must be."""

_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def _check_types(settings: Any) -> None:
    """Make each number Python's own, whatever type it came in, and refuse what is none or cannot be meant.

    Raises:
        SettingsError: names the setting.
    """
    for name, hint in _hints(type(settings)).items():
        value = getattr(settings, name)
        kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType] if _is_union(hint) else [hint]
        if value is None and _is_union(hint):
            continue
        object.__setattr__(settings, name, _typed(name, value, kinds[0]))


def _is_union(hint: Any) -> bool:
    return NoneType in get_args(hint)


def _typed(name: str, value: Any, hint: Any) -> Any:
    """One setting as its type has it."""
    if get_origin(hint) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise SettingsError(f"{name} must be {SEVERAL[get_args(hint)[0]]}, got {reprlib.repr(value)}.")
        return tuple(_typed(f"each of {name}", one, get_args(hint)[0]) for one in value)
    if hint is bool:
        if not isinstance(value, bool):
            raise SettingsError(f"{name} must be true or false, got {reprlib.repr(value)}.")
        return value
    if hint is int:
        try:
            whole = None if isinstance(value, bool) else operator.index(value)
        except (RuntimeError, TypeError, ValueError):
            whole = None
        if whole is None:
            raise SettingsError(f"{name} must be a whole number, got {reprlib.repr(value)}.")
        return _within(name, whole)
    if hint is float:
        try:
            number = math.nan if isinstance(value, bool | str | bytes) else float(value)
        except (OverflowError, RuntimeError, TypeError, ValueError):
            number = math.nan
        if not abs(number) <= LARGEST_REAL:
            raise SettingsError(f"{name} must be a finite number, got {reprlib.repr(value)}.")
        return number
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be text, got {reprlib.repr(value)}.")
    if not value.strip() or "\0" in value:
        raise SettingsError(f"{name} must not be empty, nor hold a NUL, got {reprlib.repr(value)}.")
    return value


def _within(name: str, value: int) -> int:
    """Refuse a whole number that no computer could mean, before any work is done for it."""
    if name == "seed" and not SEEDS[0] <= value <= SEEDS[1]:
        raise SettingsError(f"{name} must be a whole number from -2**63 to 2**63 - 1, got {reprlib.repr(value)}.")
    if name != "seed" and value > LARGEST:
        raise SettingsError(f"{name} must be at most {LARGEST:,}, got {reprlib.repr(value)}.")
    return value


def _at_least(name: str, value: float, bound: float) -> None:
    if not value >= bound:
        raise SettingsError(f"{name} must be at least {bound}, got {value}.")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def choices_of(hint: Any) -> tuple[str, ...]:
    """What a setting of this type can be: the names in the table of parts, else those of its ``Literal``.

    >>> choices_of(Network), choices_of(Colour)
    (('mlp', 'conv'), ('gray', 'rgb'))
    """
    return names(PARTS[hint]) if hint in PARTS else get_args(hint)


def as_json(settings: Any) -> dict[str, Any]:
    """A settings object as plain JSON types."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
