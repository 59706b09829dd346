"""The figures of a training, written into its run directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayes_vae.cli.loading import OpenedRun

__all__ = ["write_training_figures"]

RECONSTRUCTIONS, SAMPLES, LATENTS = 10, 64, 5000
"""Pictures in each figure at most."""


def write_training_figures(run: OpenedRun, seed: int) -> dict[str, str]:
    """Draw the terms by epoch, reconstructions, draws from the prior and the means of q; name → path."""
    from bayes_vae.plots import prior_sample_figure, reconstruction_figure

    rows = run.test_rows(RECONSTRUCTIONS, seed).rows_for(run.model)
    x = rows.read()
    means = run.model.reconstruct(x if len(x) > 1 else x[0], run.guide, seed=seed, index=rows.index)
    samples = run.model.sample(SAMPLES, seed=seed, mean=True)
    policy = run.data.policy
    figures = {
        "training": _training(run),
        "reconstructions": reconstruction_figure(x[0], means, data_policy=policy),
        "prior samples": prior_sample_figure(samples, data_policy=policy),
        "latent means": _latents(run, seed),
    }
    return {name: run.draw(name.replace(" ", "_"), figure) for name, figure in figures.items() if figure is not None}


def _training(run: OpenedRun) -> Figure:
    """The terms by epoch."""
    from bayes_vae.plots import training_figure
    from bayes_vae.training.svi import VALIDATION_PARTICLES

    particles = run.directory.settings["training"]["num_particles"]
    return training_figure(
        run.directory.history,
        num_particles=f"{particles} (validation {VALIDATION_PARTICLES})",
        num_observations=f"{len(run.data.train):,} (validation {len(run.data.validation):,})",
        data_policy=run.data.policy,
        ending=run.directory.config.get("outcome", {}).get("ending", "all epochs"),
    )


def _latents(run: OpenedRun, seed: int) -> Figure | None:
    """Means of q for the test images, coloured by label; None where q has no known mean, or several sites."""
    from bayes_vae.errors import NotDefinedError
    from bayes_vae.plots import latent_figure
    from bayes_vae.report.decoding import decoding_of
    from bayes_vae.report.latent_pictures import Missing, latent_means
    from bayes_vae.terms.opened import open_pair

    try:
        with open_pair(run.model, run.guide, run.test_rows(LATENTS, seed), seed=seed) as opened:
            found = latent_means(decoding_of(opened), opened.rows.labels)
    except NotDefinedError:
        return None
    if isinstance(found, Missing):
        return None
    return latent_figure(found.means, found.labels, names=run.data.label_names, data_policy=run.data.policy)
