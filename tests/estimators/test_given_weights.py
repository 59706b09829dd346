"""log p(x) from log weights that were computed elsewhere."""

import math
import os

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import DataError, NumericalError, ShapeError
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.plots import pareto_k_figure, save_figure

pytestmark = [pytest.mark.libraries, pytest.mark.usefixtures("clean_globals")]


@pytest.fixture
def pair(isolated_globals):
    """Return a linear-Gaussian model, a guide that misses, and observations."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (5,), noise_scale=0.7).double()
        guide = AmortizedNormalGuide(2, (5,), hidden_dims=(4,)).double()
        with torch.no_grad():
            return model, guide, model.sample(9, seed=1)


def test_the_figures_are_those_of_the_library_at_the_same_draws(pair):
    own = bv.estimate_log_evidence(*pair, 400, seed=2)
    weights = bv.log_terms(*pair, 400, seed=2).log_importance_weights
    given = bv.log_evidence_from_weights(weights)
    for name in ("log_evidence", "effective_sample_size", "pareto_k", "doubling_step", "particles"):
        torch.testing.assert_close(getattr(given, name), getattr(own, name), msg=name)
    assert given.reading == own.reading


def test_normal_weights_have_the_closed_form():
    scale, draws = 0.8, 4000
    weights = np.random.default_rng(0).normal(-3.0, scale, (draws, 50))
    found = bv.log_evidence_from_weights(weights)
    truth = -3.0 + scale**2 / 2
    assert bool(found.converged.all())
    average = found.averages()["log_evidence"]
    assert abs(average.value - truth) < 4 * average.monte_carlo_error
    assert average.monte_carlo_error == pytest.approx(math.sqrt(math.expm1(scale**2) / draws / 50), rel=0.2)


def test_weights_of_an_infinite_variance_are_a_lower_bound():
    weights = np.random.default_rng(0).exponential(1.5, (1000, 20))  # e^w has the tail index 1.5
    found = bv.log_evidence_from_weights(weights)
    assert float(found.pareto_k.median()) > 1
    assert found.reading.kind == "lower_bound_not_converged"
    assert bool(found.standard_error[~found.converged].isnan().all())


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, list, lambda a: Dlpack(a), lambda a: WithArray(a)])
def test_arrays_of_every_framework_give_the_same(convert):
    weights = np.random.default_rng(1).normal(size=(64, 3))
    torch.testing.assert_close(
        bv.log_evidence_from_weights(convert(weights)).log_evidence,
        torch.logsumexp(torch.as_tensor(weights), 0) - math.log(64),
    )


class Dlpack:
    """An array of an accelerator: numpy cannot look at it."""

    def __init__(self, array):
        self.array = torch.as_tensor(array)

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion to numpy is not allowed")

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class WithArray:
    """What only numpy can look at."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array.astype(dtype or self.array.dtype)


def test_draws_that_were_counted_again_are_not_believed():
    rng = np.random.default_rng(2)
    once = rng.normal(size=(1, 4))
    found = bv.log_evidence_from_weights(np.repeat(once, 500, axis=0))
    assert not bool(found.converged.any()), "equal to the last bit: one draw, counted 500 times"
    several = np.repeat(rng.normal(0, 0.1, size=(100, 4)), 5, axis=0)
    assert not bool(bv.log_evidence_from_weights(several).converged.any())
    assert bool(bv.log_evidence_from_weights(rng.normal(0, 0.1, size=(500, 4))).converged.all())


def test_an_exact_guide_is_believed_although_its_weights_are_equal_but_for_rounding(pair):
    model, _, x = pair
    for dtype in (torch.float64, torch.float32):
        exact = ExactLinearGaussianGuide(model)
        weights = bv.log_terms(model, exact, x, 200).log_importance_weights.to(dtype)
        found = bv.log_evidence_from_weights(weights + 1e-6 * torch.randn_like(weights))
        assert bool((found.pareto_k == -torch.inf).all())
        torch.testing.assert_close(found.log_evidence, model.log_evidence(x).detach(), rtol=1e-5, atol=1e-5)


def test_zero_weights_are_no_repeated_draws():
    weights = np.random.default_rng(3).normal(0, 0.3, size=(400, 3))
    weights[:, 1][np.arange(400) % 4 != 0] = -np.inf
    found = bv.log_evidence_from_weights(weights)
    assert bool(found.pareto_k.isfinite().all())


