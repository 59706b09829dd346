"""The KL pulls every q(z|x) to mean zero and deviation one. So are all q the same?

No. Two forces act on each q. The KL to the prior pulls its mean to zero and its deviation to one; E_q log p(x|z) pulls
its mean to where the decoder draws x, and makes it narrow, so that the decoder need not draw others there. Where they
balance, single q differ from the prior, but their mixture q(z), the aggregate posterior, comes close to it. Shown with
a two-dimensional z: training with the KL alone in effect (weight 1000), without it (weight 0), and with weight 1; what
the mean KL is made of; and both forces on one q, as gradients with respect to its means and log deviations.

The answer for the digits: with weight 1 a single q is nats from the prior and the mixture a tenth of that. Without the
KL deviations shrink and means spread; with 1000 every q is the prior, and says nothing of x. Takes about 45 seconds on
one core; ``--data mnist`` about five minutes.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import bayes_vae as bv
from bayes_vae.plots.two_forces import Force, Weighed, two_forces_figure
from bayes_vae.plots.writing import write_figure
from bayes_vae.runs.pairs import fill_pair
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import Average, with_error
from bayes_vae.training import build_pair

NETWORKS = PairSettings(latent_dim=2, hidden_dims=(200, 200))
EPOCHS = {"digits": 60, "mnist": 10}
KL_WEIGHTS = (0.0, 1.0, 1000.0)
NUM_POINTS = {"digits": 201, "mnist": 801}
NUM_OBSERVATIONS, NUM_PARTICLES, STEPS = 1000, 10, 200


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train with three weights, take the mean KL apart, and measure both forces on one q.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 60 for the digits and 10 for MNIST when not given.
        num_observations: training images whose q make up the mixture.
        num_particles: draws from each q.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    data_set = bv.load_data(data, policy="static")
    places = list(range(min(num_observations, len(data_set.train))))
    rows, forces = [], []
    for weight in KL_WEIGHTS:
        model, guide = build_pair(NETWORKS, data_set, seed)
        settings: dict[str, Any] = {"epochs": epochs or EPOCHS[data], "kl_weight": weight, "seed": seed}
        run = bv.fit(model, guide, data_set, device=device, progress="none", **settings, interruptible=False)
        fill_pair(model, guide, run.last_state)  # not the best epoch's, which was chosen at weight 1
        where = next(model.parameters()).device
        x, index = data_set.train.observations(places, device=where), data_set.train.index[places].to(where)
        about: dict[str, Any] = {"seed": seed, "data_policy": data_set.policy}
        parts = bv.aggregate_posterior_terms(model, guide, x, num_particles, index=index, **about)
        with torch.no_grad():
            q = guide.variational_posterior(x)
        loc, scale = q.mean.double().cpu(), q.stddev.double().cpu()
        rows.append(Weighed(weight, loc, scale, parts))
        print(line(rows[-1]), flush=True)
        if weight == 1:
            rule = bv.bayes_rule_on_grid(model, guide, x[:1], num_points=NUM_POINTS[data], index=index[:1], **about)
            forces = balance(rule, loc[0], scale[0])

    print("\nForces on one q: gradients of E_q log p(x|z) and of −KL with respect to means and log deviations")
    for force in forces:
        numbers = [" ".join(f"{v:+8.3f}" for v in part.tolist()) for part in (force.likelihood, force.kl)]
        print(f"  {force.words:<26}likelihood {numbers[0]}   −KL {numbers[1]}   sum {force.sum_norm:.2g}")
    print(f"\n{answer(rows, forces)}")

    if out is not None:
        figure = two_forces_figure(rows, forces, x[0].cpu(), num_particles=num_particles, data_policy=data_set.policy)
        print(f"Figure: {write_figure(figure, out, 'is_it_all_just_mean_zero_and_deviation_one')}")
    averages = {row.kl_weight: row.parts.averages() for row in rows}
    return {
        **{f"kl_to_prior_at_{weight:g}": found["kl_to_prior"].value for weight, found in averages.items()},
        **{f"mixture_kl_at_{weight:g}": found["marginal_kl_to_prior"].value for weight, found in averages.items()},
        **{f"deviation_at_{row.kl_weight:g}": row.deviation for row in rows},
        **{f"spread_at_{row.kl_weight:g}": row.spread for row in rows},
        "forces_at_the_optimum": forces[-1].sum_norm,
    }


def balance(rule: bv.BayesRuleOnGrid, loc: Tensor, scale: Tensor) -> list[Force]:
    """Both forces on three q of one image: the prior, one too far out and too narrow, and the best one.

    Args:
        rule: the image's terms on a grid over z, where E_q log p(x|z) is a sum.
        loc, scale: the encoder's q, each (2,), from which the best is climbed to.
    """
    likelihood = rule.log_likelihood[0].cpu()
    axes = [axis.cpu() for axis in (rule.first_axis, rule.second_axis)]

    def terms(means: Tensor, log_deviations: Tensor) -> tuple[Tensor, Tensor]:
        """E_q log p(x|z) and −KL(q to p(z)) of the normal with these means and log deviations."""
        q = Normal(means, log_deviations.exp())
        weights = [(q.log_prob(axis[:, None])[:, d]).softmax(0) for d, axis in enumerate(axes)]
        return weights[0] @ likelihood @ weights[1], -kl_divergence(q, Normal(0.0, 1.0)).sum()

    best = [part.clone().requires_grad_() for part in (loc, scale.log())]
    optimizer = torch.optim.LBFGS(best, lr=0.5, max_iter=STEPS, tolerance_grad=1e-7, tolerance_change=1e-12)

    def closure() -> Tensor:
        optimizer.zero_grad()
        likelihood_term, kl_term = terms(*best)
        negative_elbo = -(likelihood_term + kl_term)
        negative_elbo.backward()
        return negative_elbo

    optimizer.step(closure)
    row, column = divmod(int(likelihood.argmax()), rule.num_points)
    mode = torch.stack([axes[0][row], axes[1][column]])
    forces, starts = (
        [],
        {
            "the prior": [torch.zeros_like(loc), torch.zeros_like(loc)],
            "too far, too narrow": [1.6 * mode, torch.full_like(loc, 0.15).log()],
            "the best q": best,
        },
    )
    for words, parts in starts.items():
        at = [part.detach().clone().requires_grad_() for part in parts]
        likelihood_force, kl_force = (torch.cat(torch.autograd.grad(terms(*at)[term], at)) for term in (0, 1))
        forces.append(Force(words, at[0].detach(), at[1].detach().exp(), likelihood_force, kl_force))
    return forces


def line(row: Weighed) -> str:
    """One weight's figures."""
    averages = row.parts.averages()
    information, mixture = averages["index_code_mutual_information"], averages["marginal_kl_to_prior"]
    return (
        f"weight {row.kl_weight:<5g} means spread over {row.spread:7.3f}, mean deviation {row.deviation:.2g}; "
        f"KL of each q {told(averages['kl_to_prior'])} = information {told(information)} + KL of the mixture "
        f"{told(mixture)}"
    )


