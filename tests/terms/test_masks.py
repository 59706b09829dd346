"""Masked latents: which numbers an observation does not have, and the pairs that have no proper evidence."""

import functools

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import ProgramError
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.objectives import Elbo
from bayes_vae.terms.opened import open_pair

X = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SEEN = torch.arange(6) < 3


def open_batch(pair, count=2, **options):
    with open_pair(pair.model, pair.guide, pair.x, **options) as opened:
        batch = next(opened.batches(count))
        draws = list(batch.draws())
    return batch.bound, draws


def test_which_numbers_are_masked(masked_style, masked_pair):
    """Shaped like each site's value, site by site; what an observation has is all that is not."""
    pair = masked_pair(masked_style, 6)
    bound, _ = open_batch(pair)
    assert all(where.dtype == torch.bool and where.any() for where in bound.masked.values())
    size = pair.x[0].shape[1]
    masked = torch.stack([where.reshape(6, -1).sum(1) for where in bound.masked.values()]).sum(0)
    assert masked.tolist() == [size - 1 - n % size for n in range(6)]
    names = {"two_sites": ["z2"], "markov": ["z_1", "z_2"]}.get(masked_style, ["z"])
    assert list(bound.masked) == names


def test_l_k_is_right(masked_style, masked_pair, within):
    pair = masked_pair(masked_style, 6)
    found = bv.estimate_log_evidence(pair.model, pair.guide, pair.x, 4000)
    within(found.log_evidence, pair.log_evidence, found.standard_error)


def laid_out(x, mask, *, particles, guide):
    """One site: a decoder that knows (N, 2) alone asks for repeated rows, a plate of fixed size for a loop."""
    with pyro.plate("data", 6 if particles == "loop" else len(x)):
        loc, scale = (x / 1.25, 0.6) if guide else (torch.zeros_like(x), 1.0)
        z = pyro.sample("z", dist.Normal(loc, scale).mask(mask).to_event(1))
        if not guide:
            z = z if particles == "plate" else z.reshape(len(x), 2)
            pyro.sample("x", dist.Normal(z, 0.5).mask(mask).to_event(1), obs=x)


@pytest.mark.parametrize("particles", ["plate", "repeat", "loop"])
def test_however_particles_are_laid_out(particles, masked_pair, within):
    _, _, x, truth = masked_pair("event_dims", 6)
    pair = (functools.partial(laid_out, particles=particles, guide=guide) for guide in (False, True))
    found = bv.estimate_log_evidence(*pair, x, 200)
    assert found.provenance.particles == particles
    within(found.log_evidence, truth, found.standard_error)


# Refusals


def priors(x, mask, sees=None, around=None):
    """z1 always; z2 where it is seen, which the likelihood of x2 (and, if asked for, of x1) depends on."""
    with pyro.plate("data", len(x)):
        z1 = pyro.sample("z1", dist.Normal(torch.zeros(()).to(x), 1.0))
        mask = mask if around is None else around(z1)
        with poutine.mask(mask=mask):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(()).to(x), 1.0))
        pyro.sample("x1", dist.Normal(z1 + (0.0 if sees is None else sees(z2)), 0.5), obs=x[:, 0])
        with poutine.mask(mask=mask):
            pyro.sample("x2", dist.Normal(z2, 0.5), obs=x[:, 1])


def matching(x, mask, around=None):
    with pyro.plate("data", len(x)):
        z1 = pyro.sample("z1", dist.Normal(torch.zeros(()).to(x), 1.0))
        with poutine.mask(mask=mask if around is None else around(z1)):
            pyro.sample("z2", dist.Normal(torch.zeros(()).to(x), 1.0))


def unmasked(x, mask):
    matching(x, torch.ones_like(mask))


def backwards(x, mask):
    with pyro.plate("data", len(x)):
        with poutine.mask(mask=mask):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(()).to(x), 1.0))
        pyro.sample("z1", dist.Normal(0.1 * z2, 1.0))


ESTIMATORS = {
    "log_terms": bv.log_terms,
    "elbo_terms": bv.elbo_terms,
    "estimate_log_evidence": bv.estimate_log_evidence,
    "refined": functools.partial(bv.estimate_log_evidence, proposal="normal"),
    "annealed": functools.partial(bv.annealed_log_evidence, num_temperatures=3),
    "quadrature": bv.quadrature_log_evidence,
    "grid": bv.bayes_rule_on_grid,
    "posterior_draws": functools.partial(bv.posterior_draws, num_draws=4),
    "inference_gap": bv.inference_gap,
    "evaluate": bv.evaluate,
    "compare": bv.compare,
}

ANYWHERE = functools.partial(priors, sees=lambda z: 0.1 * z)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_every_estimator_refuses_a_masked_latent_that_the_likelihood_sees(estimator):
    expected = r"site 'x1' in the model moves with numbers of latent 'z2' that are masked there, for \d obs"
    with pytest.raises(ProgramError, match=expected):
        estimator(ANYWHERE, matching, (X[[0, 3, 4, 5]], SEEN[[0, 3, 4, 5]]))


SILENT = {
    "far from the start": lambda z: torch.relu(z - 4),
    "in one direction": lambda z: 1e-3 * z,
    "through the next site": lambda z: 0.2 * z.sin(),
}


