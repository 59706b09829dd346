"""Settings as frozen dataclasses. No torch here: the command line reads this module to print its help.

The docstrings of the fields are the help texts; what there is to choose from, ``bayes_vae.parts`` adds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from bayes_vae.errors import SettingsError
from bayes_vae.parts.part import DataKind, PartKind
from bayes_vae.parts.registry import find, listed, names, rows
from bayes_vae.setting_types import at_least, check_types, one_of

__all__ = [
    "LADDER",
    "SECTIONS",
    "Colour",
    "CompareSettings",
    "DataKind",
    "DataSettings",
    "DiagnoseSettings",
    "EncodeSettings",
    "EvaluateSettings",
    "ExplainSettings",
    "ExploreSettings",
    "Kind",
    "PairSettings",
    "Policy",
    "Precision",
    "RateDistortionSettings",
    "RefitPriorSettings",
    "ReportSettings",
    "RowsChoice",
    "SampleKind",
    "SampleSettings",
    "Schedule",
    "ScoreSettings",
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
    "laplace",
    "poisson",
    "zero-inflated-negative-binomial",
    "columns",
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

LADDER = (1, 5, 50, 500, 5000)
"""Particles at each rung of the ladder from the ELBO to the tightest importance-weighted bound."""


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how their pixels become observations.

    Args:
        data: digits, mnist, fashion-mnist, kmnist, emnist-letters (or -balanced, -byclass, -bymerge, -digits, -mnist),
            omniglot, the path of a .csv, .npy, .npz or .h5ad file, or of a folder of images.
        data_root: folder of downloaded data; else BAYES_VAE_DATA, else the user's cache folder.
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
        standardize_columns: the same for these columns of a table alone, by name (a blank in a name is written _).
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
    standardize_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.split) not in (0, 3) or min(self.split, default=0) < 0:
            raise SettingsError(
                "split must be three fractions or numbers of rows, for training, validation and test, such as 0.8 0.1 "
                f"0.1, got {' '.join(f'{part:g}' for part in self.split)}."
            )
        if self.image_size is not None:
            at_least("image_size", self.image_size, 1)
        if self.num_labelled is not None:
            at_least("num_labelled", self.num_labelled, 1)


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
        groups: each NAME=LIKELIHOOD:COLUMNS, the columns by name or number with + between them, 0-9 for a range and *
            for the rest, such as body=normal:height+weight visits=poisson:* (a blank in a name is written _).
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
    groups: tuple[str, ...] = ()
    prior: PriorName = "standard-normal"
    num_components: int = 20
    guide: GuideName = "normal"
    rank: int = 2
    num_transforms: int = 2
    num_refinements: int = 5

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("latent_dim", "top_latent_dim", "num_components", "rank", "num_transforms", "num_refinements"):
            at_least(name, getattr(self, name), 1)
        for name in ("hidden_dims", "top_hidden_dims"):
            for width in getattr(self, name):
                at_least(f"each of {name}", width, 1)
        if self.num_categories is not None:
            at_least("num_categories", self.num_categories, 2)
        if not self.noise_scale > 0:
            raise SettingsError(f"noise_scale must be above 0, got {self.noise_scale:g}.")
        one_of("noise", self.noise, get_args(NoiseScale))
        for kind in PARTS.values():
            if hasattr(self, kind):
                one_of(kind, getattr(self, kind), names(kind))


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
        check_types(self)
        for name in ("epochs", "batch_size", "num_particles", "step_epochs"):
            at_least(name, getattr(self, name), 1)
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
            at_least(name, getattr(self, name), 0)
        one_of("objective", self.objective, names("objective"))
        one_of("kl", self.kl, get_args(KlChoice))
        one_of("schedule", self.schedule, get_args(Schedule))
        one_of("precision", self.precision, get_args(Precision))
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
        check_types(self)
        at_least("num_particles", self.num_particles, 2)
        at_least("num_temperatures", self.num_temperatures, 0)
        at_least("num_draws", self.num_draws, 0)
        if self.num_observations is not None:
            at_least("num_observations", self.num_observations, 1)


@dataclass(frozen=True)
class CompareSettings:
    """The ladder of one run from the ELBO to the tightest bound, or several runs by their log p(x).

    Args:
        rungs: of one run, particles at each rung; each divides the next.
        num_temperatures: steps of the annealed estimate; 0 leaves it out.
        tolerance: of one run, adds a converged rung: the temperatures doubled until two levels agree to so many nats.
        num_particles: of several runs, draws from q for each image (K), for the ELBO and L_K.
        num_observations: how many test images, from the first on.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    rungs: tuple[int, ...] = LADDER
    num_temperatures: int = 50
    tolerance: float | None = None
    num_particles: int = 500
    num_observations: int = 500
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        at_least("num_observations", self.num_observations, 1)
        at_least("num_temperatures", self.num_temperatures, 0)
        if self.tolerance is not None and not self.tolerance > 0:
            raise SettingsError(f"tolerance must be positive, in nats, got {self.tolerance:g}.")
        at_least("num_particles", self.num_particles, 2)

    def check_for(self, num_runs: int) -> None:
        """Refuse what the ladder of one run, or the comparison of several, does not take.

        Raises:
            SettingsError: names the setting.
        """
        names = ("rungs", "tolerance") if num_runs > 1 else ("num_particles",)
        defaults = CompareSettings()
        for name in names:
            if getattr(self, name) != getattr(defaults, name):
                whose = "the ladder of one run" if num_runs > 1 else "the comparison of several runs"
                raise SettingsError(f"{name} is a setting of {whose}, and {num_runs} were named: leave it out.")


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
        num_diagnosed: training observations that the diagnosis looks at, 20 or more; 0 leaves it out.
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
        check_types(self)
        for name in ("num_observations", "num_encoded"):
            at_least(name, getattr(self, name), 1)
        at_least("num_particles", self.num_particles, 2)
        for name in ("num_temperatures", "num_gap_observations", "num_simulated"):
            at_least(name, getattr(self, name), 0)
        at_least("num_diagnosed", self.num_diagnosed, 20 if self.num_diagnosed else 0)


