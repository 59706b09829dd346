"""Missing values of a data set: NaN, empty cells and masks, whatever the kind, policy and split."""

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import DataError

RNG = np.random.default_rng(0)
GAPS = RNG.random((40, 4)) < 0.3
GAPS[:, 0] = False
GAPS[0] = False


def holes(values):
    return np.where(GAPS, np.nan, values)


def rows_of(data):
    """All observations in the order of the rows that were given."""
    splits = (data.train, data.validation, data.test)
    index = torch.cat([split.index for split in splits])
    return torch.cat([split.observations() for split in splits])[index.argsort()]


REAL = RNG.normal(3.0, 2.0, (40, 4))
COUNTS = RNG.poisson(4.0, (40, 4))
COINS = (RNG.random((40, 4)) < 0.5).astype(float)
KINDS = {"real": REAL, "counts": COUNTS, "binary": COINS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["NaN", "mask"])
def test_observations_are_nan_where_missing_and_as_given_elsewhere(kind, how):
    values = KINDS[kind]
    given = {"source": holes(values)} if how == "NaN" else {"source": values, "missing": GAPS}
    data = bv.load_data(**given, kind=kind)
    found = rows_of(data)
    assert data.kind == kind
    assert torch.equal(found.isnan(), torch.from_numpy(GAPS))
    assert np.allclose(found.numpy()[~GAPS], values[~GAPS])
    batch = data.train.training_batch(torch.arange(5), torch.Generator().manual_seed(0))
    assert torch.equal(batch.isnan(), torch.from_numpy(GAPS)[data.train.index[:5]])
    assert data.missing_share == pytest.approx(GAPS.mean())


@pytest.mark.parametrize("policy", ["stochastic", "static", "threshold", "none"])
def test_pixels_may_be_missing_under_every_policy(policy):
    pixels = RNG.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    gaps = RNG.random((40, 8, 8)) < 0.2
    whole, data = (bv.load_data(pixels, policy=policy, missing=mask, kind="gray") for mask in (None, gaps))
    found, expected = rows_of(data), rows_of(whole)
    assert torch.equal(found.isnan(), torch.from_numpy(gaps))
    assert torch.equal(found.nan_to_num(), expected.masked_fill(torch.from_numpy(gaps), 0.0))


def test_what_is_missing_decides_nothing_about_the_kind():
    """Behind the mask stand values that no Bernoulli would take."""
    data = bv.load_data(np.where(GAPS, 77.5, COINS), missing=GAPS)
    assert data.kind == "binary"


def test_mean_and_standardization_are_of_what_was_observed():
    data = bv.load_data(holes(REAL), standardize=True)
    train = torch.from_numpy(holes(REAL))[data.train.index]
    mean = train.nanmean(0)
    deviation = (train - mean).square().nanmean(0).sqrt()
    torch.testing.assert_close(data.standardization.mean, mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(data.standardization.scale, deviation, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(data.train.mean(), torch.zeros(4), atol=1e-6, rtol=0)
    back = data.in_original_units(data.train.observations())
    torch.testing.assert_close(back.double(), train, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_the_offset_of_standardized_densities_counts_observed_columns_alone():
    data = bv.load_data(holes(REAL), standardize=True)
    logs = data.standardization.scale.log()
    expected = [-float(logs[~row].sum()) for row in data.test.missing]
    torch.testing.assert_close(data.log_evidence_offsets, torch.tensor(expected, dtype=torch.float64))
    whole = bv.load_data(REAL, standardize=True)
    assert whole.log_evidence_offsets[0] == pytest.approx(whole.standardization.log_evidence_offset)


def test_the_mean_of_drawn_pixels_is_that_of_their_probabilities():
    pixels = RNG.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    gaps = RNG.random((40, 8, 8)) < 0.2
    data = bv.load_data(pixels, policy="stochastic", missing=gaps, kind="gray")
    index = data.train.index
    expected = torch.where(torch.from_numpy(gaps)[index], torch.nan, torch.from_numpy(pixels)[index] / 255).nanmean(0)
    torch.testing.assert_close(data.train.mean(), expected)


def test_the_digest_and_the_repr_say_what_is_missing():
    data, whole = bv.load_data(REAL, missing=GAPS), bv.load_data(REAL)
    assert data.digest != whole.digest
    assert f"{100 * GAPS.mean():.2g} % of the numbers missing (at random, assumed)" in repr(data)
    assert data.summary()["missing_share"] == data.missing_share
    assert "missing_share" not in whole.summary()


def test_a_data_frame_with_gaps_and_rows_that_are_given_as_they_are():
    import pandas as pd

    frame = pd.DataFrame(holes(REAL), columns=list("abcd"))
    frame["e"] = pd.array([None if n % 3 else n for n in range(40)], dtype="Int64")
    data = bv.load_data(frame, kind="real")
    assert (data.columns, data.train.missing.shape[1]) == (("a", "b", "c", "d", "e"), 5)
    from bayes_vae.data import as_data

    taken = as_data(torch.from_numpy(holes(REAL)).float(), lambda x: None, "fit")
    assert taken.kind == "real"
    assert taken.missing_share > 0


def test_empty_cells_of_a_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "1.5,2\n" * 12 + ",3\n" + "NA,4.5\n" + "2.5,\n")
    data = bv.load_data(path)
    assert rows_of(data).isnan().sum(0).tolist() == [2, 1]


REFUSED = {
    "a row": (np.where(np.arange(40)[:, None] == 7, np.nan, REAL), {}, r"1 row\(s\) every value is missing.*row 7"),
    "a column": (np.where(np.arange(4) == 2, np.nan, REAL), {}, r"1 column\(s\) every value.*at \(2,\)"),
    "infinity": (np.where(GAPS, np.inf, REAL), {}, "infinite or beyond float32"),
    "a mask of another shape": (REAL, {"missing": GAPS[:5]}, r"shape \(40, 4\) or \(4,\), got shape \(5, 4\)"),
    "a mask of other numbers": (REAL, {"missing": GAPS * 2.0}, "True or 1 where a value is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name):
    values, options, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        bv.load_data(values, **options)


def test_a_mask_goes_with_one_source_of_ones_own():
    with pytest.raises(DataError, match="goes with one source"):
        bv.load_data(train=REAL, test=REAL, missing=GAPS)
    with pytest.raises(DataError, match="has its own values, none of which is missing"):
        bv.load_data("digits", missing=GAPS)


class Jitter(torch.utils.data.Dataset):
    def __len__(self):
        return 30

    def __getitem__(self, n):
        return torch.tensor([float("nan"), 1.0 * n]) + torch.rand(2)


def test_gaps_in_transforms_that_draw_are_refused(isolated_globals):
    with isolated_globals(seed=0), pytest.raises(DataError, match="transforms draw at random, so which ones"):
        bv.load_data(Jitter(), kind="real")


def test_what_a_masked_array_masks_is_missing():
    values = np.random.default_rng(0).normal(size=(120, 3))
    masked = np.ma.masked_array(values, mask=np.arange(360).reshape(120, 3) % 7 == 0)
    data = bv.load_data(masked, kind="real")
    assert data.missing_share == pytest.approx(masked.mask.mean())
    torch.testing.assert_close(
        data.test.observations().nan_to_num(), torch.from_numpy(masked.filled(0.0)).to(torch.float32)[data.test.index]
    )
    assert bv.load_data(np.ma.masked_array(values), kind="real").missing_share == 0
    counts = np.ma.masked_array(np.arange(360).reshape(120, 3), mask=masked.mask)
    assert bv.load_data(counts, kind="counts").missing_share == pytest.approx(masked.mask.mean())
