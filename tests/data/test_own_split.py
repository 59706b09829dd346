"""A split of one's own: rows in parts, fractions, places; and who chose it."""

import numpy as np
import pytest
import torch

from bayes_vae.data import load_data
from bayes_vae.data.own_split import as_shares, permutation
from bayes_vae.errors import DataError, SettingsError
from bayes_vae.settings import DataSettings

TABLE = np.random.default_rng(0).normal(size=(150, 3))


def parts_of(data):
    return data.train, data.validation, data.test


def sizes(data):
    return tuple(map(len, parts_of(data)))


def observed(split):
    return split.observations().numpy()


def test_rows_in_three_parts_stay_where_they_are():
    data = load_data(train=TABLE[:100], validation=TABLE[100:110], test=TABLE[110:])
    for split, rows in zip(parts_of(data), (TABLE[:100], TABLE[100:110], TABLE[110:]), strict=True):
        assert np.array_equal(observed(split), rows.astype(np.float32))
    assert torch.cat([split.index for split in parts_of(data)]).tolist() == list(range(150))
    assert (data.split_by, data.summary()["split_by"]) == ("caller", "caller")
    assert "your split" in repr(data)


def test_validation_rows_come_from_the_training_rows():
    """Never from the test rows, whose figures are reported."""
    for share, count in ((None, 20), (0.25, 30), (7, 7)):
        data = load_data(train=TABLE[:120], validation=share, test=TABLE[120:])
        assert sizes(data) == (120 - count, count, 30)
        assert np.array_equal(observed(data.test), TABLE[120:].astype(np.float32))
        assert torch.equal(torch.cat([data.train.index, data.validation.index]).sort().values, torch.arange(120))


def test_labels_and_what_stands_beside_x_follow_their_rows():
    totals = TABLE.sum(1, keepdims=True)
    data = load_data(train=(TABLE[:120], totals[:120]), test=(TABLE[120:], totals[120:]))
    for split in parts_of(data):
        torch.testing.assert_close(split.beside[0].float(), split.values.sum(1, keepdim=True))


def test_places_of_rows():
    even, marked = np.arange(0, 150, 2), np.arange(150) % 10 == 1
    data = load_data(TABLE, test=even, validation=marked)
    assert data.test.index.tolist() == even.tolist()
    assert data.validation.index.tolist() == np.flatnonzero(marked).tolist()
    assert sorted(data.train.index.tolist()) == [row for row in range(150) if row % 2 and row % 10 != 1]
    assert data.split_by == "caller"
    only = load_data(TABLE, train=[5, 3], validation=[1], test=torch.tensor([0, 9]))
    assert [split.index.tolist() for split in parts_of(only)] == [[5, 3], [1], [0, 9]]


def test_training_and_test_rows_that_leave_none_give_validation_rows_of_the_training_rows():
    mine = np.arange(150) % 3 > 0
    data = load_data(TABLE, train=mine, test=~mine)
    assert [len(split) for split in parts_of(data)] == [80, 20, 50]
    assert data.test.index.tolist() == np.flatnonzero(~mine).tolist()
    both = data.train.index.tolist() + data.validation.index.tolist()
    assert sorted(both) == np.flatnonzero(mine).tolist()
    assert data.train.index.tolist() == sorted(data.train.index.tolist())


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"test": 0.2}, (100, 20, 30)),
        ({"train": 0.8, "validation": 0.1, "test": 0.1}, (120, 15, 15)),
        ({"train": 30, "validation": 10, "test": 60}, (30, 10, 60)),
        ({"validation": 0, "test": 0.5}, (75, 0, 75)),
        ({"train": 1 / 3, "validation": 1 / 3, "test": 1 / 3}, (50, 50, 50)),
    ],
)
def test_shares_of_the_rows(shares, expected):
    data = load_data(TABLE, **shares)
    assert sizes(data) == expected
    index = torch.cat([split.index for split in parts_of(data)])
    assert torch.equal(index, permutation(150)[: len(index)])


@pytest.mark.parametrize("count", [17, 19, 23])
def test_fractions_of_any_number_of_rows_add_up(count):
    data = load_data(TABLE[:count], train=0.8, validation=0.1, test=0.1)
    assert sum(sizes(data)) == count


