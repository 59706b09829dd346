"""What does the KL compare with what?

It compares each q(z|x) with the prior p(z), one image at a time. It never compares images, or codes, with each other,
and it does not compare the mean and deviation of a batch's codes with 0 and 1.

On the digits, seed 0: the KL of the first test image is 2.7656 nats in closed form and as an integral, 2.784 ± 0.013
over draws, and 2.7656 whatever images are in its batch. Computed along the batch instead, it would be anything from
0.08 to 2.08. Takes about 20 seconds on one core; ``--data mnist`` about two minutes.

For single test images the script shows that the closed form, a mean over draws from q, and an integral over each
dimension of z give the same number, and that an image's KL stays the same whatever images are in its batch. It also
shows a common mistake: comparing the mean and the deviation of a batch's codes, taken along the batch, with N(0, 1).
That number does not exist for a single image, changes with the other images of the batch, and is a fraction of the KL.
KLs are in nats: natural logarithms.
"""

from typing import Literal, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import bayes_vae as bv
from bayes_vae.experiments.study import mean_error, observe, print_answer, resolve_device, trained_pair, write_figure
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.settings import PairSettings
from bayes_vae.vocabulary.number_text import with_error

NETWORKS = {
    "digits": PairSettings(latent_dim=4, hidden_dims=(200, 200)),
    "mnist": PairSettings(latent_dim=10, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 60, "mnist": 10}
NUM_IMAGES, NUM_PARTICLES, NUM_NODES = 5, 10_000, 2001
SMALLEST_COMPANY, LARGEST_COMPANY = 20, 1000


class Company(NamedTuple):
    """One observation in a batch with others.

    Attributes:
        words: who the others are.
        size: of the batch.
        own: the observation's KL to the prior, nats.
        along_the_batch: KL of mean and deviation of the batch's codes to N(0, 1), summed over dimensions, nats.
    """

    words: str
    size: int
    own: float
    along_the_batch: float


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train, then compute the KL of test images in every way.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 60 for the digits and 10 for MNIST when not given.
        num_particles: draws from q for each image.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    data_set = bv.load_data(data, policy="static")
    model, guide = trained_pair(NETWORKS[data], data_set, epochs=epochs or EPOCHS[data], seed=seed, device=where)
    x, about = observe(data_set.test, range(LARGEST_COMPANY), seed, where)
    index, count = about.pop("index"), len(x)
    labels = torch.as_tensor(data_set.test.labels)[:count].to(where)

    few = slice(0, NUM_IMAGES)
    closed = bv.elbo_terms(model, guide, x[few], 1, kl="analytic", index=index[few], **about)
    sampled = bv.elbo_terms(model, guide, x[few], num_particles, kl="sampled", index=index[few], **about)
    with torch.no_grad():
        q = guide.variational_posterior(x)
    loc, scale = q.mean.double(), q.stddev.double()
    integral, coarse = (integrated_kl(loc[few], scale[few], nodes) for nodes in (NUM_NODES, NUM_NODES // 2))
    print("KL(q(z|x_n) ‖ p(z)) of single test images, nats:")
    print("  image  label  closed form  mean over draws       integral, and its change with half the nodes")
    worst = 0.0
    for n in range(NUM_IMAGES):
        value, error = float(sampled.kl_to_prior[n]), float(sampled.kl_to_prior_error[n])
        numeric, change = float(integral[n].sum()), float((integral[n] - coarse[n]).sum().abs())
        worst = max(worst, abs(value - float(closed.kl_to_prior[n])) / error)
        print(
            f"  {n:5}  {int(labels[n]):5}  {float(closed.kl_to_prior[n]):11.4f}  {with_error(value, error):<20}  "
            f"{numeric:.4f}, {change:.0e}"
        )
    apart = float((integral - closed.kl_per_dimension).abs().max())

    whole = bv.elbo_terms(model, guide, x, 1, index=index, **about).kl_to_prior
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(where)
    moved = torch.empty_like(whole)
    for rows in order.split(7):
        moved[rows] = bv.elbo_terms(model, guide, x[rows], 1, index=index[rows], **about).kl_to_prior
    change = float((moved - whole).abs().max())

    companies = [Company("alone", 1, float(whole[0]), float("nan"))]
    groups = {f"{int(label)}s only": torch.nonzero(labels == label).flatten() for label in labels.unique()}
    for words, rows in {**groups, "all test images": torch.arange(count, device=where)}.items():
        rows = torch.cat([rows.new_zeros(1), rows[rows != 0]])  # the first image, and its company
        if len(rows) >= SMALLEST_COMPANY:
            own = bv.elbo_terms(model, guide, x[rows], 1, index=index[rows], **about).kl_to_prior[0]
            companies.append(Company(words, len(rows), float(own), float(along_the_batch(loc[rows]).sum())))
    print(f"\nThe first test image in batches with others, nats:\n  {'company':<18}its own KL   along the batch")
    for company in companies:
        wrong = "      none" if company.size == 1 else f"{company.along_the_batch:10.4f}"
        print(f"  {company.words:<18}{company.own:10.4f}   {wrong}")
    mixture = bv.aggregate_posterior_terms(model, guide, x, 10, index=index, **about).averages()
    mean = with_error(*mean_error(whole))
    print(f"\nMean KL of {count} test images, closed form: {mean}")
    print(f"By 10 draws from each q: {mixture['kl_to_prior']}")
    print(f"KL of their mixture, dimension by dimension: {mixture['dimensionwise_kl']}")
    print(f"\n{answer(worst, apart, change, companies)}")

    if out is not None:
        write_figure(draw(loc, scale, companies, whole, data_set.policy), out, "what_the_kl_compares")
    known = [company.along_the_batch for company in companies[1:]]
    return {
        "kl_to_prior": float(whole.mean()),
        "largest_deviation_in_errors": worst,
        "largest_deviation_of_integral": apart,
        "largest_change_by_company": change,
        "along_the_batch_smallest": min(known),
        "along_the_batch_largest": max(known),
    }


def integrated_kl(loc: Tensor, scale: Tensor, nodes: int) -> Tensor:
    """∫ q(z_d|x) log (q(z_d|x) / p(z_d)) dz_d by the trapezoidal rule, nothing known of normals but their density.

    Args:
        loc, scale: of q, each (N, D).
        nodes: of each integral, over ten deviations to both sides.

    Returns:
        shape (N, D), nats.
    """
    z = loc + scale * torch.linspace(-10, 10, nodes, dtype=loc.dtype, device=loc.device)[:, None, None]
    log_q, log_prior = Normal(loc, scale).log_prob(z), Normal(0.0, 1.0).log_prob(z)
    return torch.trapezoid(log_q.exp() * (log_q - log_prior), z, dim=0)


def along_the_batch(codes: Tensor) -> Tensor:
    """The mistake: KL of N(mean, deviation) of a batch's codes (N, D) to N(0, 1), taken along the batch; shape (D,)."""
    return kl_divergence(Normal(codes.mean(0), codes.std(0)), Normal(0.0, 1.0))


def answer(worst: float, apart: float, change: float, companies: list[Company]) -> str:
    """The sentence that the numbers bear out.

    Args:
        worst: largest deviation of the mean over draws from the closed form, in its standard errors.
        apart: largest deviation of an integral from it, nats.
        change: largest change of an image's KL by shuffling and splitting the batch, nats.
        companies: one image in several batches; the first alone.
    """
    agree = worst < 4.5 and apart < 1e-3
    same = change < 1e-3
    values = [company.along_the_batch for company in companies[1:]]
    varies = max(values) - min(values) > 1e-3
    return (
        f"Closed form, draws and integral {'agree' if agree else 'differ'} (by at most {worst:.1f} standard errors, "
        f"and {apart:.0e} nats). Shuffling and splitting the batch "
        f"{'changes nothing' if same else 'changes the KL'} (at most {change:.0e} nats): the KL is of "
        f"{'one observation and the prior' if same else 'an observation and its batch'}. Taken along the batch it "
        f"would be {'another number in every company' if varies else 'the same in every company'}, from "
        f"{min(values):.2f} to {max(values):.2f} nats, where the image's own is {companies[0].own:.2f}."
    )


def draw(loc: Tensor, scale: Tensor, companies: list[Company], kl: Tensor, data_policy: str) -> Figure:
    """Single q's beside the prior in one dimension; all codes beside it; one image's KL in every company."""
    subtitle = caption("0 (closed form)", len(loc), data_policy, "KL weight 1")
    figure = new_figure(10.6, 3.2, "What the KL compares", subtitle, space=0.04)
    single, batch, company = figure.subplots(1, 3, width_ratios=[1, 1, 1.15])
    narrow = int(scale.mean(0).argmin())  # the dimension in which the q's are narrowest
    draw_single_posteriors(single, loc[:NUM_IMAGES, narrow], scale[:NUM_IMAGES, narrow], narrow)
    draw_codes_of_a_batch(batch, loc[:, narrow], narrow)
    batch.set_xlim(single.get_xlim())
    draw_companies(company, companies, kl)
    return figure


def draw_single_posteriors(axes: Axes, loc: Tensor, scale: Tensor, dimension: int) -> Axes:
    """Each q(z_d given x_n), and the prior that it is compared with."""
    loc, scale = loc.double().cpu(), scale.double().cpu()
    reach = max(3.5, float((loc.abs() + 3 * scale).max()))
    z = torch.linspace(-reach, reach, 801, dtype=torch.float64)
    prior = Normal(0.0, 1.0).log_prob(z).exp()
    axes.fill_between(z, prior, color=COLOURS["prior"], alpha=0.35, linewidth=0, label="prior p(z)")
    for mean, deviation in zip(loc, scale, strict=True):
        axes.plot(z, Normal(mean, deviation).log_prob(z).exp(), color=COLOURS["variational_posterior"], linewidth=1.3)
    axes.plot([], [], color=COLOURS["variational_posterior"], linewidth=1.3, label="q(z|x), one curve an image")
    axes.set_title("the KL: each q with the prior", fontsize=10)
    return dress(axes, dimension, "density")


def draw_codes_of_a_batch(axes: Axes, codes: Tensor, dimension: int) -> Axes:
    """The mistake: all codes of a batch as one sample, and the normal of its mean and deviation."""
    codes = codes.double().cpu()
    z = torch.linspace(-4, 4, 401, dtype=torch.float64)
    prior = Normal(0.0, 1.0).log_prob(z).exp()
    axes.fill_between(z, prior, color=COLOURS["prior"], alpha=0.35, linewidth=0, label="prior p(z)")
    axes.hist(codes, bins=30, density=True, color="#c9c9c9", label="codes of all images")
    moments = Normal(codes.mean(), codes.std()).log_prob(z).exp()
    axes.plot(z, moments, color=GREY, linewidth=1.3, linestyle="--", label="their mean and deviation")
    axes.set_title("the mistake: the batch with the prior", fontsize=10)
    return dress(axes, dimension, "density")


def draw_companies(axes: Axes, companies: list[Company], kl: Tensor) -> Axes:
    """One observation's KL in several batches, and the number along each batch."""
    rows = range(len(companies))
    axes.plot([company.own for company in companies], rows, "o", color=COLOURS["kl"], label="the image’s KL")
    along = [company.along_the_batch for company in companies]
    axes.plot(along, rows, "x", color=GREY, markersize=6, markeredgewidth=1.6, label="along the batch")
    mean = float(kl.double().mean())
    axes.axvline(mean, color=COLOURS["kl"], linewidth=0.9, linestyle=":", label="mean KL of all images")
    axes.set_yticks(rows, [f"{company.words} ({company.size})" for company in companies])
    axes.set_ylim(len(companies) - 0.5, -0.5)
    axes.set_xlim(0, 1.12 * max(mean, *(company.own for company in companies), *(v for v in along if v == v)))
    axes.set_xlabel("nats")
    axes.set_title("one image in several batches", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, columnspacing=1)
    return plain_axes(axes)


def dress(axes: Axes, dimension: int, words: str) -> Axes:
    """Label the axes and leave room for the legend."""
    axes.set_xlabel(f"$z_{{{dimension}}}$")
    axes.set_ylabel(words)
    axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return plain_axes(axes)


if __name__ == "__main__":
    main(out="figures")
