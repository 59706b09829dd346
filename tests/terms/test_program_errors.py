"""What is raised inside a user's program comes back as one sentence: the program, the site, the observation."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import NumericalError, ProgramError

N, P, D = 12, 6, 2


def coins(number=N):
    return torch.bernoulli(torch.full((number, P), 0.5), generator=torch.Generator().manual_seed(0))


class VAE(nn.Module):
    """The usual pair, whose numbers can be spoiled."""

    def __init__(self, outputs=P):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(P, 2 * D), nn.Linear(D, outputs)

    def model(self, x):
        pyro.module("vae", self)
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("vae", self)
        with pyro.plate("n", len(x)):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.fixture
def vae(isolated_globals):
    with isolated_globals(seed=0):
        return VAE()


def test_weights_that_are_nan(vae):
    with torch.no_grad():
        vae.encoder.weight[0, 0] = torch.nan
    with pytest.raises(NumericalError, match=r"^the guide's site 'z': the loc of its Normal is nan for 12 observation"):
        bv.elbo_terms(vae.model, vae.guide, coins(), 2)


def test_one_row_that_gives_nan_is_named(vae):
    def guide(x):
        with pyro.plate("n", len(x)):
            pyro.sample("z", dist.Normal((x[:, :D] - 7).where(x[:, :D] != 2, torch.nan), 1.0).to_event(1))

    x = torch.cat([coins(), torch.full((1, P), 2.0), coins(3)])
    message = r"the loc of its Normal is nan for 1 observation\(s\), the first with index 12, and must be"
    with pytest.raises(NumericalError, match=message):
        bv.elbo_terms(vae.model, guide, x, 2)
    with pytest.raises(NumericalError, match="the first with index 112"):
        bv.elbo_terms(vae.model, guide, x, 2, index=torch.arange(100, 100 + len(x)))


def test_a_scale_of_zero(vae):
    with torch.no_grad():
        vae.encoder.bias[D:] = -1000.0
    with pytest.raises(NumericalError, match=r"site 'z': the scale of its Normal is 0 for 12 .* must be GreaterThan"):
        bv.elbo_terms(vae.model, vae.guide, coins(), 2)


def test_a_decoder_that_is_nan_names_the_model(vae):
    with torch.no_grad():
        vae.decoder.bias[3] = torch.nan
    with pytest.raises(NumericalError, match=r"the model's site 'x': the logits of its Bernoulli is nan for 12 observ"):
        bv.elbo_terms(vae.model, vae.guide, coins(), 2)


def test_a_decoder_of_another_size(isolated_globals):
    with isolated_globals(seed=0):
        vae = VAE(outputs=5)
    message = r"^site 'x': its distribution has shape \(N, 5\).*obs= or the guide's draw, \(N, 6\): expected the same"
    with pytest.raises(ProgramError, match=message):
        bv.elbo_terms(vae.model, vae.guide, coins(), 2)


def test_an_input_of_another_size_or_dtype(vae):
    message = r"the guide raised RuntimeError before its first site, called with \(N, 4\) float32: mat1 and mat2 shapes"
    with pytest.raises(ProgramError, match=message):
        bv.elbo_terms(vae.model, vae.guide, coins()[:, :4], 2)
    with pytest.raises(ProgramError, match=r"the guide raised RuntimeError before .*called with \(N, 6\) float64"):
        bv.elbo_terms(vae.model, vae.guide, coins().double(), 2)


def test_an_error_of_the_persons_own_keeps_its_words(vae):
    def model(x):
        with pyro.plate("n", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            raise KeyError("no such entry")

    with pytest.raises(ProgramError, match=r"the model raised KeyError after its site 'z'.*'no such entry'") as raised:
        bv.elbo_terms(model, vae.guide, coins(), 2)
    assert isinstance(raised.value.__cause__, KeyError)
    assert "\n" not in str(raised.value)


# Other arguments


class Conditional(VAE):
    def model(self, x, y):
        super().model(x + 0 * y.unsqueeze(1))

    def guide(self, x, y):
        super().guide(x)


def test_a_program_of_two_arguments_that_is_given_one(isolated_globals):
    with isolated_globals(seed=0):
        pair = Conditional()
    data = bv.load_data("digits", policy="static")
    message = r"the guide takes \(x, y\) and was called with 1 of them: pass x as a tuple of 2 .*needs_labels = True"
    with pytest.raises(ProgramError, match=message):
        bv.elbo_terms(pair.model, pair.guide, coins(), 2)
    for take in (lambda *each: bv.fit(*each, epochs=1, progress="none"), bv.diagnose):
        with pytest.raises(ProgramError, match="called with 2 tensors, but the data give 1.*needs_labels = True"):
            take(pair.model, pair.guide, data)
    assert bv.elbo_terms(pair.model, pair.guide, (coins(), torch.ones(N)), 2).elbo.isfinite().all()


class Labelled(nn.Module):
    """A conditional pair that declares what it is called with."""

    needs_labels = True

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, D), nn.Linear(D + 10, 64)

    def model(self, x, y):
        pyro.module("pair", self)
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            label = nn.functional.one_hot(y, 10).float().expand(*z.shape[:-1], 10)
            logits = self.decoder(torch.cat([z, label], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.flatten(1))

    def guide(self, x, y):
        pyro.module("pair", self)
        with pyro.plate("n", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x.flatten(1)), 1.0).to_event(1))


def test_a_program_that_declares_needs_labels_gets_them(isolated_globals):
    with isolated_globals(seed=0):
        pair = Labelled()
    data = bv.load_data("digits", policy="static")
    bv.fit(pair.model, pair.guide, data, epochs=1, progress="none")
    rows = data.test[:9]
    found = bv.elbo_terms(pair.model, pair.guide, rows, 3).elbo
    given = (rows.observations(), rows.labels.long())
    torch.testing.assert_close(found, bv.elbo_terms(pair.model, pair.guide, given, 3, index=rows.index).elbo)


def test_training_that_diverges_names_the_rate(isolated_globals):
    with isolated_globals(seed=0):
        data = bv.load_data(torch.bernoulli(torch.full((100, P), 0.5)), policy="none", kind="binary")
        vae = VAE()
    with pytest.raises(NumericalError, match=r"training diverged in epoch \d.*learning rate \(it is 1000"):
        bv.fit(vae.model, vae.guide, data, epochs=20, learning_rate=1000.0, progress="none")


# Masks


FAMILIES = {
    "normal": (lambda h: dist.Normal(h, 1.0), lambda x: 3 * x - 1),
    "bernoulli": (lambda h: dist.Bernoulli(logits=h), lambda x: x),
    "gamma": (lambda h: dist.Gamma(h.exp(), 1.0), lambda x: x + 0.5),
    "categorical": (lambda h: dist.Categorical(logits=h.unsqueeze(-1) * torch.arange(3.0)), lambda x: x),
}


def masked_pair(vae, family, how):
    def model(x, seen):
        with pyro.plate("n", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            density = family(vae.decoder(z))
            if how == "mask":
                pyro.sample("x", density.mask(seen).to_event(1), obs=x)
            elif how == "rows":
                with poutine.mask(mask=seen.all(1)):
                    pyro.sample("x", density.to_event(1), obs=x)
            else:
                with poutine.mask(mask=seen.all(1)):
                    pyro.sample("x", density.to_event(1).mask(seen.any(1)), obs=x)

    def guide(x, seen):
        with pyro.plate("n", len(x)):
            pyro.sample("z", dist.Normal(vae.encoder(torch.nan_to_num(x) * seen)[..., :D], 0.5).to_event(1))

    return model, guide


@pytest.mark.parametrize("how", ["mask", "rows", "both"])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_masked_may_be_nan(vae, name, how, isolated_globals):
    """The loss and its gradient are those of other values in the masked places, with validation on."""
    family, values = FAMILIES[name]
    seen = torch.rand(N, P, generator=torch.Generator().manual_seed(1)) > 0.2
    if how != "mask":
        seen = seen[:, :1].expand(N, P).contiguous()
    whole = values(coins())
    assert pyro.settings.get()["validate_distributions_pyro"]
    found = []
    for x in (whole, torch.where(seen, whole, torch.nan)):
        vae.zero_grad()
        with isolated_globals(seed=0):
            loss = bv.Elbo()(*masked_pair(vae, family, how))(x, seen)
            loss.backward()
        found.append((loss.detach(), vae.decoder.weight.grad.clone()))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_likelihood_is_that_of_what_was_seen(vae, name):
    family, values = FAMILIES[name]
    seen = torch.rand(N, P, generator=torch.Generator().manual_seed(1)) > 0.3
    holes = torch.where(seen, values(coins()), torch.nan)
    terms = bv.log_terms(*masked_pair(vae, family, "mask"), (holes, seen), 3, keep_latents=True)
    with torch.no_grad():
        density = family(vae.decoder(terms.latents["z"])).log_prob(torch.where(seen, holes, values(coins())))
    truth = torch.where(seen, density, 0.0).sum(-1)
    torch.testing.assert_close(terms.log_likelihood, truth.double(), rtol=1e-5, atol=1e-5)
