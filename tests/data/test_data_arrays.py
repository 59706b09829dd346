"""Arrays and array files: how numbers are taken, and what is refused with which words."""

import numpy as np
import pytest
import torch

from bayes_vae.data import POLICIES, load_data
from bayes_vae.data.kinds import quantize
from bayes_vae.errors import DataError, SupportError

pytestmark = pytest.mark.libraries

PIXELS = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (30, 4, 5), dtype=np.uint8)


def all_values(data):
    """The values of all rows, in the order of the original data set."""
    splits = (data.train, data.validation, data.test)
    order = torch.cat([split.index for split in splits]).argsort()
    return torch.cat([split.values for split in splits])[order]


def test_bytes_are_pixels():
    data = load_data(PIXELS)
    assert torch.equal(all_values(data), torch.from_numpy(PIXELS))
    assert (data.name, tuple(data.data_shape)) == ("array", (4, 5))


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint16, ">i4"])
def test_integers_up_to_255_are_pixels(dtype):
    assert torch.equal(all_values(load_data(PIXELS.astype(dtype))), torch.from_numpy(PIXELS))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
@pytest.mark.parametrize("policy", POLICIES)
def test_zeros_and_ones_stay_zeros_and_ones(dtype, policy):
    binary = PIXELS > 100
    observed = load_data(binary.astype(dtype), policy=policy)
    assert torch.equal(observed.train.observations(), torch.from_numpy(binary)[observed.train.index].float())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_floats_are_rounded_to_255ths_under_a_policy_that_binarizes(dtype):
    values = all_values(load_data((PIXELS / 255).astype(dtype), policy="static"))
    assert values.dtype == torch.uint8
    assert (values.int() - torch.from_numpy(PIXELS).int()).abs().max() <= (dtype == np.float16)


def test_rounding_never_moves_a_number_across_one_half():
    numbers = torch.tensor([0.0, 0.4999999, 0.5, 0.5000001, 1.0])
    assert quantize(numbers).tolist() == [0, 127, 127, 128, 255]


def test_floats_of_any_range_are_kept_under_none():
    numbers = PIXELS.astype(np.float64) - 100
    values = all_values(load_data(numbers, policy="none"))
    assert values.dtype == torch.float32
    assert torch.equal(values, torch.from_numpy(numbers).float())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.bfloat16, torch.bool])
def test_torch_tensors_are_taken_as_arrays_are(dtype):
    tensor = torch.from_numpy(PIXELS > 100).to(dtype)
    assert torch.equal(all_values(load_data(tensor)), torch.from_numpy(PIXELS > 100) * 255)


def test_a_tensor_with_a_gradient_is_taken():
    assert len(load_data(torch.zeros(10, 2, requires_grad=True), policy="none").train) == 8


def test_the_data_are_a_copy():
    array = PIXELS.copy()
    data = load_data(array)
    digest = data.digest
    array[:] = 0
    assert load_data(PIXELS).digest == digest
    assert torch.equal(all_values(data), torch.from_numpy(PIXELS))


@pytest.mark.parametrize(("count", "sizes"), [(10, (8, 1, 1)), (19, (17, 1, 1)), (30, (24, 3, 3))])
def test_sizes_of_the_splits(count, sizes):
    data = load_data(PIXELS[:count])
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert torch.equal(
        torch.cat([data.train.index, data.validation.index, data.test.index]).sort().values,
        torch.arange(count),
    )


@pytest.mark.parametrize("labels", [list(range(30)), np.arange(30), torch.arange(30)])
def test_labels_follow_their_rows(labels):
    data = load_data(PIXELS, labels=labels)
    assert data.test.labels.dtype == torch.int64
    assert torch.equal(data.test.labels, data.test.index)
    assert load_data(PIXELS).test.labels is None


def test_labels_may_be_real_numbers():
    assert load_data(PIXELS, labels=np.linspace(0, 1, 30)).test.labels.dtype == torch.float32


BAD_ARRAYS = {
    "a ragged list": ([[1, 2], [3]] * 10, "the data: rows of several shapes, or no numbers"),
    "an object": (object(), "the data: got object. Expected a numpy array.* a torch Dataset or DataLoader.*folder of"),
    "strings": (np.array([["a"]] * 10), "expected booleans, integers or floats, got an array of dtype <U1"),
    "objects": (np.array([[None]] * 10), "got an array of dtype object"),
    "complex": (np.ones((10, 2), complex), "got an array of dtype complex128.*real and imaginary parts"),
    "complex tensor": (torch.ones(10, 2, dtype=torch.complex64), "got an array of dtype complex64"),
    "meta": (torch.empty(10, 2, device="meta"), "expected a dense tensor, got another kind"),
    "empty": (np.empty((0, 4)), r"the data are empty: expected shape \(N, \*event\).*got shape \(0, 4\)"),
    "empty event": (np.empty((10, 0)), r"the data are empty.*got shape \(10, 0\)"),
    "a number": (np.array(3), r"the data are a single number: expected shape .*got shape \(\)"),
    "few rows": (PIXELS[:9], "needs at least 10 rows.*there are 9"),
    "NaN": (np.full((10, 2), np.nan), r"of 10 row\(s\) every value is missing, the first is row 0.*Remove these rows"),
    "infinity": (np.diag([0.0] * 7 + [np.inf] + [0.0] * 2), r"1 values of 100 that are infinite.*: row 7\. Remove"),
    "too large": (np.full((10, 2), 1e300), "20 values of 20 .* beyond float32"),
}


@pytest.mark.parametrize("policy", ["stochastic", "none"])
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_what_is_no_data_set_is_refused(case, policy):
    array, message = BAD_ARRAYS[case]
    with pytest.raises(DataError, match=message):
        load_data(array, policy=policy)


@pytest.mark.parametrize("policy", ["stochastic", "static", "threshold"])
@pytest.mark.parametrize("array", [PIXELS.astype(float), PIXELS / 255 - 0.01])
def test_floats_outside_the_range_of_the_policy_are_refused(policy, array):
    message = rf"policy '{policy}' takes floats in \[0, 1\], but they range over .* Divide pixels by 255.*'none'"
    with pytest.raises(SupportError, match=message):
        load_data(array, policy=policy)


@pytest.mark.parametrize("shape", [(), (7,), (3, 4, 5), (2, 1, 2, 1, 3)])
@pytest.mark.parametrize("policy", POLICIES)
def test_events_of_any_rank(shape, policy):
    array = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    array.flat[0] = 255
    data = load_data(array, policy=policy)
    assert data.data_shape == shape
    assert torch.equal(all_values(data), torch.from_numpy(array))
    rows = torch.tensor([3, 0])
    assert (
        data.train.observations(rows).shape == data.train.training_batch(rows, torch.Generator()).shape == (2, *shape)
    )
    assert data.train.mean().shape == shape


@pytest.mark.parametrize("shift", [-1, 1])
def test_integers_outside_0_to_255_are_refused(shift):
    with pytest.raises(SupportError, match=r"integers are taken as pixels in 0…255, but they range over .*--kind"):
        load_data(PIXELS.astype(int) + shift, policy="none")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(29), r"one number for each of the 30 observations, shape \(30,\), got shape \(29,\)"),
        (np.eye(30), r"got shape \(30, 30\)"),
        (["a"] * 29, r"shape \(30,\), got shape \(29,\)"),
        ("digits", "'digits' would be the name of a column, but these data have no named columns"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        load_data(PIXELS, labels=labels)