@pytest.mark.parametrize("sees", SILENT.values(), ids=SILENT)
def test_weak_dependence_is_seen(sees):
    with pytest.raises(ProgramError, match="moves with numbers of latent 'z2'"):
        bv.log_terms(functools.partial(priors, sees=sees), matching, (X, SEEN))


def test_rows_without_a_masked_number_may_see_everything():
    """The same program is a proper one where nothing is masked."""
    terms = bv.log_terms(ANYWHERE, matching, (X[:3], SEEN[:3]), 5)
    assert terms.log_prior.isfinite().all()


DIFFERENT = {
    "the model alone": (priors, unmasked),
    "the guide alone": (lambda x, mask: priors(x, torch.ones_like(mask)), matching),
    "other rows": (lambda x, mask: priors(x, ~mask), matching),
}


@pytest.mark.parametrize(("model", "guide"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_masks_in_model_and_guide(model, guide):
    for estimator in (bv.elbo_terms, bv.estimate_log_evidence):
        with pytest.raises(ProgramError, match=r"latent site 'z2' is masked differently in model and guide for \d"):
            estimator(model, guide, (X, SEEN))


def test_a_guide_whose_other_sites_see_a_masked_latent():
    with pytest.raises(ProgramError, match="site 'z1' in the guide moves with numbers of latent 'z2'"):
        bv.elbo_terms(priors, backwards, (X, SEEN))


def test_a_discrete_latent_that_is_masked_and_seen():
    def program(x, mask, guide=False):
        with pyro.plate("data", len(x)):
            with poutine.mask(mask=mask):
                w = pyro.sample("w", dist.Categorical(torch.tensor([0.999, 0.001])))
            if not guide:
                pyro.sample("x", dist.Normal(w.to(x), 1.0), obs=x[:, 0])

    with pytest.raises(ProgramError, match="site 'x' in the model moves with numbers of latent 'w'"):
        bv.elbo_terms(program, functools.partial(program, guide=True), (X, SEEN))


@pytest.mark.parametrize("edge", [0.0, 2.0])
def test_a_mask_that_depends_on_z(edge):
    """Also where no draw of the guide comes near the edge: then moving all numbers shows it."""
    around = lambda z: z < edge  # noqa: E731
    pair = (functools.partial(program, around=around) for program in (priors, matching))
    with pytest.raises(ProgramError, match="the mask of latent site 'z2' differs between draws of z"):
        bv.annealed_log_evidence(*pair, (X[:2] * 0, SEEN[:2]), num_temperatures=5)


def test_a_mask_that_changes_where_only_chains_come(masked_pair):
    pair = masked_pair("two_sites", 4)

    def model(x, mask):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(torch.zeros(()).to(x), 1.0))
            with poutine.mask(mask=mask[:, 1] & (z1 < 100)):
                z2 = pyro.sample("z2", dist.Normal(torch.zeros(()).to(x), 1.0))
            pyro.sample("x1", dist.Normal(z1, 0.5), obs=x[:, 0])
            with poutine.mask(mask=mask[:, 1]):
                pyro.sample("x2", dist.Normal(z2, 0.5), obs=x[:, 1])

    bound, (draw,) = open_batch(pair._replace(model=model))
    bound.log_joint(draw.latents)
    with pytest.raises(ProgramError, match="differs between draws of z"):
        bound.log_joint({**draw.latents, "z1": draw.latents["z1"] + 200})


def test_a_mask_within_a_transformed_distribution():
    def program(x, mask, guide=False):
        with pyro.plate("data", len(x)):
            base = dist.Normal(torch.zeros(()).to(x), 1.0).mask(mask)
            z = pyro.sample("z", dist.TransformedDistribution(base, [dist.transforms.ExpTransform()]))
            if not guide:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    with pytest.raises(ProgramError, match=r"masked within its TransformedDistribution: expected the mask outside"):
        bv.elbo_terms(program, functools.partial(program, guide=True), (X, SEEN))


class MaskedGuide(SingleLatentGuide):
    def variational_posterior(self, x):
        return dist.Normal(torch.zeros(len(x), 2).to(x), 1.0).mask(x > 0).to_event(1)


def test_distributions_that_a_pair_exposes_are_not_masked(clean_globals):
    model = LinearGaussianVAE(latent_dim=2, data_shape=(2,)).double()
    with pytest.raises(ProgramError, match=r'variational_posterior\(x\) is masked.*source="traces"'):
        bv.elbo_terms(model, MaskedGuide(), X)


def test_training_refuses_it_too(clean_globals):
    with pytest.raises(ProgramError, match="moves with numbers of latent 'z2'"):
        Elbo().loss(ANYWHERE, matching, X, SEEN)


def test_the_masks_cost_one_look(masked_pair):
    """For each batch five runs of one particle: as it is, moved three times, and all moved; then none."""
    runs = []
    pair = masked_pair("two_sites", 6)

    def counted(x, mask):
        runs.append(1)
        pair.model(x, mask)

    with open_pair(counted, pair.guide, pair.x) as opened:
        batch = next(opened.batches(3))
        runs.clear()
        for _ in range(4):
            list(batch.draws())
        assert len(runs) == 4 + 5
