"""Which number is the prior, which the likelihood, the evidence, the posterior?

z is the hypothesis and x the observation. The prior p(z) says how probable each z is before x is seen. The likelihood
p(x|z) says how probable x is if z is its cause. The evidence p(x) is the likelihood averaged over the prior: one number
for x. The posterior p(z|x) = p(z) p(x|z) / p(x) says how probable each z is after x was seen. The encoder is none of
the four: it outputs q(z|x), which stands in for the posterior. The decoder is not the likelihood: it outputs the
likelihood's parameters.

On the digits, seed 0, for one image at one z: log prior + log likelihood − log evidence = log posterior reads
−2.802 − 19.222 + 22.067 = 0.042 (rounded), and holds at each of 40,401 nodes of a grid to 3e-7 nats. Takes about 20
seconds on one core; ``--data mnist`` about a minute and a half.

The script trains a VAE with a two-dimensional z and takes one test image x. It computes Bayes' rule term by term at
every node of a grid over z; each number is the output of the function named beside it. Prior, posterior and q have a
mass of one over the grid. The likelihood does not, since it is a density over x, not over z. Logarithms are natural,
and their unit is the nat: 0.69 nats are one bit.
"""

from typing import Literal

import torch

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.experiments.study import observe, print_answer, resolve_device, trained_pair, write_figure
from bayes_vae.plots import bayes_rule_figure
from bayes_vae.settings import PairSettings
from bayes_vae.vocabulary.number_text import with_error

NETWORKS = PairSettings(latent_dim=2, hidden_dims=(200, 200))
EPOCHS = {"digits": 40, "mnist": 10}
NUM_POINTS, NUM_PARTICLES, NUM_TEMPERATURES, NUM_CHAINS = 201, 10_000, 50, 32


def main(
    data: Literal["digits", "mnist"] = "digits",
    image: int = 11,
    epochs: int | None = None,
    num_points: int = NUM_POINTS,
    num_particles: int = NUM_PARTICLES,
    num_temperatures: int = NUM_TEMPERATURES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train, then compute every term for one image.

    Args:
        data: digits or mnist.
        image: which test image.
        epochs: passes over the training images; 40 for the digits and 10 for MNIST when not given.
        num_points: nodes of the grid along each dimension.
        num_particles: draws from q for the ELBO.
        num_temperatures: steps of annealing.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    data_set = bv.load_data(data, policy="static")
    if not 0 <= image < len(data_set.test):
        raise SettingsError(f"image must be one of the {len(data_set.test)} test images, from 0 on, got {image}.")
    model, guide = trained_pair(NETWORKS, data_set, epochs=epochs or EPOCHS[data], seed=seed, device=where)
    x, about = observe(data_set.test, [image], seed, where)
    rule = bv.bayes_rule_on_grid(model, guide, x, num_points=num_points, **about)
    quadrature = bv.quadrature_log_evidence(model, guide, x, method="grid", **about)
    annealed = bv.annealed_log_evidence(
        model, guide, x, num_temperatures=num_temperatures, num_chains=NUM_CHAINS, **about
    )
    elbo = bv.elbo_terms(model, guide, x, num_particles, **about)

    with torch.no_grad():  # the terms once more, each straight from its distribution, at every node z
        z = torch.cartesian_prod(rule.first_axis, rule.second_axis).float()
        log_prior = model.prior().log_prob(z).double()
        log_likelihood = torch.cat([model.likelihood(part).log_prob(x[0]) for part in z.split(4096)]).double()
        log_guide = guide.variational_posterior(x).log_prob(z).double()
    log_evidence = quadrature.log_evidence[0]
    log_posterior = rule.log_posterior[0].flatten()
    deviation = float((log_prior + log_likelihood - log_evidence - log_posterior).abs().max())

    best = int(log_posterior.argmax())
    terms = {
        "prior": ("log p(z)", "model.prior().log_prob(z)", log_prior),
        "likelihood": ("log p(x|z)", "model.likelihood(z).log_prob(x)", log_likelihood),
        "posterior": ("log p(z|x)", "bv.bayes_rule_on_grid(model, guide, x).log_posterior", log_posterior),
        "guide": ("log q(z|x)", "guide.variational_posterior(x).log_prob(z)", log_guide),
    }
    mass = {name: float((values.logsumexp(0) + rule.log_cell).exp()) for name, (_, _, values) in terms.items()}
    shown = ", ".join(f"{value:.2f}" for value in z[best].tolist())
    print(f"One test image x, and the hypothesis z = ({shown}), where the posterior is highest; nats:")
    for name, (symbol, source, values) in terms.items():
        print(f"  {name:<11}{symbol:<11}{float(values[best]):9.3f}   mass over the grid {mass[name]:<9.4g}  {source}")
    evidence = {
        "grid": (float(rule.log_evidence[0]), float(rule.refinement_error[0])),
        "quadrature": (float(log_evidence), float(quadrature.refinement_error[0])),
        "annealed": (float(annealed.log_evidence[0]), float(annealed.standard_error[0])),
    }
    for name, value in evidence.items():
        print(f"  evidence   log p(x), {name + ':':<12}{with_error(*value)}")
    lower = float(elbo.elbo[0]), float(elbo.elbo_error[0])
    print(
        f"  ELBO       {with_error(*lower)}, below log p(x) by KL(q ‖ posterior) = {float(rule.inference_gap[0]):.3f}"
    )
    print(f"\n{answer(deviation, num_points**2, evidence, mass)}")

    if out is not None:
        write_figure(bayes_rule_figure(rule, 0, x[0].cpu()), out, "which_term_is_which")
    return {
        **{f"log_{name}": float(values[best]) for name, (_, _, values) in terms.items()},
        **{f"log_evidence_{name}": value for name, (value, _) in evidence.items()},
        "elbo": lower[0],
        "inference_gap": float(rule.inference_gap[0]),
        "largest_deviation": deviation,
    }


def answer(deviation: float, nodes: int, evidence: dict[str, tuple[float, float]], mass: dict[str, float]) -> str:
    """The sentence that the numbers bear out.

    Args:
        deviation: largest of |log prior + log likelihood − log evidence − log posterior| over the nodes.
        nodes: how many there are.
        evidence: estimator → log p(x) and its error.
        mass: term → its integral over z.
    """
    holds = deviation < 0.01
    rule = (
        f"log prior + log likelihood − log evidence {'=' if holds else '≠'} log posterior: the largest deviation at "
        f"{nodes:,} nodes is {deviation:.1g} nats."
    )
    value, error = evidence["quadrature"]
    far = [
        name
        for name, (other, own) in evidence.items()
        if abs(other - value) > max(3 * (own**2 + error**2) ** 0.5, 1e-3)
    ]
    three = f"The estimates of log p(x) {'differ: ' + ', '.join(far) if far else 'agree within their errors'}."
    one = [name for name, held in mass.items() if abs(held - 1) < 0.01]
    rest = [name for name in mass if name not in one]
    densities = f"Densities of z, with a mass of one: {', '.join(one) or 'none'}; not so: {', '.join(rest) or 'none'}."
    return f"{rule} {three} {densities}"


if __name__ == "__main__":
    main(out="figures")