def test_discrete_latents_have_no_k_hat():
    found = bv.log_evidence_from_weights(np.random.default_rng(0).normal(size=(100, 2)), discrete_latents=True)
    assert found.reading.cause == "discrete_latents"


def test_a_container_of_arviz_and_its_file(pair, tmp_path):
    container = bv.to_arviz(*pair, num_draws=60, seed=4)
    weights = bv.log_terms(*pair, 60, seed=4).log_importance_weights
    (tmp_path / "mine.nc").write_bytes(bv.netcdf_bytes(container))
    for given in (container, tmp_path / "mine.nc", str(tmp_path / "mine.nc"), container["sample_stats"]):
        found = bv.log_evidence_from_weights(given)
        torch.testing.assert_close(found.log_evidence, bv.importance_weighted_bound(weights.double()))


def test_chains_and_draws_are_the_particles():
    import xarray

    weights = np.random.default_rng(5).normal(size=(7, 4, 25))
    array = xarray.DataArray(weights, dims=("row", "chain", "draw"))
    found = bv.log_evidence_from_weights(array)
    assert found.num_particles == 100
    expected = torch.logsumexp(torch.as_tensor(weights).reshape(7, 100), 1) - math.log(100)
    torch.testing.assert_close(found.log_evidence, expected)
    with pytest.raises(ShapeError, match="sum over every other dim"):
        bv.log_evidence_from_weights(array.expand_dims("pixel"))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.zeros(5), ShapeError, r"log_weights have shape \(K, N\), draws first.*got \(5,\)"),
        (np.zeros((2, 3, 4)), ShapeError, r"got \(2, 3, 4\)"),
        (np.zeros((0, 4)), ShapeError, r"got \(0, 4\)"),
        (np.full((2, 2), np.nan), NumericalError, "NaN"),
        (np.zeros((2, 2), complex), DataError, "real numbers in nats, got torch.complex128"),
        (np.zeros((2, 2), bool), DataError, "real numbers in nats"),
        (object(), DataError, "must be an array of numbers of shape"),
        ([["a", "b"]], DataError, "must be an array of numbers of shape"),
    ],
)
def test_what_is_no_array_of_weights_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        bv.log_evidence_from_weights(wrong)


def test_a_file_without_such_weights_is_refused(pair, tmp_path):
    container = bv.to_arviz(*pair, num_draws=5)
    (tmp_path / "mine.nc").write_bytes(bv.netcdf_bytes(container))
    with pytest.raises(DataError, match="cannot be read as an ArviZ file with a group 'weights'"):
        bv.log_evidence_from_weights(tmp_path / "mine.nc", group="weights")
    with pytest.raises(DataError, match="has no variable 'w'; it has .*log_importance_weights"):
        bv.log_evidence_from_weights(tmp_path / "mine.nc", name="w")
    with pytest.raises(DataError, match="the container has no group 'weights'; it has .*sample_stats"):
        bv.log_evidence_from_weights(container, group="weights")
    with pytest.raises(DataError, match="cannot be read as an ArviZ file"):
        bv.log_evidence_from_weights(tmp_path / "none.nc")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_what_is_no_plain_file_is_not_opened(tmp_path):
    """A pipe that nobody writes to would be waited for; a terabyte of nothing is not read."""
    os.mkfifo(tmp_path / "pipe.nc")
    with (tmp_path / "sparse.nc").open("wb") as file:
        file.truncate(2**41)
    (tmp_path / "endless.nc").symlink_to("/dev/zero")
    for name, found in {"sparse": "at most", "endless": "not a plain file", "pipe": "not a plain file"}.items():
        with pytest.raises(DataError, match=f"{name}.nc' cannot be read as an ArviZ file .*{found}"):
            bv.log_evidence_from_weights(tmp_path / f"{name}.nc")
    with pytest.raises(DataError, match="cannot be read as an ArviZ file"):
        bv.log_evidence_from_weights("a\0b")


def test_it_is_drawn_printed_and_compared(pair):
    rng = np.random.default_rng(6)
    good, bad = (bv.log_evidence_from_weights(rng.normal(mean, 0.3, (200, 40))) for mean in (-1.0, -2.0))
    assert "seed" not in repr(good)
    assert save_figure(pareto_k_figure(good)).startswith(b"\x89PNG")
    assert len(good.to_pandas()) == 40
    assert "seed" not in good.to_xarray().attrs
    difference = bv.compare_models({"good": good, "bad": bad}).differences[0]
    assert (difference.best.name, difference.verdict) == ("good", "better")
