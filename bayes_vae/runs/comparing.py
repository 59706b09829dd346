"""Comparing models by their evidence: pairs, run directories, or log p(x) from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.evaluation import Evaluation, evaluate
from bayes_vae.estimators.model_comparison import Contender, ModelComparison, compare_contenders, contender_of
from bayes_vae.runs.directory import RunDirectory, load
from bayes_vae.terms.program import Program, modules_of
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import X
from bayes_vae.terms.traits import traits_of
from bayes_vae.terms.whole_numbers import seed_number

__all__ = ["compare_models"]


def compare_models(
    models: Mapping[str, Any],
    x: X | None = None,
    *,
    num_particles: int = 500,
    num_temperatures: int = 50,
    seed: int = 0,
    progress: Any = None,
) -> ModelComparison:
    r"""Which model explains the same observations better, and how sure that is.

    .. math:: \bar d = \frac1N \sum_n \big( \log p_1(x_n) - \log p_2(x_n) \big)

    The difference of each model to the best has a *paired* error, observation by observation; its Monte-Carlo and its
    data error are kept apart. Each model's draws have a seed of their own, derived from ``seed`` and its name; pixels
    that are drawn are the same for all.

    Args:
        models: name → a pair (model, guide), the path of a run directory, a result that holds log p(x) for each
            observation, or such numbers, shape (N,), nats. That results and numbers are of the same observations in the
            same order is for the caller to know.
        x: the observations, as in :func:`bayes_vae.evaluate`; left out where only results and numbers are compared.
        num_particles: K, draws from q for the ELBO and L_K.
        num_temperatures: of annealing.
        seed: of every draw.
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
    runs = {name: RunDirectory(given) for name, given in models.items() if isinstance(given, str | Path)}
    _refuse_other_data(runs)
    pairs = {name: _pair(given) for name, given in models.items()}
    _refuse_unlike({name: pair[0] for name, pair in pairs.items() if pair is not None})
    options = {"num_particles": num_particles, "num_temperatures": num_temperatures, "progress": progress}
    contenders = []
    policy = "unstated"
    for name, given in models.items():
        pair = pairs[name]
        if pair is None:
            contenders.append(contender_of(name, given))
            continue
        if x is None:
            raise SettingsError(f"{name!r} is a pair, and no x was given: pass the observations to compare on.")
        found = evaluate(*pair, x, seed=derived_seed(seed, "compare models", name), **options)
        policy = found.provenance.data_policy
        if name in runs and policy not in ("unstated", runs[name].config["data"]["policy"]):
            raise SettingsError(
                f"the run {name!r} was trained with the data policy {runs[name].config['data']['policy']!r}, and these "
                f"observations have the policy {policy!r}: their figures cannot be compared. Load the run's data."
            )
        contenders.append(_evaluated(name, *pair, found))
    return compare_contenders(contenders, policy)


def _pair(given: Any) -> tuple[Program, Program] | None:
    """A pair as given, or of a run directory; None for what is no pair."""
    if isinstance(given, str | Path):
        return load(given)
    if isinstance(given, tuple) and len(given) == 2 and all(map(callable, given)):
        return given
    return None


def _evaluated(name: str, model: Program, guide: Program, found: Evaluation) -> Contender:
    weights = {
        id(weight): weight
        for program in (model, guide)
        for owner in modules_of(program)
        for weight in owner.parameters()
    }
    best = found.leading
    return Contender(
        name,
        best.values,
        best.standard_errors,
        best.reading,
        best.estimator,
        found.terms.elbo,
        sum(map(Tensor.numel, weights.values())) or None,
        found.seconds + sum(rung.seconds for rung in found.rungs[1:]),
        best.num_particles,
        best.bias,
    )


def _refuse_other_data(runs: Mapping[str, RunDirectory]) -> None:
    """Refuse runs that were trained on other data, or on the same data under another policy."""
    names = list(runs)
    for name, other in pairwise(names):
        one, two = (runs[each].config["data"] for each in (name, other))
        for what in ("digest", "policy"):
            if one.get(what) != two.get(what):
                word = "on other data" if what == "digest" else "under another data policy"
                raise SettingsError(
                    f"the runs {name!r} and {other!r} cannot be compared: one was trained {word} ({one['name']}, "
                    f"{one['policy']}) than the other ({two['name']}, {two['policy']}), so their x differ."
                )


def _refuse_unlike(models: Mapping[str, Program]) -> None:
    """Refuse models whose log p(x) are not of one kind."""
    traits = {name: traits_of(model) for name, model in models.items()}
    conditional = {name: each.needs_labels and not each.infers_labels for name, each in traits.items()}
    _refuse_both(conditional, "is given the label y, so that its figure is log p(x given y)", "gives log p(x)")
    discrete = {n: bool(t.likelihood_family.is_discrete) for n, t in traits.items() if t.likelihood_family is not None}
    _refuse_both(discrete, "gives x a probability", "gives x a density, whose unit depends on that of x")


def _refuse_both(kinds: Mapping[str, bool], one: str, other: str) -> None:
    found = {kind: name for name, kind in kinds.items()}
    if len(found) > 1:
        raise SettingsError(
            f"these models cannot be compared: {found[True]} {one}, and {found[False]} {other}. "
            "Compare models of one kind."
        )
