"""``bayes-vae explain``: the terms of Bayes' rule for one observation, as a table and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.loading import OpenedRun, open_named
from bayes_vae.cli.results import evaluation, figure
from bayes_vae.cli.tables import terms_table, trust_text
from bayes_vae.errors import SettingsError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import ExplainSettings
from bayes_vae.vocabulary.number_text import value_text
from bayes_vae.vocabulary.readings import Reading
from bayes_vae.vocabulary.symbols import symbol_of

if TYPE_CHECKING:
    from torch import Tensor

    from bayes_vae.data import Split
    from bayes_vae.estimators.evaluation import Evaluation
    from bayes_vae.estimators.grid import BayesRuleOnGrid
    from bayes_vae.terms.opened import OpenPair
    from bayes_vae.terms.program import Observations

__all__ = ["explain", "explanation_text", "run"]

RECONSTRUCTIONS = 3
"""Draws from q whose p(x given z) is shown."""

AT_DRAWS = ("log_prior", "log_guide")
"""Terms at q's draws that are not among those of an evaluation."""

SUMS = {
    "expected_log_likelihood": "expected_log_likelihood",
    "kl_to_prior": "kl_to_prior",
    "elbo": "elbo",
    "log_evidence": "log_evidence",
    "inference_gap": "inference_gap",
    "log_prior": "expected_log_prior",
    "log_guide": "expected_log_guide",
}
"""Term → what it is called on a grid, which needs no draws for it."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    opened, settings, as_json = open_named(
        arguments,
        "explain",
        "Bayes' rule for one test observation of a run: its terms, and with two latent dimensions prior × likelihood ÷ "
        "evidence = posterior on a grid; draws RUN/figures/explain-INDEX.png.",
        ExplainSettings,
    )
    result = explain(opened, settings)
    return opened.show(result, explanation_text(result), f"Drawn in {result['figure']}", as_json)


def explain(opened: OpenedRun, settings: ExplainSettings) -> dict[str, Any]:
    """Compute every term of one observation, and draw them; the result in JSON types.

    Raises:
        SettingsError: there is no such test observation.
    """
    from bayes_vae.estimators.evaluation import evaluation_of
    from bayes_vae.plots import bayes_rule_figure
    from bayes_vae.plots.one_observation import one_observation_figure
    from bayes_vae.terms.at_draws import TermsAtDraws
    from bayes_vae.terms.averages import average
    from bayes_vae.terms.opened import open_pair

    at_draws, rows = TermsAtDraws(keep_latents=True), _observation(opened, settings)
    with (
        ProgressBar("explanation") as progress,
        open_pair(opened.model, opened.guide, rows, seed=settings.seed, progress=progress) as pair,
    ):
        temperatures = settings.num_temperatures
        evaluated = evaluation_of(pair, settings.num_particles, at_draws, num_temperatures=temperatures)
        draws = at_draws.result(pair)
        size = sum(value[0, 0].numel() for value in draws.latents.values())
        rule, why_no_grid = _grid(pair, size, settings.num_points)
        x, index = pair.rows.read(), pair.index
    result = evaluation(evaluated)
    for name in AT_DRAWS:
        values = getattr(draws, name)
        error = values.std(0) / len(values) ** 0.5
        mean = average(name, values.mean(0), error, len(values))
        drawn = figure(mean, "mean over draws from q", draws.provenance)
        result["terms"][name] = {**drawn, "symbol": f"E_q {symbol_of(name)}"}
    if rule is not None and bool(rule.resolved):
        result["terms"].update(_exact_terms(rule, evaluated))
    kl, why_no_kl = _kl_per_dimension(evaluated.terms)
    observed = x[0][0]
    if rule is None:
        means, log_weights = _reconstructions(opened, settings, x, index), draws.log_importance_weights[:, 0]
        picture = one_observation_figure(evaluated, log_weights, observed, means, kl)
    else:
        picture = bayes_rule_figure(rule, 0, observed.cpu())
    return {
        "run": str(opened.directory.path),
        "data": opened.about_data,
        "index": settings.index,
        "label": None if rows.labels is None else rows.labels[0].item(),
        **result,
        "kl_per_dimension": None if kl is None else kl.tolist(),
        "why_no_kl_per_dimension": why_no_kl,
        "grid": None if rule is None else _grid_figures(rule),
        "why_no_grid": why_no_grid,
        "figure": opened.draw(f"explain-{settings.index}", picture),
    }


def _observation(opened: OpenedRun, settings: ExplainSettings) -> Split:
    """One test observation, as rows."""
    from bayes_vae.terms.rows import prepare_for

    count, place = len(opened.data.test), settings.index
    if not 0 <= place < count:
        raise SettingsError(
            f"index must be one of the {count:,} test observations of {opened.data.name}, 0 to {count - 1}, "
            f"got {place}."
        )
    rows = opened.data.test[place].seeded(settings.seed)
    prepare_for(opened.model, opened.guide, rows)
    return rows


def _kl_per_dimension(terms: Any) -> tuple[Tensor | None, str]:
    """The KL of each dimension, shape (D,), or why there is none."""
    from bayes_vae.errors import NotDefinedError

    try:
        return terms.kl_per_dimension[0].cpu(), ""
    except NotDefinedError as error:
        return None, str(error)


def _grid(pair: OpenPair, size: int, num_points: int) -> tuple[Any, str]:
    """Every term on a grid over two latent dimensions, or why there is no grid."""
    from bayes_vae.errors import NotDefinedError
    from bayes_vae.estimators.grid import on_grid

    if size > 2:
        nodes = f"{num_points} nodes along each would make {float(num_points) ** size:.1g}"
        return None, f"z has {size} numbers, and {nodes}; the terms are means over draws from q instead."
    try:
        return on_grid(pair.quiet(), num_points=num_points), ""
    except NotDefinedError as error:
        return None, str(error)


def _grid_figures(rule: Any) -> dict[str, Any]:
    """The terms of Bayes' rule where the posterior is highest, and the evidence of the grid."""
    row, column = divmod(int(rule.log_posterior[0].argmax()), rule.num_points)
    at_z = ("log_prior", "log_likelihood", "log_posterior", "log_guide")
    return {
        "num_points": rule.num_points,
        "resolved": bool(rule.resolved),
        "z": [float(rule.first_axis[row]), float(rule.second_axis[column])],
        **{name: getattr(rule, name)[..., row, column].item() for name in at_z},
        **{name: getattr(rule, name).item() for name in ("log_evidence", "inference_gap", "refinement_error")},
    }