EXPLORE_PAGE = "explore.html"
"""The interactive page of a run, in its folder."""


@dataclass(frozen=True)
class ExploreSettings:
    """What the page of a run, or of several, is computed from.

    Args:
        num_images: test observations to choose from, from the first on.
        num_codes: test observations whose codes are dots on the plane.
        num_particles: draws from q for each observation (K), for k̂; of more than two latent dimensions also for the
            ELBO.
        num_points: of two latent dimensions, nodes of the grid along each.
        num_temperatures: of more latent dimensions, steps of the annealed log p(x).
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    num_images: int = 60
    num_codes: int = 500
    num_particles: int = 500
    num_points: int = 201
    num_temperatures: int = 100
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        least = {"num_images": 2, "num_codes": 2, "num_particles": 2, "num_points": 5, "num_temperatures": 1}
        for name, number in least.items():
            at_least(name, getattr(self, name), number)


@dataclass(frozen=True)
class ExplainSettings:
    """Which observation is explained, and from how many draws.

    Args:
        index: which test observation, starting at 0.
        num_particles: draws from q (K), for the ELBO, L_K and k̂.
        num_temperatures: steps of the annealed log p(x); 0 leaves it out.
        num_points: nodes of the grid along each dimension, where z has two.
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
        check_types(self)
        for name, least in (("num_particles", 2), ("num_temperatures", 0), ("num_points", 5)):
            at_least(name, getattr(self, name), least)


@dataclass(frozen=True)
class DiagnoseSettings:
    """How a run is diagnosed.

    Args:
        num_observations: training observations to look at, from the first on; 20 or more.
        seconds: time that it may take; the cheapest checks come first, and the result says what was left out.
        checks: make only these checks, however long they take, such as those that diagnosis.json lists.
        against: another run, diagnosed in the same way, to see what a change did.
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
        check_types(self)
        at_least("num_observations", self.num_observations, 20)
        if not self.seconds > 0:
            raise SettingsError(f"seconds must be above 0, got {self.seconds:g}.")


RowsChoice = Literal["test", "train", "validation", "all"]

SampleKind = Literal["prior", "reconstructions", "interpolations"]


@dataclass(frozen=True)
class ScoreSettings:
    """How single observations are scored.

    Args:
        rows: which rows: test, train, validation or all; when not given, all of --data, and else the run's test rows.
        num_particles: draws from q for each observation (K), for the ELBO, L_K and k̂.
        num_temperatures: steps of the annealed log p(x); 0 takes L_K, which is faster.
        num_reference: test observations of the run's own data to rank among, from the first on; 0 leaves it out.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    rows: RowsChoice | None = None
    num_particles: int = 500
    num_temperatures: int = 0
    num_reference: int = 1000
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        at_least("num_particles", self.num_particles, 2)
        for name in ("num_temperatures", "num_reference"):
            at_least(name, getattr(self, name), 0)


