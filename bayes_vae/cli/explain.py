"""``bayes-vae explain``: the terms of Bayes' rule for one observation, as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.evaluate import open_named, run_flags
from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import json_text, say
from bayes_vae.cli.progress import Progress
from bayes_vae.cli.results import evaluation, figure
from bayes_vae.cli.tables import annealing_text, conditions, reliability_text, terms_table
from bayes_vae.errors import SettingsError
from bayes_vae.settings import ExplainSettings
from bayes_vae.vocabulary.number_text import value_text
from bayes_vae.vocabulary.symbols import symbol_of

if TYPE_CHECKING:
    from torch import Tensor

    from bayes_vae.cli.loading import OpenedRun

__all__ = ["explain", "explanation_text", "run"]

RECONSTRUCTIONS = 3
"""Draws from q whose p(x given z) is shown."""

AT_DRAWS = ("log_prior", "log_guide")
"""Terms at q's draws that are not among those of an evaluation."""


def flags() -> Flags:
    """The flags of the command."""
    return run_flags(
        "explain",
        "Bayes' rule for one test observation of a run: its terms, and with two latent dimensions prior × likelihood ÷ "
        "evidence = posterior on a grid; draws RUN/figures/explain-INDEX.png.",
        ExplainSettings,
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = flags().parse_args(arguments)
    settings = build_settings(ExplainSettings, options)
    result = explain(open_named(options), settings)
    say(json_text(result) if options.json else explanation_text(result))
    return 0


def explain(opened: OpenedRun, settings: ExplainSettings) -> dict[str, Any]:
    """Compute every term of one observation, and draw them.

    Args:
        opened: the run.
        settings: which observation, K and seed.

    Returns:
        the result in JSON types.

    Raises:
        SettingsError: there is no such test observation.
    """
    from bayes_vae.estimators.evaluation import evaluate
    from bayes_vae.plots import save_figure
    from bayes_vae.terms import log_terms
    from bayes_vae.terms.averages import average

    x, index = _observation(opened, settings)
    shared: dict[str, Any] = {"index": index, "seed": settings.seed, "data_policy": opened.data.policy}
    pair = opened.model, opened.guide
    with Progress("explanation") as progress:
        evaluated = evaluate(
            *pair, x, settings.num_particles, num_temperatures=settings.num_temperatures, progress=progress, **shared
        )
    draws = log_terms(*pair, x, settings.num_particles, keep_latents=True, **shared)
    result = evaluation(evaluated)
    for name in AT_DRAWS:
        values = getattr(draws, name)
        error = values.std(0) / len(values) ** 0.5
        at_draws = average(name, values.mean(0), error, len(values))
        drawn = figure(at_draws, "mean over draws from q", draws.provenance)
        result["terms"][name] = {**drawn, "symbol": f"E_q {symbol_of(name)}"}
    kl, why_no_kl = _kl_per_dimension(evaluated.terms)
    size = sum(value[0, 0].numel() for value in draws.latents.values())
    rule, why_no_grid = _grid(pair, x, size, settings.num_points, shared)
    if rule is None:
        picture = _terms_picture(opened, settings, x, index, evaluated, draws.log_importance_weights[:, 0], kl)
    else:
        picture = _rule_picture(rule, x)
    name = f"figures/explain-{settings.index}{opened.suffix}.png"
    label = opened.data.test.labels
    return {
        "run": str(opened.directory.path),
        "data": {"name": opened.data.name, "split": "test", "policy": opened.data.policy},
        "index": settings.index,
        "label": None if label is None else _plain(label[settings.index]),
        **result,
        "kl_per_dimension": None if kl is None else kl.tolist(),
        "why_no_kl_per_dimension": why_no_kl,
        "grid": None if rule is None else _grid_figures(rule),
        "why_no_grid": why_no_grid,
        "figure": str(opened.directory.add_file(name, save_figure(picture))),
    }


def _observation(opened: OpenedRun, settings: ExplainSettings) -> tuple[Any, Tensor]:
    """One test observation, a batch of one, and its index."""
    from bayes_vae.terms.program import as_observations, take_rows

    count, place = len(opened.data.test), settings.index
    if not 0 <= place < count:
        raise SettingsError(
            f"index must be one of the {count:,} test observations of {opened.data.name}, 0 to {count - 1}, "
            f"got {place}."
        )
    x, index = opened.test_set(place + 1, settings.seed)
    parts = take_rows(as_observations(x), slice(place, None))
    return parts if len(parts) > 1 else parts[0], index[place:]


def _plain(label: Tensor) -> int | float:
    number: int | float = label.item()
    return number


def _kl_per_dimension(terms: Any) -> tuple[Tensor | None, str]:
    """The KL of each dimension, shape (D,), or why there is none."""
    from bayes_vae.errors import NotDefinedError

    try:
        return terms.kl_per_dimension[0].cpu(), ""
    except NotDefinedError as error:
        return None, str(error)


def _grid(pair: tuple[Any, Any], x: Any, size: int, num_points: int, shared: dict[str, Any]) -> tuple[Any, str]:
    """Every term on a grid over two latent dimensions, or why there is no grid."""
    from bayes_vae.errors import NotDefinedError
    from bayes_vae.estimators.grid import bayes_rule_on_grid

    if size > 2:
        nodes = f"{num_points} nodes along each would make {float(num_points) ** size:.1g}"
        return None, f"z has {size} numbers, and {nodes}; the terms are means over draws from q instead."
    try:
        return bayes_rule_on_grid(*pair, x, num_points=num_points, **shared), ""
    except NotDefinedError as error:
        return None, str(error)


def _grid_figures(rule: Any) -> dict[str, Any]:
    """The terms of Bayes' rule where the posterior is highest, and the evidence of the grid."""
    row, column = divmod(int(rule.log_posterior[0].argmax()), rule.num_points)
    return {
        "num_points": rule.num_points,
        "z": [float(rule.first_axis[row]), float(rule.second_axis[column])],
        "log_prior": float(rule.log_prior[row, column]),
        "log_likelihood": float(rule.log_likelihood[0, row, column]),
        "log_evidence": float(rule.log_evidence[0]),
        "log_posterior": float(rule.log_posterior[0, row, column]),
        "log_guide": float(rule.log_guide[0, row, column]),
        "inference_gap": float(rule.inference_gap[0]),
        "refinement_error": float(rule.refinement_error[0]),
    }


def _rule_picture(rule: Any, x: Any) -> Any:
    from bayes_vae.plots import bayes_rule_figure
    from bayes_vae.terms.program import as_observations

    return bayes_rule_figure(rule, 0, as_observations(x)[0][0].cpu())


def _terms_picture(
    opened: OpenedRun,
    settings: ExplainSettings,
    x: Any,
    index: Tensor,
    evaluated: Any,
    log_weights: Tensor,
    kl: Tensor | None,
) -> Any:
    import torch

    from bayes_vae.plots.one_observation import one_observation_figure
    from bayes_vae.terms.program import as_observations

    means = None
    if hasattr(opened.model, "reconstruct"):
        seeds = range(settings.seed, settings.seed + RECONSTRUCTIONS)
        drawn = [opened.model.reconstruct(x, opened.guide, seed=seed, index=index) for seed in seeds]
        means = torch.cat(drawn)
    return one_observation_figure(evaluated, log_weights, as_observations(x)[0][0], means, kl)


def explanation_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    terms = result["terms"]
    label = "" if result["label"] is None else f" (label {result['label']})"
    return "\n".join(
        [
            f"Test observation {result['index']} of {result['data']['name']}{label}.",
            "",
            terms_table(terms),
            "",
            _grid_text(result),
            annealing_text(result["annealing"]),
            reliability_text(result["reliability"]),
            conditions(terms["elbo"], result["data"]["name"]),
            f"Drawn in {result['figure']}",
        ]
    )


def _grid_text(result: dict[str, Any]) -> str:
    """Bayes' rule where the posterior is highest, or why it is not drawn on a grid."""
    grid = result["grid"]
    if grid is None:
        kl = result["kl_per_dimension"]
        dimensions = "" if kl is None else f"\nKL by dimension: {', '.join(value_text(value) for value in kl)}."
        return f"No grid: {result['why_no_grid']}{dimensions}"
    z = ", ".join(value_text(value) for value in grid["z"])
    names = ("log_prior", "log_likelihood", "log_evidence", "log_posterior")
    prior, likelihood, evidence, posterior = (value_text(grid[name]) for name in names)
    return (
        f"At z = ({z}), where the posterior is highest, log prior + log likelihood − log evidence = log posterior:\n"
        f"{prior} + ({likelihood}) − ({evidence}) = {posterior} nats. The guide has {value_text(grid['log_guide'])} "
        f"there; KL(q ‖ posterior) = {value_text(grid['inference_gap'])}."
    )
