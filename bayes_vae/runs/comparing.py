"""Comparing models by their evidence: pairs, run directories, or log p(x) from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bayes_vae.distributions import is_discrete
from bayes_vae.errors import SettingsError
from bayes_vae.estimators.contenders import Contender, contender_of, design_of
from bayes_vae.estimators.evaluation import Evaluation, evaluate
from bayes_vae.estimators.model_comparison import ModelComparison, compare_contenders
from bayes_vae.progress import Progress, shown
from bayes_vae.runs.designs import designs_of
from bayes_vae.runs.directory import RunDirectory, load
from bayes_vae.runs.run_data import data_settings, load_run_data
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.devices import resolve_device
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.program import Program, modules_of
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import RowSource, X, prepare_for
from bayes_vae.terms.traits import traits_of
from bayes_vae.terms.whole_numbers import seed_number, whole_number_or_none

__all__ = ["compare_models", "compare_runs"]


@dataclass(frozen=True, eq=False)
class _Training:
    """One entry of a comparison: a pair, a run, or log p(x) from elsewhere.

    Attributes:
        design: the row that it belongs to.
        name: of this training.
        key: what its draws are keyed by, beside the seed.
        given: as the caller has it.
        run: the run directory, if it is one.
        device: of the pair that is loaded from a run.
    """

    design: str
    name: str
    key: tuple[int | str, ...]
    given: Any
    run: RunDirectory | None
    device: str = "cpu"

    @cached_property
    def pair(self) -> tuple[Program, Program] | None:
        """A pair as given, or of a run directory; None for what is no pair."""
        if self.run is not None:
            model, guide = load(self.run.path)
            return model.to(self.device), guide.to(self.device)
        return self.given if _is_pair(self.given) else None


def compare_models(
    models: Mapping[str, Any],
    x: X | None = None,
    *,
    num_particles: int = 500,
    num_temperatures: int = 50,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | bool | None = None,
) -> ModelComparison:
    r"""Which model explains the same observations better, and how sure that is.

    .. math:: \bar d = \frac1N \sum_n \big( \log p_1(x_n) - \log p_2(x_n) \big)

    The difference of each model to the best has a *paired* error, observation by observation; its Monte-Carlo and its
    data error are kept apart. Each model's draws have a seed of their own, derived from ``seed`` and its name; pixels
    that are drawn are the same for all.

    Args:
        models: name → a pair (model, guide), the path of a run directory, a result that holds log p(x) for each
            observation, or such numbers, shape (N,), nats. That results and numbers are of the same observations in the
            same order is for the caller to know. A list of pairs, of run directories or of results holds the trainings
            of one design with several seeds: they are one row, and their spread is an error of the difference.
        x: the observations, as in :func:`bayes_vae.evaluate`; left out where only results and numbers are compared.
        num_particles: K, draws from q for the ELBO and L_K.
        num_temperatures: of annealing.
        seed: of every draw.
        device: of the pairs that are loaded from run directories.
        progress: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`bayes_vae.ModelComparison`, best first.

    Raises:
        SettingsError: fewer than two models; no x for a pair; densities against probability masses; log p(x) against
            log p(x given y).
        ShapeError: log p(x) of other numbers of observations, or something that is none.

    Reference: MacKay (1992), "Bayesian interpolation", section 3, on comparing models by their evidence.
    """
    wrong = [name for name in models if not isinstance(name, str) or not name]
    if wrong:
        raise SettingsError(f"each model needs a name, a text that is not empty; got {wrong[0]!r}.")
    seed = seed_number("seed", seed)
    trainings = list(_trainings(models, str(resolve_device(device))))
    _refuse_other_data([each for each in trainings if each.run is not None])
    _refuse_unlike({each.name: each.pair for each in trainings if each.pair is not None}, x)
    found: dict[str, list[Contender]] = {name: [] for name in models}
    origins: dict[str, Provenance] = {}
    with shown(progress, "comparison") as told:
        for number, each in enumerate(trainings):
            if each.pair is None:
                found[each.design].append(contender_of(each.name, each.given))
                if isinstance(origin := getattr(each.given, "provenance", None), Provenance):
                    origins[each.name] = origin
                continue
            if x is None:
                raise SettingsError(
                    f"{each.name!r} is a pair, and no x was given: pass the observations to compare on."
                )
            if each.run is not None and isinstance(x, RowSource):
                prepare_for(*each.pair, x)
            evaluation = evaluate(
                *each.pair,
                x,
                num_particles,
                num_temperatures=num_temperatures,
                seed=derived_seed(seed, "compare models", *each.key),
                progress=_part(told, number, len(trainings)),
            )
            origins[each.name] = evaluation.provenance
            _refuse_another_policy(each, evaluation.provenance.data_policy)
            found[each.design].append(_evaluated(each.name, *each.pair, evaluation))
    _refuse_other_observations(origins)
    stated = [origin.data_policy for origin in origins.values() if origin.data_policy != "unstated"]
    contenders = [design_of(name, members) for name, members in found.items()]
    return compare_contenders(contenders, stated[0] if stated else "unstated")


def compare_runs(
    runs: Sequence[str | Path],
    x: X | None = None,
    *,
    num_observations: int | None = 500,
    num_particles: int = 500,
    num_temperatures: int = 50,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | bool | None = None,
) -> ModelComparison:
    """Compare run directories on their test set; those that differ only in their seed are one row.

    Args:
        runs: the folders.
        x: the observations; the first test observations of the runs' own data when None.
        num_observations: how many of those; all when None.
        Others: as in :func:`bayes_vae.compare_models`.

    Returns:
        :class:`bayes_vae.ModelComparison`, best first.

    Raises:
        SettingsError: as :func:`bayes_vae.compare_models`, a run that is named twice, or two of the same settings and
            seed; fewer than two designs.
        RunError: not a run directory.
        DataError: the runs' data are not there any more.
    """
    num_observations = whole_number_or_none("num_observations", num_observations)
    designs = designs_of(runs)
    if len(designs) == 1 and len(runs) > 1:
        raise SettingsError(
            f"these {len(runs)} runs differ only in their seed: they are trainings of one design, and there is none to "
            "compare it with. Name a run with other settings too."
        )
    if x is None:
        _refuse_other_data(
            [_Training("", str(each.path), (), None, each) for group in designs.values() for each in group]
        )
        first = next(iter(designs.values()))[0]
        data = load_run_data(first, data_settings(first, named=False))
        x = data.test[:num_observations].seeded(seed)
    return compare_models(
        {name: [run.path for run in group] for name, group in designs.items()},
        x,
        num_particles=num_particles,
        num_temperatures=num_temperatures,
        seed=seed,
        device=device,
        progress=progress,
    )


def _trainings(models: Mapping[str, Any], device: str) -> Iterator[_Training]:
    """Every training, design by design."""
    for name, given in models.items():
        if not isinstance(name, str) or not name:
            raise SettingsError(f"each model needs a name, a text that is not empty; got {name!r}.")
        members = given if isinstance(given, list) and any(map(_is_training, given)) else [given]
        for number, one in enumerate(members):
            run = RunDirectory(one) if isinstance(one, str | Path) else None
            if len(members) == 1:
                yield _Training(name, name, (name,), one, run, device)
            else:
                own = f"{name} {number + 1}" if run is None else str(run.path)
                yield _Training(name, own, (name, number), one, run, device)


def _is_training(given: Any) -> bool:
    """Whether an entry of a list is a training of a design, and not one of N numbers."""
    return not (isinstance(given, Number) or (isinstance(given, np.ndarray | Tensor) and given.ndim == 0))


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(map(callable, given))


def _part(progress: Progress | None, number: int, of: int) -> Progress | None:
    """Progress over one of several models, told as progress over all."""
    return None if progress is None else lambda done, total: progress(number * total + done, of * total)


def _refuse_another_policy(training: _Training, policy: str) -> None:
    """Refuse observations that the run was not trained for."""
    if training.run is None or policy in ("unstated", training.run.config["data"]["policy"]):
        return
    own = training.run.config["data"]["policy"]
    raise SettingsError(
        f"the run {training.name!r} was trained with the data policy {own!r}, and these observations have the policy "
        f"{policy!r}: their figures cannot be compared. Load the run's data."
    )


def _refuse_other_observations(origins: Mapping[str, Provenance]) -> None:
    """Refuse figures of different policies, or of different zeros and ones drawn from the same pixels."""
    for field, words in (("data_policy", "the data policy"), ("pixel_seed", "pixels drawn by the seed")):
        known = {name: getattr(origin, field) for name, origin in origins.items()}
        known = {name: value for name, value in known.items() if value not in ("unstated", None)}
        for (one, first), (other, second) in pairwise(known.items()):
            if first != second:
                raise SettingsError(
                    f"these figures cannot be compared: that of {one!r} is of {words} {first!r}, and that of {other!r} "
                    f"of {words} {second!r}, so their observations differ. Evaluate both on the same rows."
                )


def _evaluated(name: str, model: Program, guide: Program, found: Evaluation) -> Contender:
    weights = {
        id(weight): weight
        for program in (model, guide)
        for owner in modules_of(program)
        for weight in owner.parameters()
    }
    return replace(contender_of(name, found), num_parameters=sum(map(Tensor.numel, weights.values())) or None)


def _refuse_other_data(trainings: Sequence[_Training]) -> None:
    """Refuse runs that were trained on other data, or on the same data under another policy."""
    for one, other in pairwise(trainings):
        first, second = (each.run.config["data"] for each in (one, other) if each.run is not None)
        for what, word in (("policy", "under another data policy"), ("digest", "on other data")):
            if first.get(what) != second.get(what):
                scaled = [" standardized" if "standardization" in each else "" for each in (first, second)]
                raise SettingsError(
                    f"the runs {one.name!r} and {other.name!r} cannot be compared: one was trained {word} "
                    f"({first['name']}{scaled[0]}, {first['policy']}) than the other ({second['name']}{scaled[1]}, "
                    f"{second['policy']}), so their x differ."
                )


def _refuse_unlike(pairs: Mapping[str, tuple[Program, Program]], x: X | None) -> None:
    """Refuse models whose log p(x) are not of one kind."""
    traits = {name: traits_of(model) for name, (model, _) in pairs.items()}
    conditional = {name: each.needs_labels and not each.infers_labels for name, each in traits.items()}
    _refuse_both(conditional, "is given the label y, so that its figure is log p(x given y)", "gives log p(x)")
    families = {name: each.likelihood_family for name, each in traits.items()}
    discrete = {
        name: _gives_probabilities(*pairs[name], x) if family is None else bool(family.is_discrete)
        for name, family in families.items()
    }
    known = {name: kind for name, kind in discrete.items() if kind is not None}
    _refuse_both(known, "gives x a probability", "gives x a density, whose unit depends on that of x")


def _gives_probabilities(model: Program, guide: Program, x: X | None) -> bool | None:
    """Whether the observed sites of a program from elsewhere are discrete; None where they are of both kinds."""
    if x is None:
        return None
    with open_pair(model, guide, x) as opened:
        few = opened.take(slice(0, 2)) if opened.pair.splittable else opened
        batch = next(few.batches(1))
        latents = next(batch.draws()).latents
        kinds = {is_discrete(site.fn) for site in batch.bound.model_sites(latents) if site.name not in latents}
    return kinds.pop() if len(kinds) == 1 else None


def _refuse_both(kinds: Mapping[str, bool], one: str, other: str) -> None:
    found = {kind: name for name, kind in kinds.items()}
    if len(found) > 1:
        raise SettingsError(
            f"these models cannot be compared: {found[True]} {one}, and {found[False]} {other}. "
            "Compare models of one kind."
        )