@dataclass(frozen=True)
class EncodeSettings:
    """How observations are encoded.

    Args:
        rows: which rows: test, train, validation or all; when not given, all of --data, and else the run's test rows.
        num_particles: draws from q for each observation (K), where its mean and deviation have no closed form.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    rows: RowsChoice | None = None
    num_particles: int = 100
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        at_least("num_particles", self.num_particles, 2)


@dataclass(frozen=True)
class SampleSettings:
    """What is drawn from a model.

    Args:
        what: prior (new observations), reconstructions (test observations drawn again from their codes) or
            interpolations (between the codes of test observations, the first to the second, the third to the fourth).
        num: how many: observations, or pairs of them between which to interpolate.
        mean: take the mean of p(x given z) in place of a draw; when not given, for pictures (.png) alone.
        label: of all draws of a model that is given labels; when not given, its classes in turn.
        num_steps: observations of one interpolation, both ends counted.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    what: SampleKind = "prior"
    num: int = 64
    mean: bool | None = None
    label: int | None = None
    num_steps: int = 9
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        at_least("num", self.num, 1)
        at_least("num_steps", self.num_steps, 2)
        if self.label is not None:
            at_least("label", self.label, 0)
        one_of("what", self.what, get_args(SampleKind))


@dataclass(frozen=True)
class RefitPriorSettings:
    """How a better p(z) is fitted to the codes of a trained pair.

    Args:
        prior: the new one: mixture, flow, vamp or learned-normal.
        num_components: components of a mixture, or pseudo-inputs of a vamp prior.
        num_transforms: transforms of a flow.
        epochs: passes over the codes of the training rows, at most.
        patience: epochs without a rise on the validation rows after which it stops; 0 for never.
        learning_rate: of Adam at the start; it falls like a cosine.
        batch_size: codes of one step.
        num_observations: how many test rows the priors are compared on, from the first on.
        num_particles: draws from q for each of them (K), for the ELBO and L_K.
        num_temperatures: steps of the annealed log p(x).
        out: the run directory to make, with the new prior.
        overwrite: replace the run directory that is there.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    prior: str = "mixture"
    num_components: int = 50
    num_transforms: int = 4
    epochs: int = 200
    patience: int = 20
    learning_rate: float = 0.01
    batch_size: int = 128
    num_observations: int = 500
    num_particles: int = 500
    num_temperatures: int = 50
    out: str | None = None
    overwrite: bool = False
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("num_components", "num_transforms", "epochs", "batch_size", "num_observations"):
            at_least(name, getattr(self, name), 1)
        at_least("patience", self.patience, 0)
        at_least("num_particles", self.num_particles, 2)
        at_least("num_temperatures", self.num_temperatures, 0)
        if not self.learning_rate > 0:
            raise SettingsError(f"learning_rate must be above 0, got {self.learning_rate:g}.")
        one_of("prior", self.prior, names("prior"))


@dataclass(frozen=True)
class RateDistortionSettings:
    """How a model's rate–distortion curve is annealed.

    Args:
        betas: where the curve is read, above 0; 1 is the posterior, and beyond it the distortion falls further.
        num_temperatures: steps from 0 to the largest beta.
        num_chains: independent chains for each observation.
        num_observations: how many test observations, from the first on.
        num_particles: draws from q for the point of the run's own q (K).
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    betas: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
    num_temperatures: int = 200
    num_chains: int = 8
    num_observations: int = 200
    num_particles: int = 50
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("num_temperatures", 1), ("num_chains", 2), ("num_observations", 1), ("num_particles", 2)):
            at_least(name, getattr(self, name), least)
        if not self.betas or min(self.betas) <= 0 or len(set(self.betas)) < len(self.betas):
            raise SettingsError(
                f"betas must be different numbers above 0, got {' '.join(f'{beta:g}' for beta in self.betas)}."
            )


SECTIONS = {
    "data": DataSettings,
    "pair": PairSettings,
    "training": TrainingSettings,
    "evaluate": EvaluateSettings,
    "compare": CompareSettings,
    "explain": ExplainSettings,
    "explore": ExploreSettings,
    "diagnose": DiagnoseSettings,
    "refit_prior": RefitPriorSettings,
    "rate_distortion": RateDistortionSettings,
    "report": ReportSettings,
    "score": ScoreSettings,
    "encode": EncodeSettings,
    "sample": SampleSettings,
}
"""Section of a settings file → its settings."""


def choices_of(hint: Any) -> tuple[str, ...]:
    """What a setting of this type can be: the names in the table of parts, else those of its ``Literal``.

    >>> choices_of(Network), choices_of(Colour)
    (('mlp', 'conv'), ('gray', 'rgb'))
    """
    return names(PARTS[hint]) if hint in PARTS else get_args(hint)


def as_json(settings: Any) -> dict[str, Any]:
    """A settings object as plain JSON types."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
