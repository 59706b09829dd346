"""``bayes-vae refit-prior``: a better p(z) for a trained run, its decoder and q frozen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.loading import OpenedRun, open_named
from bayes_vae.cli.output import json_text, table
from bayes_vae.cli.train import command_line
from bayes_vae.errors import SettingsError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import RefitPriorSettings
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, error_text, value_text
from bayes_vae.vocabulary.symbols import TERMS

if TYPE_CHECKING:
    from bayes_vae.training import RefittedPrior

__all__ = ["refit_run", "refitted_text", "run"]

FIGURE = "figures/refitted_prior.png"

REFITTED, KEPT = 0, 1
"""Exit codes: the new prior is better and its run is written; the old prior is kept and nothing is written."""

DESCRIPTION = (
    "Fit a better p(z) to the codes of a trained run, whose decoder and q stay as they are, and save the pair as a new "
    "run. This helps where reconstructions are good and samples are bad. The prior is fitted on training rows, stopped "
    "on validation rows and compared on test rows. The exit code is 0 if log p(x) rose and the new run is written, 1 "
    "if the old prior is kept and nothing is written. Example: bayes-vae refit-prior runs/a --prior flow --out "
    "runs/a-flow"
)


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    opened, settings, as_json = open_named(arguments, "refit-prior", DESCRIPTION, RefitPriorSettings)
    if settings.out is None:
        raise SettingsError("say where the run with the new prior goes: --out NEWRUN.")
    refitted = refit_run(opened, settings, command_line("refit-prior", arguments))
    result: dict[str, Any] = {"run": str(opened.directory.path), "data": opened.about_data, **refitted.as_json()}
    out = Path(settings.out) if refitted.run is not None else None
    result |= {"new_run": None if out is None else str(out), "figure": None if out is None else str(out / FIGURE)}
    written = f"Nothing was written: keep {result['run']}, or try another --prior."
    if out is not None:
        opened.pending.append(partial(_store, refitted, out, settings, json_text(result).encode()))
        written = f"Saved as {out}; drawn in {result['figure']}"
    opened.show(result, refitted_text(refitted, result, settings), written, as_json)
    return KEPT if out is None else REFITTED


def refit_run(opened: OpenedRun, settings: RefitPriorSettings, command: str) -> RefittedPrior:
    """Fit the prior to the run's own training rows, and compare on its test rows.

    Raises:
        SettingsError: other data than the run's, or its own folder as the new one.
        RunError: a folder that a run cannot be saved to, said before the work.
    """
    from bayes_vae.runs import check_destination
    from bayes_vae.training import refit_prior

    directory = opened.directory
    assert settings.out is not None
    if Path(settings.out).resolve() == directory.path.resolve():
        raise SettingsError(f"--out is the run itself, {directory.path}: it stays as it is. Choose another folder.")
    check_destination(settings.out, overwrite=settings.overwrite)
    if directory.suffix_for(opened.data.summary()):
        raise SettingsError(
            f"refit-prior fits to the training rows of the run itself, but these are other data ({opened.data.name}, "
            f"policy {opened.data.policy}). Leave --data and --policy out, or say with --data where the run's data are."
        )
    kept = {name: value for name, value in directory.settings.items() if name in ("data", "training")}
    with ProgressBar("prior") as progress:
        return refit_prior(
            opened.model,
            opened.guide,
            opened.data,
            settings=settings,
            sections=kept,
            command=" && ".join(filter(None, [directory.config.get("command", ""), command])),
            progress=progress,
        )


def _store(refitted: RefittedPrior, out: Path, settings: RefitPriorSettings, result: bytes) -> None:
    """Write the run with the new prior, the figure and the result."""
    from bayes_vae.plots import refitted_prior_figure, save_figure
    from bayes_vae.runs import RunDirectory, save

    assert refitted.run is not None
    save(refitted.run, out, overwrite=settings.overwrite)
    directory = RunDirectory(out)
    directory.add_file(FIGURE, save_figure(refitted_prior_figure(refitted, seed=settings.seed)))
    directory.add_file("refitted_prior.json", result)


def refitted_text(refitted: RefittedPrior, result: dict[str, Any], settings: RefitPriorSettings) -> str:
    """The result as a person reads it."""
    from bayes_vae.training.refitted_prior import NEW, OLD

    rows = []
    for symbol, name, found in (
        (TERMS["log_evidence"].symbol, "log_evidence", result["log_evidence"]),
        (TERMS["marginal_kl_to_prior"].symbol, "marginal_kl_to_prior", result["marginal_kl_to_prior"] or {}),
    ):
        for which in (OLD, NEW):
            if which in found:
                figure = found[which]
                errors = [error_text(figure[error]) for error in ("monte_carlo_error", "data_error")]
                rows.append([symbol, name, which, value_text(figure["value"]), *errors])
    fitted = f"{result['epochs']} epochs, the best was number {result['best_epoch']}"
    lines = [
        table(["symbol", "name", "under the", "value", "Monte-Carlo error", "data error"], rows, right=(3, 4, 5)),
        "",
        refitted.sentence(),
        *([f"No marginal KL: {result['why_no_marginal_kl']}"] if result["why_no_marginal_kl"] else []),
        f"Prior {settings.prior}, {fitted}.",
        conditions(
            settings.num_particles,
            f"{refitted.comparison.num_observations:,} test observations",
            refitted.comparison.data_policy,
            unit=capitalized(PER_OBSERVATION),
            kl_weight=1.0,
            seed=settings.seed,
        ),
    ]
    return "\n".join(lines)