def _exact_terms(rule: BayesRuleOnGrid, evaluated: Evaluation) -> dict[str, Any]:
    """The terms of the ELBO and the gap as sums over the grid, without a draw: they keep to log p(x) = ELBO + KL.

    In the Monte-Carlo error's place stands what leaving out every second node changes.
    """
    from bayes_vae.terms.averages import Average

    closed = {"kl_to_prior"} if evaluated.terms.kl == "analytic" else set()
    closed |= {"log_evidence"} if evaluated.leading.name == "exact" else set()
    words, coarse, found = f"sum over a grid of {rule.num_points} × {rule.num_points}", rule.coarser, {}
    for name, of_grid in SUMS.items():
        value = getattr(rule, of_grid).item()
        error = abs(getattr(coarse, of_grid).item() - value)
        average = Average(name, value, error, math.nan, 0, 1, Reading("quadrature"))
        symbol = f"E_q {symbol_of(name)}" if name in AT_DRAWS else symbol_of(name)
        found[name] = {**figure(average, words, rule.provenance), "symbol": symbol}
    return {name: term for name, term in found.items() if name not in closed}


def _reconstructions(opened: OpenedRun, settings: ExplainSettings, x: Observations, index: Tensor) -> Tensor | None:
    """The means of p(x given z) for a few z drawn from q; None where the model has no such means."""
    import torch

    from bayes_vae.terms.traits import traits_of

    reconstruct, inputs = traits_of(opened.model).reconstruct, x if len(x) > 1 else x[0]
    if reconstruct is None:
        return None
    seeds = range(settings.seed, settings.seed + RECONSTRUCTIONS)
    return torch.cat([reconstruct(inputs, opened.guide, seed=seed, index=index) for seed in seeds])


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
            trust_text(result, terms["importance_weighted_bound"]),
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
    points = f"{grid['num_points']} × {grid['num_points']} nodes"
    bound = result["terms"]["importance_weighted_bound"]["symbol"]
    exact = f"All of these but {bound} are sums over {points}, without draws.\n"
    return (
        f"{exact if grid['resolved'] else ''}"
        f"At z = ({z}), where the posterior is highest, log prior + log likelihood − log evidence = log posterior:\n"
        f"{prior} + ({likelihood}) − ({evidence}) = {posterior} nats. log q(z|x) is {value_text(grid['log_guide'])} "
        f"there; KL(q ‖ posterior) = {value_text(grid['inference_gap'])}."
    )
