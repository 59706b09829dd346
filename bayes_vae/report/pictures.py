"""The sections with pictures: reconstructions, draws from the prior, latent dimensions, and where q puts the data."""

from __future__ import annotations

from functools import partial
from textwrap import fill as wrap

import torch
from matplotlib.axes import Axes
from torch import Tensor

from bayes_vae.plots import draw_latent_means, draw_manifold, draw_pictures, draw_traversals
from bayes_vae.plots.images import as_pictures, value_range
from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.drawing import draw
from bayes_vae.report.latent_pictures import RECONSTRUCTIONS, LatentMeans, Traversals
from bayes_vae.report.page_elements import Drawings, Section
from bayes_vae.report.words import average_text, conditions
from bayes_vae.vocabulary.number_text import count_of, estimate_text, joined, share
from bayes_vae.vocabulary.symbols import mathtext

__all__ = ["latent_means_section", "prior_section", "reconstruction_section", "traversal_section"]

COLUMNS, WIDTH, LETTERS = 8, 4.6, 40
"""Pictures in a row, inches of a figure, and letters in a line of an axis's name."""

NO_DRAWS = "0 (means need no draws)"

BESIDE = ", what stands beside x (labels, covariates) as it is in {}"
"""Said of pictures of a model that is given more than z."""


def reconstruction_section(contents: ReportContents) -> Section:
    """Observations above their reconstructions."""
    title, question = "Reconstructions", "Does a code keep what distinguishes an observation from others?"
    found = contents.pictures
    if isinstance(found, Missing):
        return Section("reconstructions", title, question, missing=found.reason)
    count = min(RECONSTRUCTIONS, contents.num_observations)
    x, means = contents.shown(contents.x), contents.shown(found.reconstructions)
    pairs = _above_each_other(x[:count], means[:count], COLUMNS)
    rows = len(pairs) // COLUMNS
    off = (x - means).abs().flatten(1).nanmean(1)
    likelihood = contents.evaluation.averages()["expected_log_likelihood"]
    drawing = draw(
        lambda axes: draw_pictures(axes, pairs, COLUMNS, value_range(x)),
        WIDTH,
        WIDTH * rows / COLUMNS * _aspect(pairs),
        f"{count_of(count, 'observation')}, each above its reconstruction.",
    )
    caption = conditions(
        contents,
        1,
        count,
        estimator="mean of p(x|z) for one z drawn from q(z|x), below each observation",
        unit=_unit(contents),
    )
    return Section(
        "reconstructions",
        title,
        question,
        (
            f"Given one z drawn from q(z|x), the decoder’s mean differs from x by {_mean_text(off)} per pixel, the "
            f"mean absolute difference over {count_of(contents.num_observations, 'observation')}; in nats the "
            f"reconstruction term E_q log p(x|z) is {average_text(likelihood)}.",
        ),
        (Drawings((drawing,), caption),),
    )


def _unit(contents: ReportContents) -> str:
    """What the pictures are in, where that could be asked."""
    if contents.standardization is None:
        return "Pictures"
    return "Pictures, standardized values" if contents.x.dim() == 2 else "Pictures, in the units of the data"


def _above_each_other(x: Tensor, means: Tensor, columns: int) -> Tensor:
    """A row of observations, a row of their means, and so on; short rows are filled up with zeros."""
    rows: list[Tensor] = []
    for start in range(0, len(x), columns):
        for part in (x[start : start + columns], means[start : start + columns]):
            rows.append(torch.cat([part, part.new_zeros(columns - len(part), *part.shape[1:])]))
    return torch.cat(rows)


def _mean_text(values: Tensor) -> str:
    """The mean with its standard error, of which one value alone has none."""
    return estimate_text(float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else 0.0)


def _aspect(x: Tensor) -> float:
    """Height over width of one picture."""
    height, width = as_pictures(x[:1]).shape[1:3]
    return float((height + 2) / (width + 2))


def prior_section(contents: ReportContents) -> Section:
    """What the model believes before any observation."""
    title, question = "Draws from the prior", "Do draws from the model look like the data?"
    found = contents.pictures
    if isinstance(found, Missing):
        return Section("prior-samples", title, question, missing=found.reason)
    samples = contents.shown(found.prior_samples)
    drawn, seen = (part.flatten(1).nanmean(1).double() for part in (samples, contents.shown(contents.x)))
    texts = [_mean_text(part) for part in (drawn, seen)]
    drawing = draw(
        lambda axes: draw_pictures(axes, samples, COLUMNS),
        WIDTH,
        WIDTH * (len(samples) / COLUMNS) / COLUMNS * _aspect(samples),
        f"{count_of(len(samples), 'picture')} that the decoder makes of codes drawn from the prior.",
    )
    beside = BESIDE.format("the test observations") if found.beside else ""
    caption = conditions(
        contents,
        1,
        f"{len(samples)} draws from the model",
        estimator=f"mean of p(x|z), one z each, drawn from p(z){beside}",
        unit=_unit(contents),
    )
    return Section(
        "prior-samples",
        title,
        question,
        (
            f"The mean pixel of {count_of(len(samples), 'draw')} is {texts[0]}, that of the data {texts[1]}; the "
            "pictures are means of p(x|z), so they are smoother than the data by nature.",
        ),
        (Drawings((drawing,), caption),),
    )


