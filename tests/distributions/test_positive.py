"""The softplus of scales: its floor, where zero goes, and its inverse."""

import math

import pytest
import torch

from bayes_vae.distributions.positive import positive, raw_of_positive

RAW = torch.linspace(-40, 40, 81, dtype=torch.float64)


def test_positive_is_the_softplus_above_its_floor():
    torch.testing.assert_close(positive(RAW, 0.01), torch.log1p(RAW.exp()) + 0.01)
    assert torch.equal(positive(torch.tensor([-1e4]), 0.25), torch.tensor([0.25]))


def test_the_offset_moves_the_value_at_zero():
    assert float(positive(torch.zeros(()), 1e-5, math.log(math.e - 1))) == pytest.approx(1 + 1e-5)
    torch.testing.assert_close(positive(RAW, 0.01, 2.0), positive(RAW + 2.0, 0.01))


@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.01])
@pytest.mark.parametrize("value", [0.05, 1.0, 7.5])
def test_a_value_comes_back_from_its_raw_number(value, floor):
    raw = torch.tensor(raw_of_positive(value, floor), dtype=torch.float64)
    assert float(positive(raw, floor)) == pytest.approx(value, rel=1e-12)
