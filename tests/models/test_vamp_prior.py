"""The prior that is made of its guide's q."""

import pytest
import torch

from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import ProgramError, ShapeError
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide, SingleLatentGuide
from bayes_vae.models import VAE, LinearGaussianVAE, VampPrior

NETWORKS = {"latent_dim": 2, "data_shape": (2, 3), "hidden_dims": (6,)}


class OwnGuide(SingleLatentGuide):
    """A q that is a given function of x."""

    def __init__(self, posterior, needs_index=False):
        super().__init__()
        self.posterior, self.needs_index = posterior, needs_index

    def variational_posterior(self, x):
        return self.posterior(x)


@pytest.fixture
def fresh(isolated_globals):
    """A prior of its own with no guide yet."""

    def make(**options):
        with isolated_globals(seed=0):
            return VampPrior(2, (2, 3), **options)

    return make


@pytest.mark.parametrize("covariance", ["diagonal", "full", "low-rank"])
def test_the_density_is_the_mean_of_q_at_the_pseudo_inputs(pair_with_prior, covariance):
    model, encoder = pair_with_prior("vamp")

    def posterior(x):
        q = encoder.variational_posterior(x)
        spread = q.variance.sqrt().diag_embed() + 0.3 * q.mean[:, :1, None] * torch.ones(2, 2).tril(-1)
        if covariance == "full":
            return torch.distributions.MultivariateNormal(q.mean, scale_tril=spread, validate_args=False)
        if covariance == "low-rank":
            return torch.distributions.LowRankMultivariateNormal(q.mean, spread[..., :1], q.variance)
        return q

    model.attach_guide(OwnGuide(posterior))
    z = torch.tensor([[0.3, -1.2], [2.0, 0.1], [0.0, 0.0]]).double()
    inputs = model.prior_family.pseudo_inputs
    assert inputs.shape == (4, 2, 3)
    total = 0
    for u in inputs:
        total = total + posterior(u.unsqueeze(0)).log_prob(z).exp() / 4
    torch.testing.assert_close(model.prior().log_prob(z), total.log())


def test_parameters_stay_their_owners(pair_with_prior):
    model, guide = pair_with_prior("vamp")
    of_model, of_guide = ({id(p) for p in owner.parameters()} for owner in (model, guide))
    assert not of_model & of_guide
    assert {name for name, _ in model.named_parameters() if "prior" in name} == {"prior_family.raw_inputs"}


def test_the_prior_stays_with_its_guide_when_another_is_evaluated(pair_with_prior):
    model, guide = pair_with_prior("vamp")
    _, other = pair_with_prior("standard-normal")
    x = model.sample(3, seed=0)
    z = torch.zeros(1, 2).double()
    before = model.prior().log_prob(z)
    model.reconstruct(x, other, seed=0)
    assert model.attached_guide is guide
    with torch.no_grad():
        other.encoder[-1].bias.add_(1)
    assert torch.equal(model.prior().log_prob(z), before)
    with torch.no_grad():
        guide.encoder[-1].bias.add_(1)
    assert not torch.allclose(model.prior().log_prob(z), before)


