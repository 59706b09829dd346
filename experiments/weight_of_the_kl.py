"""What does the weight of the KL do?

Training may weigh the KL by a β other than 1. This script trains the same VAE with several weights and measures all of
them alike, at weight 1: the rate (KL to the prior), the distortion (minus E_q log p(x|z)), their sum's negative, the
ELBO, the active dimensions, and log p(x) by annealing. A small weight buys sharp reconstructions with codes that the
prior does not know; a large one buys an empty rate with blur, until the code says nothing. Every weight moves along the
curve of rate and distortion, and its slope there is −β; the ELBO is the same on lines of slope −1, so that weight 1
touches the best of them. What is maximized, E_q log p(x|z) − β KL, is the tightest bound on log p(x) there: with a
larger β it is a looser one, with a smaller β none.

The answer for the digits: weight 1 has the best ELBO and the best log p(x); a hundredth of it costs 21 nats of ELBO but
1.5 of log p(x): the model is hardly worse, q is; ten times it leaves no active dimension. Takes about 80 seconds on
one core; ``--data mnist`` about twenty minutes.
"""

from typing import Any, Literal, NamedTuple

import torch

import bayes_vae as bv
from bayes_vae.plots.rate_distortion import RateDistortion, rate_distortion_figure
from bayes_vae.plots.writing import write_figure
from bayes_vae.runs.pairs import fill_pair
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import Average, with_error
from bayes_vae.training import build_pair

NETWORKS = {
    "digits": PairSettings(latent_dim=8, hidden_dims=(100, 100)),
    "mnist": PairSettings(latent_dim=20, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 60, "mnist": 15}
KL_WEIGHTS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
NUM_OBSERVATIONS, NUM_PARTICLES, NUM_TEMPERATURES, NUM_SAMPLES = 200, 200, 100, 8


class Row(NamedTuple):
    """What was measured of one weight; every figure at weight 1."""

    kl_weight: float
    rate: Average
    distortion: Average
    elbo: Average
    log_evidence: Average
    active: int


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    kl_weights: tuple[float, ...] = KL_WEIGHTS,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    num_temperatures: int = NUM_TEMPERATURES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train with each weight, measure at weight 1.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 60 for the digits and 15 for MNIST when not given.
        kl_weights: of training, 1 among them.
        num_observations: test images.
        num_particles: draws from q for each ELBO.
        num_temperatures: steps of annealing.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    data_set = bv.load_data(data, policy="static")
    rows, samples = [], []
    for weight in kl_weights:
        model, guide = build_pair(NETWORKS[data], data_set, seed)
        settings: dict[str, Any] = {
            "epochs": epochs or EPOCHS[data],
            "kl_weight": weight,
            "seed": seed,
            "device": device,
        }
        run = bv.fit(model, guide, data_set, progress="none", **settings, interruptible=False)
        fill_pair(model, guide, run.last_state)  # not the best epoch's, which was chosen at weight 1
        where = next(model.parameters()).device
        places = list(range(min(num_observations, len(data_set.test))))
        x, index = data_set.test.observations(places, device=where), data_set.test.index[places].to(where)
        about: dict[str, Any] = {"index": index, "seed": seed, "data_policy": data_set.policy}
        terms = bv.elbo_terms(model, guide, x, num_particles, **about).averages()
        evidence = bv.annealed_log_evidence(model, guide, x, num_temperatures=num_temperatures, **about)
        parts = bv.aggregate_posterior_terms(model, guide, x, 1, **about)
        rows.append(
            Row(
                weight,
                terms["kl_to_prior"],
                terms["expected_log_likelihood"],
                terms["elbo"],
                evidence.averages()["log_evidence"],
                int(parts.active.sum()),
            )
        )
        samples.append(model.sample(NUM_SAMPLES, seed=seed, mean=True).cpu())
        print(line(rows[-1]), flush=True)

    print(f"\n{answer(rows)}")
    if out is not None:
        drawn = figure(rows, torch.stack(samples), num_particles, data_set.policy)
        print(f"Figure: {write_figure(drawn, out, 'weight_of_the_kl')}")
    best = max(rows, key=lambda row: row.elbo.value)
    one = min(rows, key=lambda row: abs(row.kl_weight - 1))
    return {"best_weight": best.kl_weight, "elbo_at_one": one.elbo.value, "log_evidence_at_one": one.log_evidence.value}


def line(row: Row) -> str:
    """One weight's figures."""
    return (
        f"weight {row.kl_weight:<5g} rate {with_error(row.rate.value, row.rate.total_error):>14} "
        f"distortion {with_error(-row.distortion.value, row.distortion.total_error):>14} "
        f"ELBO {with_error(row.elbo.value, row.elbo.total_error):>15} "
        f"log p(x) {with_error(row.log_evidence.value, row.log_evidence.total_error):>15} active {row.active}"
    )


def answer(rows: list[Row]) -> str:
    """The sentence that the numbers bear out."""
    best = max(rows, key=lambda row: row.elbo.value)
    likely = max(rows, key=lambda row: row.log_evidence.value)
    small, large = (pick(rows, key=lambda row: row.kl_weight) for pick in (min, max))
    error = max(row.elbo.monte_carlo_error for row in (small, large))
    falls = [row for row in (small, large) if best.elbo.value - row.elbo.value > 5 * error and row is not best]
    costs = " and ".join(
        f"weight {row.kl_weight:g} costs {best.elbo.value - row.elbo.value:.1f} nats of ELBO and "
        f"{likely.log_evidence.value - row.log_evidence.value:.1f} of log p(x) "
        f"({row.rate.value:.1f} nats of rate, {row.active} active dimensions)"
        for row in falls
    )
    if not costs:
        return "Over these weights the ELBO hardly changes."
    return (
        f"The ELBO is best at weight {best.kl_weight:g} ({best.elbo.value:.2f}), log p(x) at weight "
        f"{likely.kl_weight:g} ({likely.log_evidence.value:.2f}); beside them {costs}. {bounds(rows)}"
    )


def bounds(rows: list[Row]) -> str:
    """At which weights what was maximized lies above log p(x)."""
    above = [f"{row.kl_weight:g}" for row in rows if objective(row) > row.log_evidence.value]
    bounds_of = {row.kl_weight: objective(row) for row in rows if objective(row) <= row.log_evidence.value}
    words = [f"lies above log p(x) at weight {', '.join(above)}, so it is no bound there"] if above else []
    if bounds_of:
        best = max(bounds_of, key=lambda weight: bounds_of[weight])
        words.append(f"lies below it at the others, the highest at weight {best:g} ({bounds_of[best]:.2f})")
    return f"What was maximized, E_q log p(x|z) − β KL, {' and '.join(words)}."


def objective(row: Row) -> float:
    """E_q log p(x|z) − β KL: what the training maximized, measured on the test images."""
    return row.distortion.value - row.kl_weight * row.rate.value


def figure(rows: list[Row], samples: torch.Tensor, num_particles: int, policy: str) -> Any:
    """The curve, the two figures by weight, and draws from each prior."""
    curve = RateDistortion(
        kl_weights=tuple(row.kl_weight for row in rows),
        rate=tuple(row.rate for row in rows),
        expected_log_likelihood=tuple(row.distortion for row in rows),
        elbo=tuple(row.elbo for row in rows),
        log_evidence=tuple(row.log_evidence for row in rows),
        active=tuple(row.active for row in rows),
    )
    return rate_distortion_figure(curve, samples, num_particles=num_particles, data_policy=policy)


if __name__ == "__main__":
    main(out="figures")