def traversal_section(contents: ReportContents) -> Section:
    """The decoder along each of some dimensions, and over two."""
    title, question = "What the latent dimensions do", "What changes in x when one number of the code changes?"
    found = contents.pictures
    runs, beside = (found, False) if isinstance(found, Missing) else (found.traversals, found.beside)
    if isinstance(runs, Missing):
        return Section("traversals", title, question, missing=runs.reason)
    plain = list(runs.names)
    names = [mathtext(symbol) for symbol in plain]
    means = contents.shown(runs.along)
    changes = (means[:, -1] - means[:, 0]).abs().flatten(1).mean(1).tolist()
    most, least = (changes.index(pick(changes)) for pick in (max, min))
    low, high = (f"{100 * quantile:.0f} %" for quantile in (runs.along_quantiles[0], runs.along_quantiles[-1]))
    rows, columns = means.shape[:2]
    along = draw(
        partial(draw_traversals, means=means, quantiles=runs.along_quantiles, names=names),
        WIDTH,
        0.4 + WIDTH * rows / columns * _aspect(means[0]),
        f"Rows of pictures as {joined(plain)} run over the quantiles of the prior.",
    )
    held = _held_caption(contents, runs, beside)
    drawings = [Drawings((along,), held)]
    if runs.over is not None:
        over = draw(
            partial(draw_manifold, means=contents.shown(runs.over), quantiles=runs.over_quantiles, names=names[:2]),
            WIDTH,
            0.4 + WIDTH * _aspect(runs.over[0]),
            f"A grid of pictures, {plain[0]} to the right and {plain[1]} upwards.",
        )
        drawings.append(Drawings((over,), f"{plain[0]} and {plain[1]} together. {held}"))
    only = "" if rows > 1 else ", the only dimension,"
    weak = f", moving {plain[least]} by {changes[least]:.3f}" if rows > 1 else ""
    return Section(
        "traversals",
        title,
        question,
        (
            f"Moving {plain[most]}{only} from the {low} to the {high} quantile of the prior changes a pixel’s mean by "
            f"{changes[most]:.3f} on average{weak}.",
            _which(runs, plain),
        ),
        tuple(drawings),
    )


def _which(runs: Traversals, names: list[str]) -> str:
    dims = len(runs.held)
    if dims == len(names) <= 2:
        return f"z has {count_of(dims, 'dimension')}, so this is all of the latent space within those quantiles."
    return f"Shown are {joined(names)}, those with the largest mean KL of {dims}, the largest first."


def _held_caption(contents: ReportContents, runs: Traversals, beside: bool) -> str:
    rest = ", the other dimensions at q’s mean for the first test observation" if len(runs.held) > 1 else ""
    if len(runs.held) == 2 and runs.over is not None:
        rest = " (along one dimension: the other at q’s mean for the first test observation)"
    return conditions(
        contents,
        "0 (means need no draws)",
        1,
        estimator=f"mean of p(x|z) at quantiles of the prior{rest}{BESIDE.format('the first') if beside else ''}",
        unit=_unit(contents),
    )


def latent_means_section(contents: ReportContents) -> Section:
    """The means of q, coloured by label."""
    title = "Where the guide puts the observations"
    question = "Do observations of one kind lie together, and inside the prior?"
    found = contents.latents
    if isinstance(found, Missing):
        return Section("latent-means", title, question, missing=found.reason)
    names = contents.label_names or None

    def fill(axes: Axes) -> None:
        draw_latent_means(axes, found.means, found.labels, names)
        axes.set(xlabel=wrap(axes.get_xlabel(), LETTERS), ylabel=wrap(axes.get_ylabel(), LETTERS))

    drawing = draw(
        fill,
        4.8,
        3.9,
        f"A dot for the mean of q(z|x) of each of {count_of(len(found.means), 'observation')}"
        + ("." if found.labels is None else ", coloured by label."),
    )
    caption = conditions(
        contents,
        "0 (means need no draws)",
        len(found.means),
        estimator="mean of q(z|x), from the encoder",
        unit="Codes, no unit",
    )
    return Section(
        "latent-means", title, question, (*_spread(found), *_neighbours(found)), (Drawings((drawing,), caption),)
    )


def _spread(found: LatentMeans) -> tuple[str, ...]:
    if len(found.means) < 2:
        return ()
    radius = float(found.means.double().var(0).mean().sqrt())
    return (
        f"The means of q scatter with a deviation of {radius:.2f}, the root of the mean variance over the dimensions; "
        "under a standard-normal prior it is at most about 1 where q(z) is like the prior.",
    )


def _neighbours(found: LatentMeans) -> tuple[str, ...]:
    """How often the nearest other mean has the same label."""
    if found.labels is None:
        return ("These data have no labels, so there is nothing to colour the dots by.",)
    labels = found.labels
    classes, counts = labels.unique(return_counts=True)
    if len(labels) < 2 or len(classes) > len(labels) // 5:
        return ()
    distances = torch.cdist(found.means.double(), found.means.double()).fill_diagonal_(torch.inf)
    same = float((labels[distances.argmin(1)] == labels).double().mean())
    chance = float((counts.double() / len(labels)).square().sum())
    return (
        f"For {share(same)} of the observations the nearest other mean has the same label (by chance: "
        f"{share(chance)}); labels are never trained on.",
    )
