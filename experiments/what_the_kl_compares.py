"""What does the KL compare with what?

Each q(z|x_n) with the prior, one observation at a time: not the codes of a batch with each other, and not their mean
and deviation with zero and one. Shown on test images: for single images the closed form, a mean over draws from q, and
an integral over each dimension of z are the same number; an image's KL is the same whatever images are in its batch.
Beside it the mistake that is often made: mean and deviation of a batch's codes, taken along the batch, against N(0, 1).

The answer for the digits: the three ways agree within their errors, the company changes nothing but rounding; the
mistaken number has none for a single image, changes with the company, and is a fraction of the KL. Takes about 20
seconds on one core; ``--data mnist`` about two minutes.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import bayes_vae as bv
from bayes_vae.plots.what_the_kl_compares import Company, kl_comparison_figure
from bayes_vae.plots.writing import write_figure
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import with_error
from bayes_vae.training import build_pair

NETWORKS = {
    "digits": PairSettings(latent_dim=4, hidden_dims=(200, 200)),
    "mnist": PairSettings(latent_dim=10, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 60, "mnist": 10}
NUM_IMAGES, NUM_PARTICLES, NUM_NODES, SMALLEST_COMPANY = 5, 10_000, 2001, 20


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
    data_set = bv.load_data(data, policy="static")
    model, guide = build_pair(NETWORKS[data], data_set, seed)
    bv.fit(
        model,
        guide,
        data_set,
        epochs=epochs or EPOCHS[data],
        seed=seed,
        device=device,
        progress="none",
        interruptible=False,
    )

    where = next(model.parameters()).device
    count = min(1000, len(data_set.test))
    x, index = data_set.test.observations(range(count), device=where), data_set.test.index[:count].to(where)
    labels = torch.as_tensor(data_set.test.labels)[:count].to(where)
    about: dict[str, Any] = {"seed": seed, "data_policy": data_set.policy}

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
    mean = with_error(float(whole.mean()), float(whole.double().std() / count**0.5))
    print(f"\nMean KL of {count} test images, closed form: {mean}")
    print(f"By 10 draws from each q: {mixture['kl_to_prior']}")
    print(f"KL of their mixture, dimension by dimension: {mixture['dimensionwise_kl']}")
    print(f"\n{answer(worst, apart, change, companies)}")

    if out is not None:
        figure = kl_comparison_figure(loc, scale, companies, whole, data_policy=data_set.policy)
        print(f"Figure: {write_figure(figure, out, 'what_the_kl_compares')}")
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


if __name__ == "__main__":
    main(out="figures")