def test_a_prior_without_its_guide_says_what_to_do(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(**NETWORKS, prior="vamp")
    with pytest.raises(ProgramError, match=r"has no guide yet. Call model.attach_guide\(guide\) once model"):
        model.prior()


def test_other_priors_take_no_note_of_a_guide(pair_with_prior):
    for name in ("standard-normal", "learned-normal", "mixture", "flow"):
        model, guide = pair_with_prior(name)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        model.attach_guide(guide)
        model.start_prior_at(torch.ones(1, 2, 3))
        assert model.attached_guide is None
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def flow_posterior(x):
    base = diagonal_normal(torch.zeros(len(x), 2), torch.ones(len(x), 2))
    return torch.distributions.TransformedDistribution(base, [torch.distributions.AffineTransform(0.0, 2.0)])


REFUSED = {
    "index": (
        lambda: OwnGuide(lambda x: diagonal_normal(x[:, 0, :2], x[:, 1, :2]), needs_index=True),
        "knows q only for observations with an index",
    ),
    "no q": (lambda: torch.nn.Linear(2, 2), r"made of variational_posterior\(u\), which Linear lacks"),
    "flow": (
        lambda: OwnGuide(flow_posterior),
        "needs log q.* at draws of every other q, and that of OwnGuide is a T",
    ),
    "size": (
        lambda: OwnGuide(lambda x: diagonal_normal(x[:, 0], 1 + x[:, 1])),
        r"latent_dim 2, and q\(z given u\) of OwnGuide has event shape \(3,\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_guides_whose_q_cannot_be_a_component_are_refused(fresh, isolated_globals, case):
    make, message = REFUSED[case]
    prior = fresh()
    with isolated_globals(seed=0):
        guide = AmortizedNormalGuide(**NETWORKS)
        refused = make()
    with pytest.raises(ProgramError, match=message):
        prior.attach_guide(refused)
    assert prior.guide is None
    prior.attach_guide(guide)
    with pytest.raises(ProgramError, match=message):
        prior.attach_guide(refused)
    assert prior.guide is guide


def test_a_guide_that_asks_for_the_prior_is_refused(fresh):
    prior = fresh()
    with pytest.raises(ProgramError, match=r"OwnGuide looks at the model's prior to say what q\(z given u\) is"):
        prior.attach_guide(OwnGuide(lambda x: prior().expand((len(x),))))
    assert prior.guide is None


def test_the_exact_posterior_can_be_a_component(isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (2, 3))
        prior = VampPrior(2, (2, 3), num_components=3, values="real")
    prior.attach_guide(ExactLinearGaussianGuide(model))
    truth = model.exact_posterior(prior.pseudo_inputs).log_prob(torch.zeros(2)).exp().mean().log()
    torch.testing.assert_close(prior().log_prob(torch.zeros(2)), truth)


STARTS = {
    "pixels": torch.tensor([[0.0, 0.2, 0.5], [0.9, 1.0, 0.3]]),
    "positive": torch.tensor([[0.0, 0.2, 5.0], [30.0, 900.0, 1.0]]),
    "real": torch.tensor([[-3.0, 0.2, 0.5], [0.9, 40.0, 0.3]]),
}


@pytest.mark.parametrize("values", STARTS)
def test_pseudo_inputs_start_at_observations_and_keep_to_their_range(fresh, isolated_globals, values):
    prior, x = fresh(num_components=5, values=values), STARTS[values]
    rows = torch.stack([x, x.flip(0), x * 0.5])
    with isolated_globals(seed=1):
        prior.start_at(rows)
    inputs = prior.pseudo_inputs.detach()
    expected = rows[[0, 0, 1, 2, 2]]
    if values == "pixels":
        expected = expected.clamp(0.01, 0.99)
    torch.testing.assert_close(inputs, expected, rtol=0.0, atol=0.05)
    assert (torch.pdist(inputs.flatten(1)) > 0).all()
    with torch.no_grad():
        prior.raw_inputs.fill_(-50.0)
    assert values == "real" or (prior.pseudo_inputs >= 0).all()


def test_pseudo_inputs_may_start_at_the_mean_alone(fresh, isolated_globals):
    prior, mean = fresh(num_components=4), STARTS["pixels"].clamp(0.1, 0.9)
    with isolated_globals(seed=1):
        prior.start_at(mean.unsqueeze(0))
    torch.testing.assert_close(prior.pseudo_inputs.detach(), mean.expand(4, 2, 3), rtol=0.0, atol=0.02)


@pytest.mark.parametrize("shape", [(2, 3), (4, 6), (0, 2, 3)])
def test_a_start_of_another_shape_is_refused(fresh, shape):
    with pytest.raises(ShapeError, match=r"pseudo-inputs start at observations of shape \(N, 2, 3\), got"):
        fresh().start_at(torch.zeros(shape))
