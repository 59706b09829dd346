"""What rules out every other check: weights or terms that are not finite, data without a density."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, fault
from bayes_vae.diagnosis.measure.measurement import Measurement


@fault(
    "not-finite",
    needs=(),
    why="No term of Bayes' rule can be computed from such numbers.",
    advice="Go back to the last weights that are finite; lower the learning rate, clip the gradient (clip_norm), and "
    "keep deviations away from zero (softplus plus a floor). A KL with the wrong sign ends here too: look at the loss.",
    first=True,
)
def not_finite(seen: Examined) -> Iterator[Case]:
    """Parameters or terms that are NaN or infinite."""
    names = seen.notes.get("parameters_that_are_not_finite", "")
    yield Case(f"Parameters hold NaN or infinity: {names}.", [seen.above("parameters_that_are_not_finite", 0.0)])
    yield Case(seen.notes.get("terms_that_are_not_finite", ""), [seen.above("terms_that_are_not_finite", 0.0)])


@fault(
    "data-range",
    needs=("largest_value",),
    why="The likelihood has no density there, so the loss is not a log probability and may even fall without bound.",
    advice="Divide pixels in 0…255 by 255 and binarize them, or choose a likelihood with that support.",
    first=True,
)
def data_range(seen: Examined) -> Iterator[Case]:
    """Observations that the likelihood has no density for."""
    yield Case(seen.notes["largest_value"], [seen.holds(not _is_gray(seen), "largest_value")], ("smallest_value",))


@fault(
    "gray-data",
    needs=("largest_value",),
    why="On gray pixels the Bernoulli likelihood is not normalized: its figures are not log probabilities and cannot "
    "be compared with another model's.",
    advice="Binarize the pixels (policy stochastic, static or threshold), or use the likelihood continuous-bernoulli, "
    "normal or discretized-logistic.",
    first=True,
)
def gray_data(seen: Examined) -> Iterator[Case]:
    """The same, where all lie between 0 and 1."""
    yield Case(
        f"{seen.value('share_of_gray_values'):.0%} of the values lie between 0 and 1, but the likelihood is for "
        "zeros and ones.",
        [seen.above("share_of_gray_values", 0.0), seen.holds(_is_gray(seen))],
        ("smallest_value", "largest_value"),
    )


def gray_summary(trained: Mapping[str, Measurement], density: Mapping[str, Measurement]) -> str:
    """Both readings side by side: the objective of the training, and the density of binarized pixels."""
    names = "kl_weight_of_means", "kl_weight_of_scales", "test_elbo"
    if not all(name in trained and f"{name}_on_binarized" in density for name in names):
        return "The numbers below are for binarized pixels." if not density else ""
    (means, scales, elbo), other = (
        [numbers[f"{name}{end}"].value for name in names]
        for numbers, end in ((trained, ""), (density, "_on_binarized"))
    )
    return (
        f"Read as it was trained, by cross-entropy, the pair has KL weights {means:.2f} and {scales:.2f}, and the "
        f"objective is {elbo:.4g} per test image; read as a density of binarized pixels, it has an ELBO of "
        f"{other[2]:.4g} nats and KL weights {other[0]:.2f} and {other[1]:.2f}."
    )


def _is_gray(seen: Examined) -> bool:
    """Whether a Bernoulli likelihood refuses values that lie between 0 and 1."""
    return (
        seen.value("smallest_value") >= 0
        and seen.value("largest_value") <= 1
        and seen.value("share_of_gray_values") > 0
    )
