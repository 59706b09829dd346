"""Everything that a report shows, as numbers and tensors: computed once, drawn and written elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import Tensor

from bayes_vae.data import Data, Split, as_data
from bayes_vae.data.standardization import Standardization
from bayes_vae.diagnosis import Diagnosis, diagnose
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.aggregate_posterior import AggregatePosteriorTerms, aggregate_of
from bayes_vae.estimators.calibration import GuideCalibration, calibrate_guide
from bayes_vae.estimators.elbo import ElboAtDraws
from bayes_vae.estimators.evaluation import Evaluation
from bayes_vae.estimators.gaps import InferenceGap, gap_of
from bayes_vae.estimators.ladder import Comparison, comparison_of
from bayes_vae.progress import Progress, shown
from bayes_vae.report.decoding import decoding_of
from bayes_vae.report.latent_pictures import LatentMeans, Missing, Pictures, latent_means, pictures
from bayes_vae.settings import LADDER, ReportSettings
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.opened import OpenPair, open_pair
from bayes_vae.terms.probe import warning_of_scales_once
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import prepare_for
from bayes_vae.terms.whole_numbers import several

__all__ = ["Missing", "ReportContents", "checked_settings", "report_contents"]

STAGES = ("ladder", "inference gap", "aggregate posterior", "pictures", "calibration", "diagnosis")

EXTREMES = 6
"""Observations shown at each end, of those that the model explains best and worst."""

AGGREGATE_PARTICLES = 10
"""Draws from q for each observation, for the aggregate posterior."""

DIAGNOSED_FOR = 60.0
"""Seconds that the diagnosis may take."""

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class ReportContents:
    """The numbers behind a report, all of them of test observations but the training's own and the diagnosis.

    Attributes:
        name: of the run.
        config: the configuration of the run; empty for a pair that is none.
        history: one row of named figures for each epoch.
        data: summary of the data that the figures are of: name, policy, digest, sizes, data_shape.
        settings: what was asked for.
        x: the N observations behind the terms, shape (N, *event).
        index: their numbers in the data set, shape (N,).
        labels: shape (N,), or None.
        label_names: what the labels 0, 1, … stand for; empty where they stand for themselves.
        evaluation: the ELBO's terms, L_K and log p(x) of each.
        comparison: the ladder.
        gap: the inference gap and its two parts, of the first observations.
        aggregate: what the mean KL is made of.
        latents: where q puts the observations.
        pictures: reconstructions, draws from the prior, traversals.
        calibration: the guide on simulated data.
        diagnosis: what is wrong, if anything; of training and test observations.
        seconds: time for all of it.
        standardization: of the data, undone in pictures; None where there is none.
    """

    name: str
    config: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    data: Mapping[str, Any]
    settings: ReportSettings
    x: Tensor = field(repr=False)
    index: Tensor = field(repr=False)
    labels: Tensor | None = field(repr=False)
    label_names: tuple[str, ...]
    evaluation: Evaluation
    comparison: Comparison
    gap: InferenceGap | Missing
    aggregate: AggregatePosteriorTerms | Missing
    latents: LatentMeans | Missing
    pictures: Pictures | Missing
    calibration: GuideCalibration | Missing
    diagnosis: Diagnosis | Missing
    seconds: float
    standardization: Standardization | None = None

    def shown(self, values: Tensor) -> Tensor:
        """Values (…, *event) as pictures show them: in the units of the data.

        But for tables, whose columns have units of their own, and share one gray scale only when standardized.
        """
        table = self.x.dim() == 2
        return values if self.standardization is None or table else self.standardization.undo(values)

    @property
    def num_observations(self) -> int:
        """N behind the terms."""
        return len(self.index)

    @property
    def order(self) -> Tensor:
        """Rows from the best explained to the worst, by log p(x), shape (N,)."""
        return self.evaluation.log_evidence.argsort(descending=True, stable=True).cpu()

    @property
    def best(self) -> list[int]:
        """Rows that the model explains best, the best first."""
        return list(self.order[: self._each].tolist())

    @property
    def worst(self) -> list[int]:
        """Rows that the model explains worst, the worst first; none of them among the best."""
        return list(self.order.flip(0)[: self._each].tolist())

    @property
    def _each(self) -> int:
        return min(EXTREMES, self.num_observations // 2)

    def label_of(self, row: int) -> str:
        """The label of a row as text; empty where there is none."""
        if self.labels is None:
            return ""
        label = float(self.labels[row])
        named = label == int(label) and 0 <= label < len(self.label_names)
        return self.label_names[int(label)] if named else f"{label:g}"


@warning_of_scales_once()
def report_contents(
    model: Program,
    guide: Program,
    data: Data | Any,
    settings: ReportSettings | None = None,
    *,
    name: str = "pair",
    config: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    progress: Progress | bool | None = None,
) -> ReportContents:
    """Compute everything that a report shows.

    What this pair or these data cannot have is :class:`Missing`, with the reason.

    Args:
        model, guide: a pair of Pyro programs; all is computed on the model's device.
        data: the data set; its test rows are what is reported. Or rows, as :func:`bayes_vae.diagnose` takes them.
        settings: K, N and seed; the defaults when None.
        name: of the run.
        config: its configuration, as ``RunDirectory.config`` has it.
        history: one row of named figures for each epoch.
        progress: as in :func:`bayes_vae.log_terms`, of each stage in turn.

    Raises:
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.
    """
    settings, data = checked_settings(settings), as_data(data, model, "the report")
    if not isinstance(name, str):
        raise SettingsError(f"name must be text, got {type(name).__name__}.")
    if not all(isinstance(row, Mapping) for row in several("history", history, "rows of figures, as run.history has")):
        raise SettingsError("history must be rows of named figures, as run.history has.")
    began = time.perf_counter()
    most = max(settings.num_observations, settings.num_encoded)
    rows = data.test[:most].seeded(settings.seed)
    prepare_for(model, guide, rows)
    with open_pair(model, guide, rows, seed=settings.seed) as opened:
        first, encoded = opened.take(slice(settings.num_observations)), opened.take(slice(settings.num_encoded))
        with _shown(progress, "ladder") as told:
            comparison, terms = _ladder(replace(first, progress=told), settings)
        with _shown(progress, "inference gap") as told:
            gap = _gap(replace(first, progress=told), settings)
        with _shown(progress, "aggregate posterior") as told:
            aggregate = _aggregate(replace(encoded, progress=told))
        with _shown(progress, "pictures"):
            seen = _or_missing(lambda: pictures(first, _mean_kl(aggregate)))
            latents = _or_missing(lambda: latent_means(decoding_of(encoded), _on_cpu(encoded.rows.labels)))
        x, simulated = first.rows.read()[0], isinstance(opened.pair, ExposedPair) and not data.missing_share
    with _shown(progress, "calibration") as told:
        like = None if simulated else data.train[: settings.num_simulated]
        calibration = _calibration(model, guide, like, settings, told)
    with _shown(progress, "diagnosis") as told:
        training = (config or {}).get("settings", {}).get("training")
        known = {"history": history, "settings": training, "progress": told}
        diagnosis = _diagnosis(model, guide, data, settings, known)
    return ReportContents(
        name,
        config or {},
        history,
        data.summary(),
        settings,
        x.cpu(),
        first.index.cpu(),
        _on_cpu(first.rows.labels),
        data.label_names,
        terms,
        comparison,
        gap,
        aggregate,
        latents,
        seen,
        calibration,
        diagnosis,
        time.perf_counter() - began,
        data.standardization,
    )


def checked_settings(settings: Any, **changes: Any) -> ReportSettings:
    """The settings, the defaults when None, with single ones changed."""
    if not isinstance(settings, ReportSettings | None):
        raise SettingsError(f"settings must be ReportSettings, got {type(settings).__name__}.")
    return replace(settings or ReportSettings(), **changes)


def _shown(progress: Progress | bool | None, stage: str) -> AbstractContextManager[Progress | None]:
    """The progress of a stage, with its number before its name."""
    about: dict[str, Any] = {"unit": "checks", "most": DIAGNOSED_FOR} if stage == "diagnosis" else {}
    return shown(progress, f"report {STAGES.index(stage) + 1}/{len(STAGES)}, {stage}", **about)


def _on_cpu(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else labels.cpu()


def _ladder(opened: OpenPair, settings: ReportSettings) -> tuple[Comparison, Evaluation]:
    """The ladder and the terms, of the same draws."""
    elbo, temperatures = ElboAtDraws("auto"), settings.num_temperatures
    found = comparison_of(opened, _rungs(settings.num_particles), elbo, num_temperatures=temperatures)
    terms = elbo.result(opened)
    return found, Evaluation(terms, found.estimate, found.rungs, found.left_out, found.rungs[0].seconds)


def _aggregate(opened: OpenPair) -> AggregatePosteriorTerms | Missing:
    found = _or_missing(lambda: aggregate_of(opened, AGGREGATE_PARTICLES))
    if isinstance(found, AggregatePosteriorTerms) and found.closed_form_kl is None:
        return Missing(found.why_undefined)
    return found


def _rungs(num_particles: int) -> tuple[int, ...]:
    """The usual rungs up to K that divide it, and K.

    >>> _rungs(200)
    (1, 5, 50, 200)
    """
    return (*(rung for rung in LADDER if rung < num_particles and num_particles % rung == 0), num_particles)


def _or_missing(compute: Callable[[], Found]) -> Found | Missing:
    try:
        return compute()
    except NotDefinedError as error:
        return Missing(str(error))


def _mean_kl(aggregate: AggregatePosteriorTerms | Missing) -> Tensor | None:
    """Of each latent dimension, where it is known."""
    if isinstance(aggregate, Missing):
        return None
    found = _or_missing(lambda: aggregate.mean_kl_per_dimension)
    return None if isinstance(found, Missing) else found


def _gap(opened: OpenPair, settings: ReportSettings) -> InferenceGap | Missing:
    count = settings.num_gap_observations
    if count == 0:
        return Missing("it was not asked for: num_gap_observations is 0.")
    temperatures = settings.num_temperatures or ReportSettings.num_temperatures
    return _or_missing(lambda: gap_of(opened.take(slice(count)), num_temperatures=temperatures))


def _calibration(
    model: Program, guide: Program, like: Split | None, settings: ReportSettings, progress: Progress | None
) -> GuideCalibration | Missing:
    """The guide on data simulated from the model: from its distributions, or else like training rows.

    Values that are missing there are missing in what is simulated, and what stands beside x is that of the rows.
    """
    count = settings.num_simulated
    if count == 0:
        return Missing("it was not asked for: num_simulated is 0.")
    number = {"num_observations": count} if like is None else {"like": like}
    known: dict[str, Any] = {**number, "seed": settings.seed, "progress": progress}
    return _or_missing(lambda: calibrate_guide(model, guide, **known))


def _diagnosis(
    model: Program, guide: Program, data: Data, settings: ReportSettings, known: dict[str, Any]
) -> Diagnosis | Missing:
    count = settings.num_diagnosed
    if count == 0:
        return Missing("it was not asked for: num_diagnosed is 0.")
    about: dict[str, Any] = {"num_observations": count, "seed": settings.seed, "seconds": DIAGNOSED_FOR}
    return diagnose(model, guide, data, **about, **known)
