"""The ELBO's terms on training and test rows, how much of them is the latent's, and k̂."""

from __future__ import annotations

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Rows, Subject
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.elbo import ElboAtDraws
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.terms.factorized import variational_normal
from bayes_vae.terms.opened import collect
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["DRAWS", "measure_elbo", "measure_generalization", "measure_use_of_latent", "measure_weights"]

DRAWS, WEIGHTS, WEIGHED = 16, 400, 60


def measure_elbo(subject: Subject) -> dict[str, Measurement]:
    """The ELBO and its terms on training rows."""
    return _terms(subject, "train", subject.train)


def measure_generalization(subject: Subject) -> dict[str, Measurement]:
    """The same on test rows, and how far training rows lie above."""
    if "train_elbo" not in subject.measured:
        raise NotDefinedError("the ELBO of training rows was not measured.")
    found = _terms(subject, "test", subject.test)
    return found | {"generalization_gap": subject.measured["train_elbo"] - found["test_elbo"]}


def _terms(subject: Subject, name: str, rows: Rows) -> dict[str, Measurement]:
    elbo = ElboAtDraws("auto")
    with subject.opened(rows, name) as opened:
        collect(opened, DRAWS, elbo)
        averages = elbo.result(opened).averages()
    return {f"{name}_{term}": Measurement(figure.value, figure.total_error) for term, figure in averages.items()}


def measure_weights(subject: Subject) -> dict[str, Measurement]:
    """k̂ of the importance weights, and how far the bound of many particles lies above the ELBO."""
    elbo, weights = ElboAtDraws("sampled"), WeightsAtDraws(WEIGHTS)
    with subject.opened(subject.test.first(WEIGHED), "weights") as opened:
        collect(opened, WEIGHTS, elbo, weights)
        terms, estimate = elbo.result(opened), weights.result(opened)
    if bool(estimate.pareto_k.isnan().any()):
        raise NotDefinedError("k̂ is not defined for discrete latents.")
    above = (estimate.pareto_k > estimate.pareto_k_threshold).double()
    return {
        "pareto_k_median": Measurement.of(estimate.pareto_k.median()),
        "pareto_k_share_above": Measurement.mean(above, ""),
        "bound_above_elbo": Measurement.mean(estimate.log_evidence - terms.elbo),
    }


def measure_use_of_latent(subject: Subject) -> dict[str, Measurement]:
    """What the likelihood loses where z is another observation's, or gains where it is q's mean in place of a draw."""
    x, index = subject.test
    bound = subject.factorized.bind(x, index)
    loc, scale = variational_normal(bound)
    noise = KeyedNoise(derived_seed(subject.seed, "use")).normal("z", index, range(DRAWS), loc.shape[1:], loc)
    z = loc + scale * noise
    own, other, at_mean = (
        bound.log_likelihood_at(latent).double().mean(0) for latent in (z, z.roll(1, dims=1), loc.unsqueeze(0))
    )
    return {"use_of_latent": Measurement.mean(own - other), "gain_of_decoding_means": Measurement.mean(at_mean - own)}
