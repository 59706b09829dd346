"""What cannot be said: an encoder whose heads an activation confines, a decoder that cannot reach the data."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_OBJECTIVE, Case, fault, warning

AT_AN_END = 0.02
"""Share of a head's values that lie on one number, from which an activation put them there."""

TINY = 1e-6

OUT_OF_REACH = 0.1
"""Share of the data beyond every mean of the decoder, from which its output is too narrow a range."""

SPAN, NEAR_AN_END = 0.5, 0.05
"""How far apart the decoder's means must lie, and how near to 0, 1 or −1, where an activation ends its range."""

LOG_VARIANCE_NEAR_OVERFLOW = 30.0
"""A log variance beyond which exp is next to overflow in float32, or s next to 0."""


@fault(
    "encoder-confined",
    needs=("share_at_smallest_mean", "share_at_smallest_log_variance"),
    why="q cannot be where the posterior is, whatever the encoder learns.",
    advice="Make both heads linear: mean = nn.Linear(hidden, latent_dim), log_var = nn.Linear(hidden, "
    "latent_dim), with no activation behind them. The share at smallest mean and share at smallest log "
    "variance then fall below 1 %.",
    explains=(
        *OF_OBJECTIVE,
        "latent",
        "scale-misread",
        "averaged-loss",
        "mismatched-pair",
        "prior-mismatch",
        "unused-dimensions",
        "sampling-off",
    ),
)
def encoder_confined(seen: Examined) -> Iterator[Case]:
    """Many values on one end of the range, or all within 1."""
    smallest, largest = seen.value("smallest_mean"), seen.value("largest_mean")
    yield Case(
        f"No mean of q lies below {smallest:.3g}, and {seen.value('share_at_smallest_mean'):.0%} lie exactly there: an "
        "activation such as ReLU sits behind the means.",
        [seen.above("share_at_smallest_mean", AT_AN_END), seen.holds(smallest > -TINY, "smallest_mean")],
        ("largest_mean", "constant_means"),
    )
    for end, word in (("smallest", "below"), ("largest", "above")):
        value, share = seen.value(f"{end}_log_variance"), seen.value(f"share_at_{end}_log_variance")
        also = " (the deviation is 1 there, as behind a ReLU)" if abs(value) < TINY and end == "smallest" else ""
        yield Case(
            f"No log variance of q lies {word} {value:.3g}, and {share:.0%} lie exactly there{also}: an activation or "
            "a clamp confines q's deviations.",
            [seen.above(f"share_at_{end}_log_variance", AT_AN_END)],
            ("smallest_log_variance", "largest_log_variance"),
        )
    share = seen.value("share_of_unit_deviations")
    yield Case(
        f"{share:.0%} of q's deviations are exactly 1, although the means vary: a ReLU behind the log variance "
        "does that, or a fixed deviation.",
        [seen.above("share_of_unit_deviations", AT_AN_END)],
        ("smallest_log_variance", "largest_log_variance"),
    )
    constant, count = seen.value("constant_means"), seen.value("latent_dimensions")
    yield Case(
        f"{constant:.0f} of {count:.0f} means of q are the same for every x, and the others vary: the units "
        "before them are dead, as behind a ReLU that is 0 for every observation.",
        [seen.above("constant_means", 0.0), seen.holds(constant < count, "latent_dimensions")],
        ("smallest_mean", "largest_mean"),
    )
    size = max(abs(smallest), abs(largest))
    yield Case(
        f"All means of q lie within [{smallest:.3g}, {largest:.3g}]: an activation such as tanh or sigmoid sits "
        "behind them.",
        [
            seen.holds(0.9 < size <= 1 + TINY, "largest_size_of_mean"),
            seen.above("share_of_means_near_one", 0.05),
        ],
        ("train_kl_to_prior",),
    )


@warning(
    "decoder-reach",
    needs=("share_below_reach",),
    why="No z can reconstruct these values: the decoder leaves residuals there, and the deviation grows to cover them.",
    advice="Let the last layer be linear, or bring the data into the range of its activation ([0, 1] for a "
    "sigmoid, [-1, 1] for a tanh). The share below reach and share above reach then fall to about 0.",
    explains=("likelihood-scale", "latent", "amortization-gap", "undertraining", "unused-dimensions"),
)
def decoder_reach(seen: Examined) -> Iterator[Case]:
    """Many values beyond every mean that the decoder gives, at an end that an activation has.

    Means that hardly vary, as of a latent that was given up or a decoder that was hardly trained, have no such end.
    """
    least, most = seen.value("smallest_mean_decoded"), seen.value("largest_mean_decoded")
    for share, end, ends, word in (
        ("share_below_reach", least, (0.0, -1.0), f"below {least:.3g}"),
        ("share_above_reach", most, (0.0, 1.0), f"above {most:.3g}"),
    ):
        bounded = most - least > SPAN and any(abs(end - of) < NEAR_AN_END for of in ends)
        yield Case(
            f"{seen.value(share):.0%} of the values lie {word}, where no mean of the decoder lies: its range is "
            f"[{least:.3g}, {most:.3g}].",
            [seen.above(share, OUT_OF_REACH), seen.holds(bounded)],
            ("smallest_mean_decoded", "largest_mean_decoded"),
        )


@warning(
    "unscaled-columns",
    needs=("largest_column_over_median", "pixel_scale_is_one_number"),
    why="With one deviation for all columns the widest one dominates the likelihood; the others are hardly modelled.",
    advice="Standardize the columns: x = (x - x.mean(0)) / x.std(0), with the moments of the training rows; or "
    "give each its own deviation. The largest column over median then reads about 1.",
    explains=("likelihood-scale", "latent", "unused-dimensions"),
)
def unscaled_columns(seen: Examined) -> Iterator[Case]:
    """One deviation for columns whose own differ by more than a factor of 100."""
    yield Case(
        f"The widest column is {seen.value('largest_column_over_median'):.3g} times as wide as the median one, and the "
        "likelihood has one deviation for all.",
        [
            seen.above("largest_column_over_median", 100.0),
            seen.holds(seen.value("pixel_scale_is_one_number") == 1.0, "pixel_scale_is_one_number"),
        ],
    )


@warning(
    "near-overflow",
    needs=("largest_log_variance",),
    why="A little larger, and its exponential is infinite: training ends in NaN.",
    advice="Lower the learning rate or clip the gradient (clip_norm); if the KL is in the loss with the right "
    "sign, it brings such variances back. The largest log variance then stays below 10.",
    symptom="objective",
)
def near_overflow(seen: Examined) -> Iterator[Case]:
    """A log variance of q so large that its exponential is close to overflow."""
    yield Case(
        f"The largest log variance of q is {seen.value('largest_log_variance'):.3g}: float32 overflows at 88.",
        [seen.above("largest_log_variance", LOG_VARIANCE_NEAR_OVERFLOW)],
    )
