"""Whether test rows are like training rows, and whether some of them are training rows."""

from __future__ import annotations

from collections import Counter

from bayes_vae.data import Split
from bayes_vae.data.stored_rows import pieces
from bayes_vae.diagnosis.measure.measurement import Measurement, deviation
from bayes_vae.diagnosis.measure.subject import Subject

__all__ = ["measure_splits"]


def measure_splits(subject: Subject) -> dict[str, Measurement]:
    """Mean and deviation of all test values beside those of training values, and test rows that are training rows."""
    train, test = (rows.x[0].double().flatten(1) for rows in (subject.train, subject.test))
    width = deviation(train).clamp(min=1e-12)
    shift = (Measurement.mean(test.nanmean(1), "") - Measurement.mean(train.nanmean(1), "")).value / float(width)
    seen = Counter(_rows(subject.data.train))
    repeated = [row in seen for row in _rows(subject.data.test)]
    in_train = sum(count for count in seen.values() if count > 1)
    return {
        "test_values_shifted": Measurement.of(abs(shift)),
        "test_values_width": Measurement.of(deviation(test) / width),
        "share_of_test_rows_in_train": Measurement.of(sum(repeated) / len(repeated)),
        "share_of_train_rows_repeated": Measurement.of(in_train / len(subject.data.train)),
    }


def _rows(split: Split) -> list[int]:
    """A hash of each row as it is stored, before any pixel is drawn, and of which of its values are missing."""
    parts = (split.values, *([] if split.missing is None else [split.missing]))
    arrays = ((row for piece in pieces(part) for row in piece.cpu().contiguous().flatten(1).numpy()) for part in parts)
    return [hash(b"".join(row.tobytes() for row in rows)) for rows in zip(*arrays, strict=True)]
