"""``bayes-vae rate-distortion``: what the decoder of a run can do at each rate, without retraining."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import OpenedRun, open_with, require_folders, run_flags
from bayes_vae.cli.output import table
from bayes_vae.errors import SettingsError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import RateDistortionSettings
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, error_text, value_text

if TYPE_CHECKING:
    from bayes_vae.estimators import ElboTerms, RateDistortion

    Curves = dict[str, RateDistortion]
    Encoders = dict[str, ElboTerms]

__all__ = ["annealed_curves", "curve_text", "curves_in_json", "curves_of", "run"]

DESCRIPTION = (
    "The rate–distortion curve of one or several runs on the test set, annealed from the prior, and where the "
    "run's own q lies; draws figures/rate_distortion.png in the first run. "
    "Example: bayes-vae rate-distortion runs/a runs/b --betas 0.1 0.3 1"
)


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = run_flags("rate-distortion", "RUN [RUN ...] [--flag value ...]", DESCRIPTION, RateDistortionSettings)
    parser.add_argument("run", metavar="RUN", nargs="+", help="run directories, trained on the same data")
    parser.add_common()
    options = parser.parse_args(arguments)
    settings = build_settings(RateDistortionSettings, options)
    runs = _opened(options)
    result, first = curves_of(runs, settings), next(iter(runs.values()))
    return first.show(result, curve_text(result), f"Drawn in {result['figure']}", options.json)


def _opened(options: Namespace) -> dict[str, OpenedRun]:
    """Name → run; the names are those of the folders, as long as they differ.

    Raises:
        RunError: no such folder.
        SettingsError: a run named twice, or runs whose observations or units differ.
    """
    require_folders(options.run)
    resolved = [Path(path).resolve() for path in options.run]
    if len(set(resolved)) < len(resolved):
        raise SettingsError("a run is named twice: name each once.")
    from bayes_vae.terms.traits import traits_of

    short = [path.name for path in resolved]
    names = short if len(set(short)) == len(short) else options.run
    runs = {name: open_with(options, path) for name, path in zip(names, options.run, strict=True)}
    first, *others = runs.values()
    for other in others:
        both = f"{first.directory.path} and {other.directory.path}"
        if (first.data.digest, first.data.policy) != (other.data.digest, other.data.policy):
            raise SettingsError(
                f"{both} were trained on different data, or under different data policies: their curves are for "
                "different observations."
            )
        traits = [traits_of(each.model) for each in (first, other)]
        if len({each.needs_labels and not each.infers_labels for each in traits}) > 1:
            raise SettingsError(
                f"one of {both} is given the label y, so its curve is of p(x given y), and the other is not: "
                "their curves cannot be compared."
            )
        families = [each.likelihood_family for each in traits]
        if None not in families and bool(families[0].is_discrete) != bool(families[1].is_discrete):
            raise SettingsError(
                f"one of {both} gives x a probability and the other a density, whose unit depends on that of x: their "
                "distortions cannot be compared."
            )
    return runs


def curves_of(runs: dict[str, OpenedRun], settings: RateDistortionSettings) -> dict[str, Any]:
    """Anneal every run's curve, and draw them; the result in JSON types."""
    from bayes_vae.plots import rate_distortion_figure

    curves, encoders = annealed_curves(runs, settings)
    first = next(iter(runs.values()))
    return {
        "run": str(first.directory.path),
        "data": first.about_data,
        **curves_in_json(runs, curves, encoders),
        "seed": settings.seed,
        "figure": first.draw("rate_distortion", rate_distortion_figure(curves, encoders)),
    }


def annealed_curves(runs: dict[str, OpenedRun], settings: RateDistortionSettings) -> tuple[Curves, Encoders]:
    """Every run's curve, and the ELBO's terms of its own q, by name."""
    from bayes_vae.estimators import elbo_terms, rate_distortion

    curves: Curves = {}
    encoders: Encoders = {}
    for name, opened in runs.items():
        rows = opened.test_rows(settings.num_observations, settings.seed)
        with ProgressBar(f"curve of {name}") as progress:
            curves[name] = rate_distortion(
                opened.model,
                opened.guide,
                rows,
                settings.betas,
                num_temperatures=settings.num_temperatures,
                num_chains=settings.num_chains,
                seed=settings.seed,
                progress=progress,
            )
        encoders[name] = elbo_terms(opened.model, opened.guide, rows, settings.num_particles, seed=settings.seed)
    return curves, encoders


def curves_in_json(runs: dict[str, OpenedRun], curves: Curves, encoders: Encoders) -> dict[str, Any]:
    """The curves and what they were annealed with, in JSON types."""
    found = next(iter(curves.values()))
    return {
        "num_observations": found.num_observations,
        "num_chains": found.num_chains,
        "num_temperatures": found.num_temperatures,
        "runs": [
            {
                "name": name,
                "run": str(runs[name].directory.path),
                "curve": curve.as_json(),
                "own_q": _own_q(encoders[name]),
            }
            for name, curve in curves.items()
        ],
    }


def _own_q(terms: ElboTerms) -> dict[str, Any]:
    """Where the run's own q lies: the KL is its rate, minus the expected log likelihood its distortion."""
    averages = terms.averages()
    rate, distortion = averages["kl_to_prior"], averages["expected_log_likelihood"]
    return {
        name: {
            "value": sign * found.value,
            "monte_carlo_error": found.monte_carlo_error,
            "data_error": found.data_error,
        }
        for name, found, sign in (("rate", rate, 1), ("distortion", distortion, -1))
    }


def curve_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    parts = []
    for each in result["runs"]:
        rows = [[f"{point['beta']:g}", *_cells(point), point["rate"]["note"]] for point in each["curve"]]
        rows.append(["its q", *_cells(each["own_q"]), ""])
        parts += [f"{each['name']}", table(["β", "rate", "±", "distortion", "±", ""], rows, right=(0, 1, 2, 3, 4)), ""]
    beside = conditions(
        None,
        f"{result['num_observations']:,} test observations",
        result["data"]["policy"],
        f"{result['num_temperatures']} temperatures",
        "±: Monte-Carlo error",
        unit=capitalized(PER_OBSERVATION),
        seed=result["seed"],
    )
    said = "At β = 1 rate + distortion = −log p(x). No q with this decoder and prior lies below the curve."
    return "\n".join([*parts, said, f"Chains: {result['num_chains']}. {beside}."])


def _cells(point: dict[str, Any]) -> list[str]:
    return [
        text
        for name in ("rate", "distortion")
        for text in (value_text(point[name]["value"]), error_text(point[name]["monte_carlo_error"]))
    ]
