"""What is refused, and that the message says what arrived and what to do."""

import functools

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoNormal

from bayes_vae import compare, elbo_terms, estimate_log_evidence, log_terms
from bayes_vae.errors import NotDefinedError, NumericalError, ProgramError, SettingsError, ShapeError, SupportError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.guides.guide import SingleLatentGuide
from bayes_vae.models import VAE, SingleLatentModel

N, PIXELS = 5, 4
X = torch.tensor([0.0, 1.0]).repeat(N * PIXELS // 2).reshape(N, PIXELS)
ESTIMATORS = [
    log_terms,
    elbo_terms,
    estimate_log_evidence,
    functools.partial(compare, rungs=(1, 5)),
]


def standard(size=2):
    return dist.Normal(torch.zeros(size), 1.0).to_event(1)


def pixels(z):
    return dist.Bernoulli(logits=z.sum(-1, keepdim=True).expand(*z.shape[:-1], PIXELS)).to_event(1)


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", standard())
        pyro.sample("x", pixels(z), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", standard())


# Programs that cannot be read


def subsampled(x):
    with pyro.plate("data", len(x), subsample_size=2) as rows:
        z = pyro.sample("z", standard())
        pyro.sample("x", pixels(z), obs=x[rows])


def subsampled_guide(x):
    with pyro.plate("data", len(x), subsample_size=2):
        pyro.sample("z", standard())


def part_of_a_larger_set(x):
    with pyro.plate("data", 1000, subsample=torch.arange(len(x))):
        z = pyro.sample("z", standard())
        pyro.sample("x", pixels(z), obs=x)


def global_latent(x):
    w = pyro.sample("w", standard())
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", standard())
        pyro.sample("x", pixels(z + w), obs=x)


def global_guide(x):
    pyro.sample("w", standard())
    guide(x)


def no_plate(x):
    z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(2))
    pyro.sample("x", pixels(z).to_event(1), obs=x)


def two_plates(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", standard())
    with pyro.plate("images", len(x)):
        pyro.sample("x", pixels(z), obs=x)


def per_pixel(x):
    with pyro.plate("data", len(x), dim=-2), pyro.plate("pixels", x.shape[1], dim=-1):
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)


def per_pixel_guide(x):
    with pyro.plate("data", len(x), dim=-2), pyro.plate("pixels", x.shape[1], dim=-1):
        pyro.sample("z", dist.Normal(x, 1.0))


def wrong_dim(x):
    with pyro.plate("data", len(x), dim=-2):
        pyro.sample("z", standard())


def two_sites(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", standard())
        pyro.sample("w", standard())
        pyro.sample("x", pixels(z), obs=x)


def nothing_observed(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", pixels(pyro.sample("z", standard())))


def no_site(x):
    return x


def factor_in_guide(x):
    guide(x)
    pyro.factor("extra", x.sum(-1))


def point_mass(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(torch.zeros(2)).to_event(1))


def no_to_event(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", standard())
        pyro.sample("x", pixels(z).base_dist, obs=x)


def latent_without_to_event(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", standard().base_dist)


PROGRAMS = {
    "subsampled plate": (
        subsampled,
        subsampled_guide,
        r"'(z|x)': plate 'data' is subsampled \(2 of 5\).*plate\('data', len\(x\)\)",
    ),
    "part of a larger set": (part_of_a_larger_set, guide, r"plate 'data' is subsampled \(5 of 1000\)"),
    "global latent": (global_latent, global_guide, r"latent 'w' of the model lies outside the frame.*size 5.*none"),
    "global latent, model": (two_plates, guide, r"sites \['x', 'z'\] of the model lie in different plates of size 5"),
    "no plate": (no_plate, guide, r"latent 'z' of the model lies outside the frame.*size 5.*plates are none"),
    "wrong dim": (model, wrong_dim, r"latent 'z' has shape \(5, 1, 2\) in the guide and \(5, 2\) in the model"),
    "site the model lacks": (model, two_sites, r"guide site 'w' is no latent of the model, whose latents are \['z'\]"),
    "site the guide lacks": (two_sites, guide, r"model site 'w' has no counterpart in the guide, .* \['z'\]"),
    "no observed site": (nothing_observed, guide, r"no observed site.*obs="),
    "no latent": (model, no_site, r"guide samples no latent"),
    "factor in the guide": (model, factor_in_guide, r"guide site 'extra' is observed, or a pyro\.factor"),
    "point mass": (model, point_mass, r"guide site 'z' is a point mass \(Delta\).*no ELBO"),
    "no to_event": (no_to_event, guide, r"site x.*\.to_event\(n\)"),
    "no to_event, latent": (model, latent_without_to_event, r"site z.*\.to_event\(n\)"),
}


@pytest.mark.parametrize(("model", "guide", "message"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs_that_cannot_be_read(model, guide, message):
    with pytest.raises(ProgramError, match=f"(?s){message}"):
        log_terms(model, guide, X)


def test_plates_that_cannot_be_told_apart():
    with pytest.raises(ProgramError, match=r"\['data', 'pixels'\] of the guide all have the size 3 .*another number"):
        log_terms(per_pixel, per_pixel_guide, X[:3, :3])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_refuses(estimator):
    with pytest.raises(ProgramError, match="no observed site"):
        estimator(nothing_observed, guide, X)


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize(("model", "guide"), [(no_to_event, guide), (model, latent_without_to_event)])
def test_a_missing_to_event_is_seen_where_the_shapes_hide_it(model, guide, validate, clean_globals):
    """As many observations as pixels, or as latent dimensions: the total is right, and each term nonsense."""
    pyro.enable_validation(validate)
    size = PIXELS if model is no_to_event else 2
    message = r"site 'x'.*belongs to no plate.*\.to_event\(1\)|'z' has shape \(2,\) in the guide.*\.to_event\(n\)"
    with pytest.raises(ProgramError, match=message):
        log_terms(model, guide, X[:size])


@pytest.mark.parametrize("size", [1, N])
def test_a_missing_to_event_with_validation_off(size, clean_globals):
    pyro.enable_validation(False)
    with pytest.raises(ProgramError, match=r"\.to_event\("):
        log_terms(no_to_event, guide, X[:size])


@pytest.mark.parametrize(
    ("auto", "message"),
    [
        (AutoDelta, "'z' is a point mass"),
        (AutoDiagonalNormal, "'_AutoDiagonalNormal_latent' of the guide lies outside the frame"),
    ],
)
def test_pyros_guides_without_terms_for_each_observation(auto, message, clean_globals):
    guide = auto(model)
    guide(X)
    with pytest.raises(ProgramError, match=message):
        log_terms(model, guide, X)


def test_a_guide_of_pyros_that_has_not_seen_its_data():
    guide = AutoNormal(model)
    with pytest.raises(ProgramError, match=r"AutoNormal takes its shapes from the first data.*Call guide\(x\) once"):
        log_terms(model, guide, X)
    assert guide.prototype_trace is None


# Data


class Ours:
    """A pair of ours over the same data."""

    def __init__(self, isolated_globals, model=VAE):
        settings = {"latent_dim": 2, "data_shape": (PIXELS,)}
        with isolated_globals(seed=0):
            self.model = model(**settings, **({"hidden_dims": (3,)} if model is VAE else {}))
            self.guide = AmortizedNormalGuide(**settings, hidden_dims=(3,))


@pytest.fixture
def ours(isolated_globals):
    return Ours(isolated_globals)


def unvalidated(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", standard())
        probs = z.sum(-1, keepdim=True).expand(*z.shape[:-1], PIXELS).sigmoid()
        pyro.sample("pixels", dist.Bernoulli(probs, validate_args=False).to_event(1), obs=x)


def masked(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", standard())
        likelihood = dist.Bernoulli(torch.tensor(0.5), validate_args=False).expand([PIXELS])
        with poutine.mask(mask=torch.arange(len(x)) > 1):
            pyro.sample("pixels", likelihood.mask(torch.arange(PIXELS) > 1).to_event(1), obs=x)


@pytest.mark.parametrize("data", [X / 2, X * 255, X - 2])
@pytest.mark.parametrize("which", ["distributions", "traces", model, unvalidated, masked])
def test_pixels_that_are_not_zeros_and_ones_under_a_bernoulli(which, data, ours):
    pair, source = ((ours.model, ours.guide), which) if isinstance(which, str) else ((which, guide), "auto")
    low, high = data.min().item(), data.max().item()
    with pytest.raises(SupportError, match=rf"range over \[{low:g}, {high:g}\].*binarize.*continuous Bernoulli"):
        log_terms(*pair, data, source=source)


def test_only_what_is_not_masked_has_to_lie_in_the_support():
    data = X.clone()
    data[:2], data[:, :2] = 0.5, torch.nan
    terms = log_terms(masked, guide, data, 3)
    unmasked = (N - 2) * (PIXELS - 2)
    assert terms.log_likelihood[0].sum().item() == pytest.approx(unmasked * torch.tensor(0.5).log().item())


@pytest.mark.parametrize("program", [model, unvalidated])
def test_nan_in_the_data_of_a_program_that_masks_nothing(program):
    """Our own models leave missing numbers out; what a program of the user's means by them is not guessed."""
    data = X.clone()
    data[3, 1] = torch.nan
    with pytest.raises(NumericalError, match=r"site '(x|pixels)': the data of 1 observation\(s\) hold NaN.*index 13"):
        log_terms(program, guide, data, index=torch.arange(10, 10 + N), batch_size=2)


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("model", torch.nan, r"log_likelihood is nan for 5 .* first with index 10"),
        ("guide", torch.nan, r"log_prior is nan for 5 .* first with index 10"),
        ("guide", 1e38, r"log_(prior|guide) is -?(inf|nan) for \d .* first with index 1\d"),
    ],
)
def test_weights_that_diverged(part, value, message, source, ours):
    with torch.no_grad():
        next(getattr(ours, part).parameters()).fill_(value)
        if value == 1e38:
            ours.guide.encoder[-1].bias.fill_(torch.inf)
    with pytest.raises(NumericalError, match=message):
        log_terms(ours.model, ours.guide, X, source=source, index=torch.arange(10, 10 + N))


class Wrong(SingleLatentModel):
    """A model whose distributions lack an event dimension."""

    latent_dim, data_shape = 2, torch.Size([PIXELS])

    def __init__(self, prior_dims, likelihood_dims):
        super().__init__()
        self.dims = prior_dims, likelihood_dims
        self.weight = torch.nn.Parameter(torch.ones(PIXELS))

    def prior(self):
        return dist.Normal(torch.zeros(2), 1.0).to_event(self.dims[0])

    def likelihood(self, z):
        return dist.Normal(z.sum(-1, keepdim=True) * self.weight, 1.0).to_event(self.dims[1])


class StandardGuide(SingleLatentGuide):
    def variational_posterior(self, x):
        return dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1)


class PointGuide(SingleLatentGuide):
    def variational_posterior(self, x):
        return dist.Delta(torch.zeros(len(x), 2)).to_event(1)


@pytest.mark.parametrize("size", [2, PIXELS, N])
@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((0, 1), r"prior\(\) must have batch shape \(\).*\(2,\).*\.to_event\(1\)"),
        ((1, 0), r"likelihood\(z\) must have batch shape \(1, \d\).*\(1, \d, 4\).*\.to_event\(1\)"),
    ],
)
def test_exposed_distributions_without_to_event(dims, message, size):
    with pytest.raises(ProgramError, match=message):
        log_terms(Wrong(*dims), StandardGuide(), X[:size])


def test_an_exposed_point_mass():
    with pytest.raises(ProgramError, match="is a point mass"):
        log_terms(Wrong(1, 1), PointGuide(), X)


# Arguments


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:0], r"x holds no observation"),
        (X.reshape(N, 2, 2), r"shape \(N, 4\), got \(5, 2, 2\)"),
        (X[0], r"shape \(N, 4\), got \(4,\)"),
        (torch.tensor(1.0), r"x must be a tensor of shape \(N, \*event\)"),
        ((), r"x must be a tensor of shape \(N, \*event\)"),
        ([[0.0, 1.0, 0.0, 1.0]], r"x must be a tensor .* got \(list\)"),
        ((X, X[:2]), r"share their first dimension, N, got \[2, 5\]"),
    ],
)
def test_observations_of_a_wrong_shape(x, message, source, ours):
    with pytest.raises(ShapeError, match=message):
        log_terms(ours.model, ours.guide, x, source=source)


