"""A likelihood that sees the numbers it is of is no density of x: found by what moves at a fixed z, and refused."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import LikelihoodSeesDataError, UncheckedLikelihoodWarning
from bayes_vae.terms.dependence import MOST_NUMBERS, Dependence, likelihood_dependence
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.probe import read_traced_pair
from bayes_vae.terms.program import undisturbed
from bayes_vae.terms.rows import TensorRows

N, P, D = 9, 8, 2
ORDER = torch.tensor([3, 0, 7, 1, 5, 2, 6, 4])


def weights(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5


ENCODER, DECODER, MIXING = weights(P, D), weights(D, P, seed=1), weights(P, P, seed=2)
BEFORE = MIXING.triu(1)
"""Number i of x @ BEFORE sees the numbers before i."""

REAL = weights(N, P, seed=3)
COINS, COUNTS, LEVELS = (REAL > 0).float(), (REAL * 9).abs().round(), (REAL * 2).round().clamp(-2, 2) + 2
FAMILIES = {
    "normal": (REAL, lambda h: dist.Normal(h, 1.0)),
    "bernoulli": (COINS, lambda h: dist.Bernoulli(logits=h)),
    "poisson": (COUNTS, lambda h: dist.Poisson(h.exp())),
    "categorical": (LEVELS, lambda h: dist.Categorical(logits=h.unsqueeze(-1) * torch.arange(5.0))),
}


def guide(x, *_):
    with pyro.plate("n", len(x)):
        pyro.sample("z", dist.Normal(x @ ENCODER, 0.5).to_event(1))


def model_of(parameters, family):
    def model(x, *covariates):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", family(parameters(z @ DECODER, x, *covariates)).to_event(1), obs=x)

    return model


CIRCULAR = {
    "a skip connection": lambda h, x: h + x @ MIXING,
    "itself": lambda h, x: h + x,
    "itself and no other": lambda h, x: h + 4 * (x - 0.5),
    "two neighbours that see each other": lambda h, x: h + x.reshape(-1, P // 2, 2).flip(-1).reshape(-1, P),
    "a ring": lambda h, x: h + x.roll(1, -1),
    "a total": lambda h, x: h + x.sum(-1, keepdim=True) / 9,
}
DENSITIES = {
    "z alone": lambda h, x: h,
    "the numbers before": lambda h, x: h + x @ BEFORE,
    "the numbers before, from the end": lambda h, x: h + x @ BEFORE.T,
    "the numbers before in some order": lambda h, x: h + (x[..., ORDER] @ BEFORE)[..., ORDER.argsort()],
    "the number before": lambda h, x: h + torch.cat([torch.zeros(len(x), 1), x[:, :-1]], 1),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", CIRCULAR)
def test_what_sees_its_own_numbers_is_refused(kind, family):
    x, density = FAMILIES[family]
    with pytest.raises(LikelihoodSeesDataError, match=r"the likelihood sees x: at a fixed z .*\(site 'x'\).*covariate"):
        bv.elbo_terms(model_of(CIRCULAR[kind], density), guide, x, 2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", DENSITIES)
def test_densities_of_x_in_any_order_pass(kind, family):
    x, density = FAMILIES[family]
    bv.elbo_terms(model_of(DENSITIES[kind], density), guide, x, 2)


def dependence(model, x, its_guide=guide):
    rows = TensorRows(x, torch.arange(len(x[0])))
    with undisturbed(model, its_guide):
        return likelihood_dependence(read_traced_pair(model, its_guide, rows), x, rows.index)


def test_the_coverage_is_counted():
    found = dependence(model_of(CIRCULAR["itself"], FAMILIES["normal"][1]), (REAL,))
    assert (found.seen, found.circular, found.looked_at, found.numbers) == (True, P, P, P)
    found = dependence(model_of(DENSITIES["the numbers before"], FAMILIES["normal"][1]), (REAL,))
    assert (found.seen, found.circular, found.looked_at) == (True, 0, P)
    assert dependence(model_of(DENSITIES["z alone"], FAMILIES["normal"][1]), (REAL,)).looked_at == 0


def test_of_large_observations_some_numbers_are_looked_at():
    wide = REAL.repeat(1, 50)

    def model(x):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True) + x, 1.0).to_event(1), obs=x)

    def its_guide(x):
        guide(x[:, :P])

    found = dependence(model, (wide,), its_guide)
    assert (found.circular, found.looked_at, found.numbers) == (MOST_NUMBERS, MOST_NUMBERS, 50 * P)


def test_covariates_may_be_seen():
    total = REAL.sum(-1)
    model = model_of(lambda h, x, t: h + t.unsqueeze(-1), FAMILIES["normal"][1])
    bv.elbo_terms(model, guide, (REAL, total), 2)
    seen = REAL > -0.3
    masked = model_of(lambda h, x, m: h + 0 * x, lambda h: dist.Normal(h, 1.0))
    bv.elbo_terms(masked, guide, (REAL, seen), 2)


def masked_model(mask_of):
    def model(x, *_):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ DECODER, 1.0).mask(mask_of(x)).to_event(1), obs=x)

    return model


def test_a_mask_computed_from_values_is_refused_and_one_of_missing_values_is_not():
    with pytest.raises(LikelihoodSeesDataError):
        bv.elbo_terms(masked_model(lambda x: x > 0), guide, REAL, 2)
    found = dependence(masked_model(lambda x: ~x.isnan()), (REAL,))
    assert not found.circular


def two_modalities(first_sees_second):
    def model(x, w):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            extra = w @ MIXING if first_sees_second else 0
            pyro.sample("x", dist.Normal(z @ DECODER + extra, 1.0).to_event(1), obs=x)
            pyro.sample("w", dist.Normal(z @ DECODER + x @ MIXING, 1.0).to_event(1), obs=w)

    return model


def test_one_modality_may_see_another_but_not_each_the_other():
    bv.elbo_terms(two_modalities(first_sees_second=False), guide, (REAL, -REAL), 2)
    with pytest.raises(LikelihoodSeesDataError, match="site 'x', 'w'"):
        bv.elbo_terms(two_modalities(first_sees_second=True), guide, (REAL, -REAL), 2)


def steps(prior_sees):
    """A site for each number; the prior of z_t may see the numbers before t, or all of them."""

    def model(x):
        with pyro.plate("n", len(x)):
            for t in range(3):
                loc = x[:, :t].sum(-1) if prior_sees == "before" else x.sum(-1)
                z = pyro.sample(f"z{t}", dist.Normal(loc, 1.0))
                pyro.sample(f"x{t}", dist.Normal(z + x[:, :t].sum(-1), 1.0), obs=x[:, t])

    return model


def guide_of_steps(x):
    with pyro.plate("n", len(x)):
        for t in range(3):
            pyro.sample(f"z{t}", dist.Normal(x[:, t], 0.5))


def test_a_prior_may_see_the_past_and_not_what_it_explains():
    bv.elbo_terms(steps("before"), guide_of_steps, REAL[:, :3], 2)
    with pytest.raises(LikelihoodSeesDataError, match="'z0'"):
        bv.elbo_terms(steps("all"), guide_of_steps, REAL[:, :3], 2)


class Skipping(nn.Module):
    """A VAE whose decoder reads what its encoder left behind."""

    def __init__(self, skip):
        super().__init__()
        self.down, self.up, self.skip = nn.Linear(P, 2 * D), nn.Linear(D, P), skip
        self.left = torch.zeros(1, P)

    def encode(self, x):
        self.left = x
        return self.down(x)

    def decode(self, z):
        rows = self.left.repeat(-(-len(z) // len(self.left)), 1)[: len(z)]
        return self.up(z) + (8 * (2 * rows - 1) if self.skip else 0)


@pytest.mark.parametrize("skip", [True, False])
def test_a_skip_connection_between_networks(skip, isolated_globals):
    with isolated_globals(seed=0):
        vae = Skipping(skip)
    pair = bv.pair_from_networks(
        vae.encode,
        vae.decode,
        latent_dim=D,
        data_shape=(P,),
        encoder_output="loc-and-log-scale",
        split=True,
        decoder_output="logits",
    )
    if not skip:
        assert bv.elbo_terms(*pair, COINS, 2).elbo.mean() < -1
        return
    for estimator in (bv.elbo_terms, bv.estimate_log_evidence, bv.annealed_log_evidence, bv.compare):
        with pytest.raises(LikelihoodSeesDataError, match="skip connection"):
            estimator(*pair, COINS)


def test_handlers_and_plates_over_numbers_are_looked_through():
    def model(x):
        with pyro.plate("n", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            with pyro.plate("numbers", P, dim=-1):
                pyro.sample("x", dist.Normal((z @ DECODER).squeeze(-2) + shift(x), 1.0), obs=x)

    def its_guide(x):
        with pyro.plate("n", len(x), dim=-2):
            pyro.sample("z", dist.Normal((x @ ENCODER).unsqueeze(-2), 0.5).to_event(1))

    def shift(x):
        return x @ BEFORE

    with open_pair(poutine.block(model, hide=[]), its_guide, REAL):
        pass

    def shift(x):  # noqa: F811
        return x @ MIXING

    with pytest.raises(LikelihoodSeesDataError), open_pair(model, its_guide, REAL):
        pass


def test_the_diagnosis_names_it(isolated_globals):
    with isolated_globals(seed=0):
        data = bv.load_data(torch.bernoulli(torch.full((200, P), 0.5)), kind="binary", policy="none")
        vae = Skipping(skip=True)
        said = {"encoder_output": "loc-and-log-scale", "split": True, "decoder_output": "logits"}
        pair = bv.pair_from_networks(vae.encode, vae.decode, latent_dim=D, data_shape=(P,), **said)
        found = bv.diagnose(*pair, data).findings
    assert [finding.name for finding in found] == ["likelihood-sees-x"]
    assert "8 of 8 numbers" in found[0].summary


def refuses_other_x(shift):
    """A program that knows its x, and takes no other."""
    known = {tuple(row.tolist()) for row in REAL}

    def model(x):
        if any(tuple(row.tolist()) not in known for row in x):
            raise LookupError("this row is not in my table")
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ DECODER + shift * x, 1.0).to_event(1), obs=x)

    return model


def test_a_check_that_could_not_be_made_is_told():
    found = dependence(refuses_other_x(1.0), (REAL,))
    assert found.unmade.startswith("ProgramError: the model raised LookupError")
    assert found.unmade.endswith("this row is not in my table")
    said = "sees x at a fixed z was not checked: .* raises .*LookupError.*: this row is not in my table"
    with pytest.warns(UncheckedLikelihoodWarning, match=said):
        bv.elbo_terms(refuses_other_x(1.0), guide, REAL, 2)


def test_the_diagnosis_lists_the_check_that_could_not_be_made(isolated_globals):
    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.program = refuses_other_x(1.0)

        def model(self, x):
            return self.program(x)

        def guide(self, x):
            return guide(x * self.weight)

    pair = Pair()
    data = bv.load_data(train=REAL.repeat(20, 1), validation=REAL, test=REAL.repeat(20, 1), kind="real")
    found = bv.diagnose(pair.model, pair.guide, data, seconds=5)
    reasons = {each.name: each.reason for each in found.not_checked}
    assert "this row is not in my table" in reasons["likelihood-sees-x"]


def test_a_mask_of_booleans_is_a_covariate_and_leaves_the_check_made():
    seen = torch.rand(N, P, generator=torch.Generator().manual_seed(0)) < 0.7

    def model(x, seen):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ DECODER + x, 1.0).mask(seen).to_event(1), obs=x)

    found = dependence(model, (REAL, seen), lambda x, seen: guide(x))
    assert (found.unmade, found.seen, found.circular > 0) == ("", True, True)


def test_covariates_that_a_program_refuses_leave_no_check_unmade():
    """Lengths in descending order, as packed sequences need them, are not observed."""
    lengths = torch.tensor([8, 5, 3])

    def model(x, lengths):
        if (lengths.diff() > 0).any():
            raise ValueError("lengths must fall")
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ DECODER, 1.0).to_event(1), obs=x)

    def its_guide(x, lengths):
        return guide(x)

    assert dependence(model, (REAL[:3], lengths), its_guide) == Dependence()