def told(average: Average) -> str:
    """A figure with its error."""
    return with_error(average.value, average.total_error)


def answer(rows: list[Weighed], forces: list[Force]) -> str:
    """The sentence that the numbers bear out."""
    none, one, large = (min(rows, key=lambda row: abs(row.kl_weight - weight)) for weight in KL_WEIGHTS)
    averages = one.parts.averages()
    each, mixture = averages["kl_to_prior"], averages["marginal_kl_to_prior"]
    same = each.value < 0.1
    close = mixture.value < each.value / 3
    whole = "" if same else f", {'but' if close else 'and'} the mixture {'only ' if close else ''}{told(mixture)}"
    collapsed = large.parts.averages()["kl_to_prior"].value
    free = (
        f"without the KL deviations {'shrink' if none.deviation < one.deviation else 'do not shrink'} "
        f"({none.deviation:.1g}, from {one.deviation:.2f}) and means "
        f"{'spread' if none.spread > one.spread else 'do not spread'} ({none.spread:.1f}, from {one.spread:.1f})"
    )
    best = forces[-1]
    cancel = best.sum_norm < 0.01 * float(best.kl.norm())
    return (
        f"{'Yes' if same else 'No'}: with weight 1 a single q is {told(each)} nats from the prior{whole}; with "
        f"{large.kl_weight:g} each q is {'the prior' if collapsed < 0.1 else 'not the prior'} ({collapsed:.3f} nats); "
        f"{free}. On the best q of one image the two forces, of {float(best.kl.norm()):.2f} each, "
        f"{'cancel' if cancel else 'do not cancel'}: their sum is {best.sum_norm:.1g}."
    )


if __name__ == "__main__":
    main(out="figures")
