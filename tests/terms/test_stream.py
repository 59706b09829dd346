"""How work is cut: bounded whatever K and N."""

import pytest
import torch

from bayes_vae.terms.opened import ROWS_AT_ONCE, ROWS_IN_CACHE, WEIGHTS_AT_ONCE, _sizes


class Keyed:
    keyed, splittable = True, True


@pytest.mark.parametrize("at_once", [ROWS_IN_CACHE, ROWS_AT_ONCE])
@pytest.mark.parametrize("num_particles", [1, 10, 5000, 10**6, 10**8])
@pytest.mark.parametrize("num_observations", [1, 100, 10**6])
def test_default_cut_bounds_memory(num_particles, num_observations, at_once):
    batch, chunk = _sizes(Keyed(), num_observations, num_particles, None, None, at_once)
    assert 1 <= batch <= 1024
    assert min(batch, num_observations) * chunk <= at_once
    assert batch == 1 or batch * num_particles <= WEIGHTS_AT_ONCE


def test_memory_does_not_grow_with_particles(small_vae, monkeypatch):
    """The largest tensor that a pass hands to the decoder stays the same from K = 20,000 to K = 80,000."""
    import bayes_vae as bv

    model, guide, x = small_vae
    seen = []
    monkeypatch.setattr(model, "likelihood", _watch(model.likelihood, seen))
    largest = []
    for num_particles in (20_000, 80_000):
        seen.clear()
        bv.estimate_log_evidence(model, guide, x, num_particles)
        largest.append(max(seen))
    assert largest[0] == largest[1] <= ROWS_AT_ONCE


def _watch(likelihood, seen):
    def watched(z: torch.Tensor):
        seen.append(z.shape[:-1].numel())
        return likelihood(z)

    return watched
