"""Training and test rows that are not of one kind, or are the same rows."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, warning

SHIFT, WIDTH = 0.5, 1.5
"""How far the mean of test values may be from that of training values, in deviations, and their deviations' factor."""

REPEATED = 0.05
"""Share of test rows that are training rows too, from which test figures are too good."""


@warning(
    "splits-differ",
    needs=("test_values_shifted",),
    why="Test figures then say how well the pair does on data that it was not trained for.",
    advice="Normalize training and test rows by the same numbers, those of the training rows; then look at how "
    "the rows were split. The test values shifted then reads about 0, and test values width about 1.",
    explains=("overfitting",),
)
def splits_differ(seen: Examined) -> Iterator[Case]:
    """Another mean or another deviation of the values."""
    shift, width = seen.value("test_values_shifted"), seen.value("test_values_width")
    words = f"Test values lie {shift:.2g} deviations from training values, and are {width:.2g} times as wide"
    shown = ("test_values_shifted", "test_values_width", "generalization_gap")
    yield Case(
        f"{words}: they are normalized differently, or are of another kind.", [seen.above(shown[0], SHIFT)], shown
    )
    yield Case(f"{words}: they are normalized differently.", [seen.off(shown[1], 1.0, WIDTH)], shown)


@warning(
    "test-rows-in-train",
    needs=("share_of_test_rows_in_train",),
    why="Figures of test rows that were trained on say nothing about new observations.",
    advice="Drop duplicates before the rows are split: np.unique(x, axis=0). The share of test rows in train "
    "then reads 0.",
)
def repeated_rows(seen: Examined) -> Iterator[Case]:
    """More test rows stand among the training rows than training rows stand there twice, as rows of few values do."""
    share, usual = seen.value("share_of_test_rows_in_train"), seen.value("share_of_train_rows_repeated")
    yield Case(
        f"{share:.0%} of the test rows are among the training rows, of which {usual:.0%} occur there more than once.",
        [seen.above("share_of_test_rows_in_train", REPEATED + 1.5 * usual)],
        ("share_of_train_rows_repeated", "generalization_gap"),
    )