def test_small_tables_have_twenty_test_rows():
    """Below, no mean has an error, and the diagnosis says nothing."""
    assert sizes(load_data(TABLE)) == (110, 20, 20)
    assert load_data(TABLE).split_by == "load_data"
    assert sizes(load_data(TABLE[:99])) == (81, 9, 9)


REFUSED = {
    "one row in two parts": ({"train": [1, 2], "test": [2, 3]}, r"row 2 is in .* and in .* \(1 rows are\)"),
    "no such row": ({"test": [150]}, "test names row 150, but the data have the rows 0…149"),
    "negative": ({"test": [-1]}, "test names row -1"),
    "twice": ({"test": [3, 3]}, "test names a row twice"),
    "too many": (
        {"train": 100, "validation": 50, "test": 50},
        "asks for more rows than there are: train 100, .* of 150",
    ),
    "more than one": ({"train": 0.8, "test": 0.4}, "asks for more rows than there are: train 0.8, test 0.4"),
    "all": ({"test": 150, "validation": 1}, "more rows than there are"),
    "a fraction of a row": ({"test": 1.5}, "test must be a fraction from 0 to 1, a number of rows, or their places"),
    "negative share": ({"test": -0.1}, "test must be a fraction"),
    "an array": ({"test": TABLE}, r"expected a fraction, .* got shape \(150, 3\).*load_data\(train=..., test=...\)"),
    "a short mask": ({"test": np.ones(3, bool)}, r"booleans of shape \(150,\), got shape \(3,\)"),
    "words": ({"test": "half"}, "test: expected places of rows, got str"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_split_that_cannot_be(case):
    parts, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        load_data(TABLE, **parts)


def test_what_is_asked_of_rows_in_parts():
    with pytest.raises(DataError, match=r"train= was given without test=: .* test=0.1"):
        load_data(train=TABLE)
    with pytest.raises(DataError, match=r"load_data needs data: .* or train= and test="):
        load_data(test=TABLE)
    with pytest.raises(DataError, match=r"must have the same shape, but they have \(3,\) and \(2,\)"):
        load_data(train=TABLE, test=TABLE[:, :2])
    with pytest.raises(DataError, match="must have the same number of tensors beside x"):
        load_data(train=(TABLE, TABLE), test=TABLE)
    with pytest.raises(DataError, match="labels= goes with one source"):
        load_data(train=TABLE, test=TABLE, labels=np.zeros(300))
    with pytest.raises(DataError, match="the data set 'digits' has its own split"):
        load_data("digits", test=0.2)
    with pytest.raises(DataError, match="is a data set already"):
        load_data(load_data(TABLE))


def test_settings_name_files_and_shares(tmp_path):
    for name, rows in (("a", TABLE[:100]), ("b", TABLE[100:])):
        np.save(tmp_path / f"{name}.npy", rows)
    first, second = str(tmp_path / "a.npy"), str(tmp_path / "b.npy")
    data = load_data(DataSettings(data=first, test_data=second, kind="real"))
    assert (data.name, sizes(data), data.split_by) == ("a.npy", (80, 20, 50), "caller")
    assert sizes(load_data(DataSettings(data=first, split=(0.5, 0.25, 0.25)))) == (50, 25, 25)
    assert sizes(load_data(DataSettings(data=first, split=(0, 0, 1)))) == (0, 0, 100)
    with pytest.raises(SettingsError, match=r"split must be three fractions or numbers of rows, .* got 0.8 0.2"):
        DataSettings(split=(0.8, 0.2))


def test_one_row_is_not_all_of_them():
    """1 is a number of rows, 1.0 all of them; in settings, numbers that add up to more than 1 are numbers of rows."""
    assert sizes(load_data(TABLE, train=50, validation=1, test=10)) == (50, 1, 10)
    assert sizes(load_data(TABLE, train=1.0, validation=0, test=0)) == (150, 0, 0)
    assert sizes(load_data(TABLE[:15], train=13, validation=1, test=1)) == (13, 1, 1)
    stored = DataSettings(split=(3, 1, 1)).split
    assert as_shares(stored) == (3, 1, 1)
    assert as_shares((0.5, 1.0, 2.0)) == (0.5, 1, 2)