def test_a_guide_that_takes_any_shape_leaves_the_check_to_the_model():
    with pytest.raises(ShapeError, match=r"Wrong takes observations of shape \(N, 4\), got \(5, 1\)"):
        log_terms(Wrong(1, 1), StandardGuide(), X[:, :1])


def test_a_covariate_that_a_pair_of_ours_would_ignore(ours):
    with pytest.raises(ShapeError, match="takes one tensor of observations, got a tuple of 2"):
        log_terms(ours.model, ours.guide, (X, X))


@pytest.mark.parametrize("index", [torch.arange(N - 1), torch.zeros(N, 1).long(), torch.zeros(N), X[:, 0] > 0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_index_that_does_not_fit(estimator, index, ours):
    with pytest.raises(ShapeError, match=rf"one integer for each of the 5 observations, got shape .*{index.dtype}"):
        estimator(ours.model, ours.guide, X, index=index)


@pytest.mark.parametrize("name", ["num_particles", "batch_size", "chunk_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
@pytest.mark.parametrize("estimator", ESTIMATORS[:3])
def test_counts_below_one(estimator, name, value, ours):
    with pytest.raises(SettingsError, match=rf"{name} must be a whole number of at least 1, got {value}"):
        estimator(ours.model, ours.guide, X, **{name: value})


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_unknown_source(estimator, ours):
    with pytest.raises(SettingsError, match=r"source must be 'auto', 'distributions' or 'traces', got 'trace'"):
        estimator(ours.model, ours.guide, X, source="trace")


def test_distributions_that_a_pair_does_not_expose(ours):
    for pair in ((model, guide), (ours.model, guide), (model, ours.guide)):
        with pytest.raises(SettingsError, match=r"source='distributions' does not work here.*prior\(\)"):
            log_terms(*pair, X, source="distributions")


@pytest.mark.parametrize("rungs", [(), (1,), (2, 4), (1, 5, 8), (1, 4, 2), (1, 1), (0, 5)])
def test_rungs_that_do_not_divide_each_other(rungs, ours):
    with pytest.raises(SettingsError, match=r"rungs must start at 1 .* each dividing the next"):
        compare(ours.model, ours.guide, X, rungs)


# The closed form of the KL


def gamma_prior(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Cauchy(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", pixels(z), obs=x)


def two_layers(x):
    with pyro.plate("data", len(x)):
        w = pyro.sample("w", standard())
        z = pyro.sample("z", dist.Normal(w, 1.0).to_event(1))
        pyro.sample("x", pixels(z), obs=x)


def two_layer_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("w", standard())
        pyro.sample("z", standard())


def discrete_parent(x):
    with pyro.plate("data", len(x)):
        w = pyro.sample("w", dist.Bernoulli(torch.tensor(0.5)))
        z = pyro.sample("z", dist.Normal(3 * w.unsqueeze(-1).expand(*w.shape, 2), 1.0).to_event(1))
        pyro.sample("x", pixels(z), obs=x)


def discrete_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("w", dist.Bernoulli(torch.tensor(0.5)))
        pyro.sample("z", standard())


def masked_latent(x):
    with pyro.plate("data", len(x)), poutine.mask(mask=torch.arange(len(x)) % 2 == 0):
        z = pyro.sample("z", standard())
        pyro.sample("x", pixels(z), obs=x)


def masked_guide(x):
    with pyro.plate("data", len(x)), poutine.mask(mask=torch.arange(len(x)) % 2 == 0):
        pyro.sample("z", standard())


CLOSED_FORMS = {
    "no closed form": (gamma_prior, guide, r"site 'z': no closed-form KL from \w+ to \w+ is known"),
    "latent parent": (two_layers, two_layer_guide, r"a latent site depends on another latent"),
    "discrete parent": (discrete_parent, discrete_guide, r"latent site 'w' is one of 2 and has no rsample"),
    "mask": (masked_latent, masked_guide, r"latent site 'z' is masked"),
}


@pytest.mark.parametrize(("model", "guide", "message"), CLOSED_FORMS.values(), ids=CLOSED_FORMS)
def test_where_the_kl_has_no_closed_form(model, guide, message):
    for x in (X, X[:1]):
        with pytest.raises(NotDefinedError, match=rf'{message}.*kl="sampled"'):
            elbo_terms(model, guide, x, 3, kl="analytic")
        terms = elbo_terms(model, guide, x, 3, kl="auto")
        assert terms.kl == "sampled"
        with pytest.raises(NotDefinedError):
            _ = terms.kl_per_dimension


@pytest.mark.parametrize("seed", range(6))
def test_a_discrete_parent_whose_draws_coincide_is_not_mistaken_for_none(seed):
    assert elbo_terms(discrete_parent, discrete_guide, X[:1], 2, seed=seed).kl == "sampled"


def test_an_auxiliary_latent_has_no_prior(clean_globals):
    guide = AutoNormal(model)
    guide(X)
    with pytest.raises(NotDefinedError, match=r"guide site 'z_unconstrained' is auxiliary"):
        elbo_terms(model, guide, X, kl="analytic")


class FullCovarianceGuide(SingleLatentGuide):
    def variational_posterior(self, x):
        return dist.MultivariateNormal(torch.zeros(len(x), 2), torch.eye(2))


@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_kl_per_dimension_of_a_guide_that_does_not_factorize(source):
    terms = elbo_terms(Wrong(1, 1), FullCovarianceGuide(), X, 3, source=source)
    assert terms.kl == "analytic"
    with pytest.raises(NotDefinedError, match=r"variational posterior is MultivariateNormal.*Use kl_to_prior"):
        _ = terms.kl_per_dimension


def test_kl_per_dimension_of_several_sites():
    with pytest.raises(NotDefinedError, match=r"one latent site, this pair has \['w', 'z'\]"):
        _ = elbo_terms(two_layers, two_layer_guide, X, 3).kl_per_dimension


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize("kl", ["exact", "", None])
def test_an_unknown_kl(kl, source, ours):
    with pytest.raises(SettingsError, match="kl must be 'auto', 'analytic' or 'sampled', got"):
        elbo_terms(ours.model, ours.guide, X, kl=kl, source=source)
