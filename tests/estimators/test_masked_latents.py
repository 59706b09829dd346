"""Estimators where latents are masked by row: exact where they can be, and each row as if it were alone."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.free_coordinates import FreeCoordinates
from bayes_vae.estimators.latent_space import LatentSpace


def test_a_space_by_hand():
    """Two free numbers of three, the second held at 5: |dz/dv| and A act on the free ones alone."""
    held = torch.tensor([[False, True, False]])
    loc, scale = torch.tensor([[1.0, 5.0, -1.0]]).double(), torch.tensor([[2.0, 1.0, 3.0]]).double()
    mixing = torch.tensor([[[1.0, 7.0, 2.0], [7.0, 7.0, 7.0], [0.0, 7.0, 3.0]]]).double()
    space = LatentSpace([], loc, scale, mixing, held)
    assert space.dimensions.tolist() == [2]
    assert space.mixing.tolist() == [[[1, 0, 2], [0, 1, 0], [0, 0, 3]]]
    _, log_det = space.latents(torch.ones(1, 1, 3).double())
    torch.testing.assert_close(log_det.exp(), torch.tensor([[2.0 * 3.0 * 3.0]]).double())
    assert space.moving(torch.ones(4, 1, 3)).tolist() == [[[1, 0, 1]]] * 4
    free = FreeCoordinates(LatentSpace([], loc, scale, None, held))
    assert (free.places.tolist(), free.loc.tolist(), free.idle.tolist()) == ([[0, 2]], [[1, -1]], [[False, False]])


@pytest.mark.parametrize("proposal", ["normal", "full_covariance"])
def test_a_fitted_proposal_is_the_posterior(proposal, masked_pair):
    """Conjugate: every weight is log p(x), whatever is masked."""
    pair = masked_pair("event_dims", 6)
    found = bv.estimate_log_evidence(pair.model, pair.guide, pair.x, 40, proposal=proposal)
    torch.testing.assert_close(found.log_evidence, pair.log_evidence, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.effective_sample_size, torch.full_like(found.log_evidence, 40.0))


RUNS = {
    "annealed": lambda *pair, **options: bv.annealed_log_evidence(*pair, num_temperatures=5, **options).log_weights,
    "from the prior": lambda *pair, **options: bv.annealed_log_evidence(
        *pair, num_temperatures=5, start="prior", **options
    ).log_weights.double(),
    "student_t": lambda *pair, **options: (
        bv.estimate_log_evidence(*pair, 20, proposal="student_t", **options).log_evidence
    ),
    "quadrature": lambda *pair, **options: bv.quadrature_log_evidence(*pair, method="grid", **options).log_evidence,
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_row_does_not_depend_on_the_masks_of_its_batch(run, masked_style, masked_pair):
    pair = masked_pair(masked_style, 4)
    together, alone = (run(*pair[:3], batch_size=size) for size in (None, 1))
    torch.testing.assert_close(alone, together, rtol=1e-8, atol=1e-8)


def test_quadrature_counts_what_an_observation_has(masked_pair):
    """Six numbers in all, of which no row has more than two."""
    x = torch.tensor([[0.3, -1.0, 0.5, 0.0, 1.2, -0.4]]).double().expand(3, -1)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0, [1, 4]], mask[1, 5] = True, True
    pair = masked_pair("event_dims", 3)
    found = bv.quadrature_log_evidence(pair.model, pair.guide, (x, mask))
    each = dist.Normal(0.0, 1.25**0.5).log_prob(x)
    torch.testing.assert_close(found.log_evidence, (each * mask).sum(-1), rtol=0, atol=1e-6)
    assert found.num_dimensions == 2


def test_the_plane_of_a_grid(masked_pair):
    """Two numbers of three, the same for all rows; any others are refused."""
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    pair = masked_pair("event_dims", 2)
    mask = torch.tensor([[True, False, True]]).expand(2, -1)
    grid = bv.bayes_rule_on_grid(pair.model, pair.guide, (x, mask))
    truth = dist.Normal(0.0, 1.25**0.5).log_prob(x[:, [0, 2]]).sum(-1)
    torch.testing.assert_close(grid.log_evidence, truth, rtol=0, atol=1e-6)
    assert abs(grid.missed_prior_mass) < 1e-4
    for other, message in (
        ([[True, False, True], [True, True, False]], "these have different latent dimensions"),
        ([[True, False, True], [True, False, False]], "these have different latent dimensions"),
        ([[True, False, False]] * 2, "draws two latent dimensions, and this pair has 1"),
    ):
        with pytest.raises(NotDefinedError, match=message):
            bv.bayes_rule_on_grid(pair.model, pair.guide, (x, torch.tensor(other)))


def calibrated(x, mask, guide=False):
    """The exact posterior of what is not masked; of the rest, what nobody would draw from the prior."""
    loc = torch.where(mask, x / 1.25, 50.0) if guide else torch.zeros_like(x)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(loc, 0.2**0.5 if guide else 1.0).mask(mask).to_event(1))
        if not guide:
            pyro.sample("x", dist.Normal(z, 0.5).mask(mask).to_event(1), obs=x)


@pytest.mark.parametrize("hidden", ["half", "all"])
def test_calibration_ranks_masked_numbers_by_chance(hidden):
    mask = torch.ones(400, 2, dtype=torch.bool)
    mask[:: 2 if hidden == "half" else 1, 1] = False
    x = torch.zeros(400, 2).double()
    found = bv.calibrate_guide(calibrated, functools.partial(calibrated, guide=True), like=(x, mask), num_draws=99)
    assert found.calibrated
    assert found.ranks[~mask].unique().numel() > 50


def test_compare_and_evaluate_agree_with_the_truth(masked_pair, within):
    pair = masked_pair("markov", 6)
    annealed = bv.compare(pair.model, pair.guide, pair.x, (1, 50), num_temperatures=20).annealed
    evaluation = bv.evaluate(pair.model, pair.guide, pair.x, 50, num_temperatures=20)
    assert annealed.converged.all()
    assert evaluation.leading.name == "annealed"
    for found in (annealed.log_evidence, evaluation.log_evidence):
        within(found, pair.log_evidence, annealed.standard_error + 1e-3)
