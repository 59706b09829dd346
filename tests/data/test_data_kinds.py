"""What the numbers of an array are: found out where they leave no doubt, else refused with the question which."""

import re

import numpy as np
import pytest
import torch

from bayes_vae.data import KINDS, load_data, require_binary, require_fit, require_kind
from bayes_vae.errors import DataError, SupportError
from bayes_vae.parts.registry import find, names
from bayes_vae.settings import DataSettings

RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.poisson(3.0, (30, 4)).astype(np.int64)
COUNTS[0, 0] = 3000
REAL = RANDOM.normal(size=(30, 4))
DARK = RANDOM.integers(0, 17, (30, 4), dtype=np.uint8)
GRAY = np.concatenate([DARK, np.full((1, 4), 255, np.uint8)])
BINARY = RANDOM.integers(0, 2, (30, 4))
SCALED = RANDOM.random((30, 4))
IMAGES = RANDOM.random((30, 9, 12))


def observed(data):
    """All observations, in the order of the array."""
    splits = (data.train, data.validation, data.test)
    order = torch.cat([split.index for split in splits]).argsort()
    x = torch.cat([split.observations() for split in splits])[order]
    batch = torch.cat([s.training_batch(torch.arange(len(s)), torch.Generator()) for s in splits])[order]
    assert x.dtype == batch.dtype == torch.float32
    assert torch.equal(x, batch)
    return x


FOUND = {
    "booleans": (BINARY.astype(bool), None, "binary", "stochastic"),
    "zeros and ones": (BINARY, "none", "binary", "none"),
    "zeros and ones as floats": (BINARY.astype(float), "none", "binary", "none"),
    "bytes": (GRAY, None, "gray", "stochastic"),
    "bytes above 127": (DARK + 112, None, "gray", "stochastic"),
    "integers that reach 255": (GRAY.astype(int), "none", "gray", "none"),
    "floats in [0, 1]": (GRAY / 255, "none", "gray", "none"),
    "floats": (REAL, "none", "real", "none"),
    "floats with fractions beyond 1": (REAL, None, "real", "none"),
    "floats in [0, 1] in the shape of images": (IMAGES, None, "gray", "stochastic"),
    "floats in [0, 1] with one channel": (IMAGES[:, None], None, "gray", "stochastic"),
    "floats in [0, 1] with a policy": (SCALED, "static", "gray", "static"),
    "a colour image as it is": (np.stack([IMAGES] * 3, 1), "none", "gray", "none"),
}


@pytest.mark.parametrize("case", FOUND)
def test_kinds_that_are_found_out(case):
    array, policy, kind, chosen = FOUND[case]
    data = load_data(array, policy=policy)
    assert (data.kind, data.policy) == (kind, chosen)
    assert data.observation_kind == ("binary" if chosen != "none" else kind)
    assert data.summary()["kind"] == kind


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float32, np.float64])
def test_counts_are_kept_as_they_are(dtype):
    data = load_data(COUNTS.astype(dtype), kind="counts")
    assert (data.kind, data.observation_kind, data.policy) == ("counts", "counts", "none")
    assert torch.equal(observed(data), torch.from_numpy(COUNTS).float())
    assert torch.allclose(data.train.mean(), torch.from_numpy(COUNTS)[data.train.index].double().mean(0).float())


def test_small_counts_are_not_divided_by_255():
    """Also where they are bytes, and where they are all zeros and ones."""
    for array in (DARK, BINARY.astype(np.uint8)):
        assert torch.equal(observed(load_data(array, kind="counts")), torch.from_numpy(array).float())


@pytest.mark.parametrize("array", [REAL, COUNTS, DARK, BINARY.astype(bool)])
def test_real_values_are_kept_as_they_are(array):
    data = load_data(array, kind="real")
    assert (data.kind, data.policy) == ("real", "none")
    assert torch.equal(observed(data), torch.from_numpy(array).float())


def test_dark_pixels_stand_for_255ths_when_asked():
    data = load_data(DARK, kind="gray", policy="none")
    assert torch.equal(observed(data), torch.from_numpy(DARK) / 255)


@pytest.mark.parametrize("shape", [(), (3, 4, 5)])
@pytest.mark.parametrize("kind", ["counts", "real"])
def test_any_event_shape(kind, shape):
    array = RANDOM.poisson(2.0, (20, *shape))
    data = load_data(array, kind=kind)
    assert data.data_shape == shape
    assert torch.equal(observed(data), torch.from_numpy(array).float())


