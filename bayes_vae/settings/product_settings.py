"""What the commands that make something of a run compute: scores, codes, draws, another prior, a curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from bayes_vae.errors import SettingsError
from bayes_vae.parts.registry import names
from bayes_vae.settings.literals import RowsChoice, SampleKind
from bayes_vae.settings.setting_types import at_least, check_types, one_of


@dataclass(frozen=True)
class ScoreSettings:
    """How single observations are scored.

    Args:
        rows: which rows: test, train, validation or all; when not given, all of --data, and else the run's test rows.
        num_particles: draws from q for each observation (K), for the ELBO, L_K and k̂.
        num_temperatures: steps of the annealed log p(x); 0 takes L_K, which is faster.
        num_reference: test observations of the run's own data to rank among, from the first on; 0 leaves the ranks out.
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
        num: number of observations, or of pairs of observations to interpolate between.
        mean: take the mean of p(x given z) in place of a draw; when not given, only for pictures (.png).
        label: the label of all draws, for a model that is given labels; when not given, its classes in turn.
        num_steps: observations in one interpolation, both ends included.
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
        patience: epochs without a rise on the validation rows after which fitting stops; 0 for never.
        learning_rate: Adam's learning rate at the start; it falls like a cosine.
        batch_size: codes in one step.
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
