"""What the commands that look at a run compute."""

from __future__ import annotations

from dataclasses import dataclass

from bayes_vae.errors import SettingsError
from bayes_vae.settings.setting_types import at_least, check_types

LADDER = (1, 5, 50, 500, 5000)
"""Particles at each rung of the ladder from the ELBO to the tightest importance-weighted bound."""


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
        rungs: for one run, particles at each rung; each divides the next.
        num_temperatures: steps of the annealed estimate; 0 leaves it out.
        tolerance: for one run, adds a converged rung: temperatures are doubled until two levels agree to so many nats.
        num_particles: for several runs, draws from q for each image (K), for the ELBO and L_K.
        num_observations: how many test images, from the first on.
        num_curve_observations: for several runs, how many of those test images the rate–distortion curves in the figure
            of --out are annealed for; 0 leaves the curves out.
        seed: of every draw.
        device: cpu, cuda, or auto.
    """

    rungs: tuple[int, ...] = LADDER
    num_temperatures: int = 50
    tolerance: float | None = None
    num_particles: int = 500
    num_observations: int = 500
    num_curve_observations: int = 50
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        at_least("num_observations", self.num_observations, 1)
        for name in ("num_temperatures", "num_curve_observations"):
            at_least(name, getattr(self, name), 0)
        if self.tolerance is not None and not self.tolerance > 0:
            raise SettingsError(f"tolerance must be positive, in nats, got {self.tolerance:g}.")
        at_least("num_particles", self.num_particles, 2)

    def check_for(self, num_runs: int) -> None:
        """Refuse what the ladder of one run, or the comparison of several, does not take.

        Raises:
            SettingsError: names the setting.
        """
        names = ("rungs", "tolerance") if num_runs > 1 else ("num_particles", "num_curve_observations")
        defaults = CompareSettings()
        for name in names:
            if getattr(self, name) != getattr(defaults, name):
                whose = "the ladder of one run" if num_runs > 1 else "the comparison of several runs"
                raise SettingsError(
                    f"{name} is a setting of {whose}, but the number of runs is {num_runs}: leave it out."
                )


@dataclass(frozen=True)
class ReportSettings:
    """What the report of a run is computed from.

    Args:
        num_observations: test observations behind the terms, the ladder and log p(x), from the first on.
        num_particles: draws from q for each observation (K), for the ELBO, L_K and k̂.
        num_temperatures: steps of the annealed log p(x); 0 leaves it out.
        num_gap_observations: test observations whose gap is split in two; 0 leaves it out.
        num_encoded: test observations behind the aggregate posterior and the latent means.
        num_simulated: observations simulated from the model to calibrate the guide, 20 or more; 0 leaves it out.
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
        for name in ("num_temperatures", "num_gap_observations"):
            at_least(name, getattr(self, name), 0)
        for name in ("num_simulated", "num_diagnosed"):
            at_least(name, getattr(self, name), 20 if getattr(self, name) > 0 else 0)


EXPLORE_PAGE = "explore.html"
"""The interactive page of a run, in its folder."""


@dataclass(frozen=True)
class ExploreSettings:
    """What the page of a run, or of several, is computed from.

    Args:
        num_images: test observations to choose from, from the first on.
        num_codes: test observations whose codes are dots on the plane.
        num_particles: draws from q for each observation (K), for k̂; with more than two latent dimensions, also for
            the ELBO.
        num_points: with two latent dimensions, nodes of the grid along each.
        num_temperatures: with more latent dimensions, steps of the annealed log p(x).
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
        seconds: time that the diagnosis may take; the cheapest checks come first, and the result says what was left
            out.
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
