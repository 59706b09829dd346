"""What the probe finds out about a pair: how its particles lie, and whether its rows may be split."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from torch.distributions import Normal

from bayes_vae import elbo_terms, log_terms
from bayes_vae.errors import ProgramError, ScaledSiteWarning
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.guides.guide import SingleLatentGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.terms.randomness import KeyedNoise

W = torch.tensor([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]], dtype=torch.float64)
D, PIXELS = W.shape


def data(size):
    return torch.linspace(-1, 1, size * PIXELS, dtype=torch.float64).reshape(size, PIXELS)


def prior():
    return dist.Normal(torch.zeros(D, dtype=torch.float64), 1.0).to_event(1)


def likelihood(z):
    return dist.Normal(z @ W, 0.5).to_event(1)


def posterior(x):
    return dist.Normal(x @ W.T, 0.7).to_event(1)


def model_of(likelihood=likelihood, prior=prior):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior())
            pyro.sample("x", likelihood(z), obs=x)

    return model


def guide_of(posterior=posterior):
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior(x))

    return guide


model, guide = model_of(), guide_of()


def reshaping(z):
    """A decoder whose output has one batch dimension, whatever its input has."""
    return dist.Normal(z.reshape(-1, D) @ W, 0.5).to_event(1)


def indexing(z):
    """Right for z of shape (N, D); of shape (K, N, D) it takes the first observation, and its shape hides that."""
    return dist.Normal(z[:, 0].unsqueeze(-1) * W[0], 0.5).to_event(1)


def square_prior():
    return dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1)


def square_posterior(x):
    return dist.Normal(x, 0.7).to_event(1)


def check(terms, x, likelihood=likelihood, prior=prior, posterior=posterior):
    """Compare each particle with a run of its own."""
    for k, z in enumerate(terms.latents["z"]):
        for found, expected in (
            (terms.log_prior, prior().log_prob(z)),
            (terms.log_likelihood, likelihood(z).log_prob(x)),
            (terms.log_guide, posterior(x).log_prob(z)),
        ):
            torch.testing.assert_close(found[k], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(("decoder", "particles"), [(likelihood, "plate"), (reshaping, "repeat")])
def test_every_number_of_observations_and_of_particles(decoder, particles, size):
    for num_particles in (1, 3):
        terms = log_terms(model_of(decoder), guide, data(size), num_particles, keep_latents=True)
        assert terms.provenance.particles == particles
        assert terms.log_prior.shape == (num_particles, size)
        check(terms, data(size))


@pytest.mark.parametrize("size", [3, 7])
def test_a_plate_of_particles_that_runs_but_disagrees_is_not_taken(size):
    pair = model_of(indexing, square_prior), guide_of(square_posterior)
    terms = log_terms(*pair, data(size), 4, keep_latents=True)
    assert terms.provenance.particles == "repeat"
    check(terms, data(size), indexing, square_prior, square_posterior)


def on_the_place(x):
    return posterior(x + torch.arange(len(x)).unsqueeze(-1))


def test_rows_that_depend_on_their_place_are_never_split():
    pair = model, guide_of(on_the_place)
    terms = [log_terms(*pair, data(8), 4, keep_latents=True, batch_size=size) for size in (None, 3)]
    assert torch.equal(*(part.log_importance_weights for part in terms))
    check(terms[0], data(8), posterior=on_the_place)


def test_sites_observations_and_particles_have_noise_of_their_own(within):
    def two_sites(x, obs=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior())
            w = pyro.sample("w", prior())
            if obs is not None:
                pyro.sample("x", likelihood(z + w), obs=obs)

    latents = log_terms(lambda x: two_sites(x, x), two_sites, data(40), 130, keep_latents=True).latents
    noise = torch.stack([latents["z"], latents["w"]]).flatten(0, 1).movedim(1, 0).flatten(1)  # (40, 2 · 130 · 2)
    size = noise.numel()
    within(noise.mean(), 0, size**-0.5)
    within(noise.square().mean(), 1, (2 / size) ** 0.5)
    assert len(noise.unique()) == size


def test_a_batch_and_a_chunk_bound_what_a_program_is_given():
    rows = []

    def watched(z):
        rows.append(z[..., 0].numel())
        return reshaping(z)

    log_terms(model_of(watched), guide, data(50), 12, batch_size=10, chunk_size=4)
    assert max(rows) == 40


def test_guide_and_model_may_have_their_plates_at_different_dims():
    def plates_for_dimensions(x):
        with pyro.plate("data", len(x), dim=-2):
            with pyro.plate("dimensions", D, dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(D, dtype=torch.float64), 1.0))
            with pyro.plate("pixels", PIXELS, dim=-1):
                pyro.sample("x", dist.Normal(z @ W, 0.5), obs=x)

    terms = log_terms(plates_for_dimensions, guide, data(5), 4, keep_latents=True)
    assert terms.provenance.particles == "repeat"
    check(terms, data(5))


def test_a_plate_as_large_as_the_probe_is_told_from_the_data():
    def channels(x):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(1, D, dtype=torch.float64), 1.0).to_event(1))
            with pyro.plate("channels", PIXELS, dim=-1):
                pyro.sample("x", dist.Normal((z @ W).squeeze(-2), 0.5), obs=x)

    def one_column(x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal((x @ W.T).unsqueeze(-2), 0.7).to_event(1))

    terms = log_terms(channels, one_column, data(5), 4, keep_latents=True)
    terms.latents["z"].squeeze_(-2)
    check(terms, data(5))


def test_as_many_observations_as_pixels_are_told_apart_by_a_few_rows():
    def per_pixel(x):
        with pyro.plate("data", len(x), dim=-2), pyro.plate("pixels", 4, dim=-1):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    def pixelwise(x):
        with pyro.plate("data", len(x), dim=-2), pyro.plate("pixels", 4, dim=-1):
            pyro.sample("z", dist.Normal(x, 0.5))

    x = torch.linspace(-1, 1, 16).reshape(4, 4)
    terms = log_terms(per_pixel, pixelwise, x, 2, keep_latents=True)
    expected = Normal(x, 0.5).log_prob(terms.latents["z"]).sum(-1)
    torch.testing.assert_close(terms.log_guide, expected.double())


@pytest.mark.parametrize("flow", [dist.transforms.planar, dist.transforms.sylvester])
def test_a_flow_without_inverse(flow, clean_globals):
    transform = flow(D).double()

    def bent(x):
        return dist.TransformedDistribution(posterior(x), [transform])

    x = data(5)
    terms = log_terms(model, guide_of(bent), x, 4, keep_latents=True)
    assert (terms.provenance.particles, terms.provenance.randomness) == ("plate", "per observation")
    with torch.no_grad():
        straight = x @ W.T + 0.7 * KeyedNoise(0).normal("z", torch.arange(5), range(4), (D,), x)
        z = transform(straight)
        log_guide = posterior(x).log_prob(straight) - transform.log_abs_det_jacobian(straight, z)
    assert torch.equal(terms.latents["z"], z)
    torch.testing.assert_close(terms.log_guide, log_guide, rtol=1e-10, atol=1e-10)


def test_each_scaled_site_is_named_once():
    def scaled(x):
        with poutine.scale(scale=2.0):
            model(x)

    with pytest.warns(ScaledSiteWarning) as record:
        terms = log_terms(scaled, guide, data(9), 3, batch_size=2, keep_latents=True)
    assert [str(warning.message)[:21] for warning in record] == ["site 'z' is scaled by", "site 'x' is scaled by"]
    check(terms, data(9))


@pytest.mark.parametrize("size", [2, 9])
def test_what_a_program_raises_reaches_the_caller(size):
    def broken(z):
        raise RuntimeError("the decoder is broken")

    with pytest.raises(ProgramError, match="the model raised RuntimeError after its site 'z'.* the decoder is broken"):
        log_terms(model_of(broken), guide, data(size))


class LaplaceGuide(SingleLatentGuide):
    def variational_posterior(self, x):
        return dist.Laplace(x @ W.T, 0.7).to_event(1)


OURS = {
    "VAE": (lambda: VAE(D, (PIXELS,), (4,)), lambda _: AmortizedNormalGuide(D, (PIXELS,), (4,))),
    "linear": (lambda: LinearGaussianVAE(D, (PIXELS,)), lambda _: AmortizedNormalGuide(D, (PIXELS,), (4,))),
    "full covariance": (lambda: LinearGaussianVAE(D, (PIXELS,)), ExactLinearGaussianGuide),
    "data blocks": (lambda: LinearGaussianVAE(D, (PIXELS,)), lambda _: LaplaceGuide()),
}


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize(("make_model", "make_guide"), OURS.values(), ids=OURS)
def test_both_ways_of_reading_a_pair_of_ours_agree(make_model, make_guide, source, clean_globals):
    model = make_model().double()
    guide = make_guide(model).double()
    x = (data(70) > 0).double()
    expected = log_terms(model, guide, x, 66, keep_latents=True)
    found = log_terms(model, guide, x, 66, keep_latents=True, source=source, batch_size=9, chunk_size=10)
    assert (expected.provenance.source, found.provenance.source) == ("distributions", source)
    assert found.provenance.randomness == expected.provenance.randomness
    for name in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.latents["z"], expected.latents["z"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
@pytest.mark.parametrize("name", ["VAE", "linear"])
def test_pixels_of_any_type_are_taken(name, dtype, source, clean_globals):
    make_model, make_guide = OURS[name]
    model, guide = make_model().double(), make_guide(None).double()
    x = (data(4) > 0).double()
    expected = log_terms(model, guide, x, 2).log_importance_weights
    found = log_terms(model, guide, x.to(dtype), 2, source=source).log_importance_weights
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["VAE", "linear"])
def test_both_ways_agree_on_the_closed_form_of_the_kl(name, clean_globals):
    make_model, make_guide = OURS[name]
    model, guide = make_model().double(), make_guide(None).double()
    x = (data(7) > 0).double()
    exposed, traced = (
        elbo_terms(model, guide, x, 3, kl="analytic", source=source, batch_size=4)
        for source in ("distributions", "traces")
    )
    torch.testing.assert_close(traced.kl_to_prior, exposed.kl_to_prior, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(traced.kl_per_dimension, exposed.kl_per_dimension, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(traced.kl_per_dimension.sum(-1), traced.kl_to_prior, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(traced.elbo, exposed.elbo, rtol=1e-10, atol=1e-10)