@pytest.mark.parametrize("kind", ["counts", "real"])
def test_the_digest_sees_every_value(kind):
    array = COUNTS.copy()
    before = load_data(array, kind=kind).digest
    assert load_data(array, kind=kind).digest == before
    array[7, 2] += 1
    assert load_data(array, kind=kind).digest != before


BOTH_CALLS = (
    r"may be gray pixels or a scaled table. Of a table say load_data\(x, kind='real'\).*--likelihood normal.*"
    r"of pixels say load_data\(x, kind='gray'\).*--kind gray"
)
COLOURS = r"colour images of shape .*Keep them with policy='none'.*--policy none.*policy='stochastic'.*gray images"

AMBIGUOUS = {
    "floats in [0, 1]": (SCALED, rf"floats in \[0, 1\] of shape \(4,\) {BOTH_CALLS}"),
    "a scaled series": (RANDOM.random((30, 24, 6)), rf"of shape \(24, 6\) {BOTH_CALLS}"),
    "short strips": (RANDOM.random((30, 5, 5)), rf"of shape \(5, 5\) {BOTH_CALLS}"),
    "colour images": (np.stack([IMAGES] * 3, 1), COLOURS),
    "colour images, colours last": ((np.stack([IMAGES] * 3, -1) * 255).astype(np.uint8), COLOURS),
    "whole numbers as floats": (
        COUNTS.astype(float),
        r"whole numbers in 0…3000, stored as floats. Say .*kind='counts'",
    ),
    "dark bytes": (
        DARK,
        r"integers in 0…16: .* at most 0.06. Say .*kind='counts'.*kind='gray' .*Of gray .* give x / 16",
    ),
    "counts that bytes could hold": (COUNTS % 200, r"integers in 0….*kind='counts' or kind='real' \(--kind"),
    "counts": (
        COUNTS,
        r"integers are taken as pixels in 0…255, but they range over \[0, 3000\]. Say what they are",
    ),
    "negative": (COUNTS - 1, r"range over \[-1, 2999\]. Say what they are"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_could_be_one_or_another_is_asked(case):
    array, message = AMBIGUOUS[case]
    with pytest.raises(SupportError, match=message):
        load_data(array)


REFUSED = {
    "a fraction": (
        "counts",
        REAL * 0 + 2.5,
        "are whole .* to 16,777,216, but row 0 has 2.5 .*120 such values",
    ),
    "below zero": ("counts", -COUNTS, "but row 0 has -"),
    "too many to be exact": ("counts", COUNTS * 10_000, r"but row 0 has 3e\+07 \(1 such values of 120\)"),
    "a two": ("binary", np.where(np.arange(120) == 77, 2, 0).reshape(30, 4), "are 0 or 1, but row 19 has 2"),
    "256": ("gray", COUNTS, "are integers in 0…255 or floats in .*row 0 has 3000"),
    "above one": ("gray", REAL * 0 + 1.5, "row 0 has 1.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_that_are_not_of_the_kind_name_the_row(case):
    kind, array, message = REFUSED[case]
    with pytest.raises(SupportError, match=rf"data of the kind '{kind}' .*{message}"):
        load_data(array, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_infinity_names_the_row_whatever_the_kind(kind):
    array = np.zeros((30, 4))
    array[13, 1], array[20, 0], array[22, 1] = np.nan, -np.inf, np.inf
    with pytest.raises(DataError, match="2 values of 120 that are infinite .*: row 20, and 1 rows more"):
        load_data(array, kind=kind)


@pytest.mark.parametrize("policy", ["stochastic", "static", "threshold"])
@pytest.mark.parametrize("kind", ["counts", "real"])
def test_policies_are_for_pixels(kind, policy):
    with pytest.raises(DataError, match=f"the policy '{policy}' makes zeros and ones of pixels, but .* '{kind}'"):
        load_data(COUNTS, kind=kind, policy=policy)


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(DataError, match="unknown kind of data 'text': choose one of auto, binary, gray, counts, real"):
        load_data(COUNTS, kind="text")


def test_named_data_have_their_kind():
    with pytest.raises(
        DataError,
        match="the data set 'digits' has gray pixels, or as 'counts' the numbers of dots: give another kind only",
    ):
        load_data("digits", kind="real")
    assert load_data("digits", policy="none").observation_kind == "gray"
    assert load_data("digits").observation_kind == "binary"


def test_the_settings_say_the_kind(tmp_path):
    np.save(tmp_path / "cells.npy", COUNTS)
    settings = DataSettings(data=str(tmp_path / "cells.npy"), kind="counts")
    assert load_data(settings).kind == "counts"
    assert load_data(settings, kind="real").kind == "real"


def test_a_likelihood_refuses_other_kinds_by_name():
    counts = load_data(COUNTS, kind="counts")
    require_kind(counts, ("counts",), "Poisson")
    message = r"a normal likelihood takes real values or gray pixels, but .* 'array' are counts \(kind 'counts', "
    with pytest.raises(SupportError, match=message):
        require_kind(counts, ("real", "gray"), "normal")
    with pytest.raises(SupportError, match=r"a Bernoulli likelihood takes zeros and ones, but .* are counts"):
        require_binary(load_data(BINARY, kind="counts"))


def test_binarized_pixels_are_zeros_and_ones_to_a_likelihood():
    require_kind(load_data(GRAY), ("binary",), "Bernoulli")
    with pytest.raises(SupportError, match="are gray pixels"):
        require_kind(load_data(GRAY, policy="none"), ("binary",), "Bernoulli")


def test_the_pixels_of_the_digits_are_also_counts():
    counts = load_data("digits", kind="counts")
    assert (counts.kind, counts.policy, counts.observation_kind) == ("counts", "none", "counts")
    x, gray = counts.test.observations(), load_data("digits", policy="none").test.observations()
    assert (x.min(), x.max()) == (0, 16)
    torch.testing.assert_close(x / 16, gray, rtol=0, atol=0.5 / 255)
    with pytest.raises(DataError, match="the policy 'stochastic' makes zeros and ones of pixels"):
        load_data("digits", kind="counts", policy="stochastic")


@pytest.mark.parametrize("likelihood", names("likelihood"))
@pytest.mark.parametrize("kind", ["binary", "gray", "counts", "real"])
def test_a_likelihood_takes_its_kinds_and_refuses_the_others(likelihood, kind):
    family = find("likelihood", likelihood)
    arrays = {"binary": BINARY, "gray": GRAY, "counts": COUNTS, "real": np.linspace(-3, 3, 60).reshape(20, 3)}
    data = load_data(arrays[kind], kind=kind, policy="none")
    if kind in family.data_kinds:
        require_fit(data, family)
    else:
        with pytest.raises(SupportError, match=f"a {likelihood} likelihood takes|a Bernoulli likelihood takes zeros"):
            require_fit(data, family)


@pytest.mark.parametrize(
    ("kind", "taking"),
    [
        ("gray", {"continuous-bernoulli", "normal", "discretized-logistic", "laplace"}),
        ("real", {"normal", "laplace", "columns"}),
    ],
)
def test_the_likelihoods_that_take_a_kind_are_named(kind, taking):
    arrays = {"gray": GRAY, "real": REAL}
    with pytest.raises(SupportError, match="Choose a likelihood that takes them") as raised:
        require_fit(load_data(arrays[kind], kind=kind, policy="none"), find("likelihood", "categorical"))
    named = re.search(r"takes them, (.*), or say", str(raised.value))[1]
    assert set(re.findall(r"'(.*?)'", named)) == taking


def test_gray_pixels_that_are_all_zeros_and_ones_have_no_density():
    data = load_data(255 * BINARY.astype(np.uint8), kind="gray", policy="none")
    for name in ("continuous-bernoulli", "normal"):
        message = f"a {name} likelihood is a density of values in between, but every value .* is 0 or 1.*'bernoulli'"
        with pytest.raises(SupportError, match=message):
            require_fit(data, find("likelihood", name))
    for name in ("discretized-logistic", "bernoulli"):
        require_fit(data, find("likelihood", name))


def test_a_policy_that_binarizes_is_named_where_it_is_the_cause():
    message = (
        r"a normal likelihood takes gray .* data policy 'stochastic'\). Choose the data policy 'none', which leaves"
    )
    with pytest.raises(SupportError, match=message):
        require_fit(load_data("digits"), find("likelihood", "normal"))
    require_fit(load_data("digits"), None)
