"""Terms of each latent site and each observed site: they sum to the whole, and each is what a closed form says."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv

N, K = 6, 4000
A, B, SCALE = 0.7, -1.3, 0.5  # q(z1|x) = N(A x, S1²), q(z2|z1) = N(B z1, S2²)
S1, S2 = 0.4, 0.9
W = 0.6  # p(z2) = N(0, 1), p(z1|z2) = N(W z2, 1), p(x|z1) = N(z1, SCALE²)


def normal(mean, scale, width):
    return dist.Normal(mean, torch.as_tensor(scale, dtype=torch.float64).expand(width)).to_event(1)


def two_layers(x):
    with pyro.plate("rows", len(x)):
        z2 = pyro.sample("z2", normal(x.new_zeros(1), 1.0, 1))
        z1 = pyro.sample("z1", normal(W * z2, 1.0, 1))
        pyro.sample("x", normal(z1, SCALE, 1), obs=x)


def bottom_up(x):
    with pyro.plate("rows", len(x)):
        z1 = pyro.sample("z1", normal(A * x, S1, 1))
        pyro.sample("z2", normal(B * z1, S2, 1))


def layers_by_hand(x):
    """E_q[log q − log p] of each layer, from the first two moments of z1 and z2 under q; nats."""
    x = x.squeeze(-1)
    mean1, var1 = A * x, S1**2
    mean2, var2 = B * mean1, B**2 * S1**2 + S2**2
    entropy1, entropy2 = (0.5 * math.log(2 * math.pi * math.e * scale**2) for scale in (S1, S2))
    residual = var1 + W**2 * var2 - 2 * W * B * var1 + (mean1 - W * mean2) ** 2  # E (z1 − W z2)²
    half_log = 0.5 * math.log(2 * math.pi)
    return {"z1": -entropy1 + half_log + 0.5 * residual, "z2": -entropy2 + half_log + 0.5 * (var2 + mean2**2)}


def two_modalities(pictures, words):
    with pyro.plate("rows", len(pictures)):
        content = pyro.sample("content", normal(pictures.new_zeros(2), 1.0, 2))
        style = pyro.sample("style", normal(pictures.new_zeros(1), 2.0, 1))
        pyro.sample("picture", normal(content + style, 0.5, 2), obs=pictures)
        pyro.sample("word", dist.Poisson(content.sum(-1).mul(0.3).exp()), obs=words)


def encoder(pictures, words):
    with pyro.plate("rows", len(pictures)):
        pyro.sample("content", normal(0.5 * pictures, 0.3, 2))
        pyro.sample("style", normal(0.1 * words.unsqueeze(-1), 0.8, 1))


def modalities_by_hand(pictures, words):
    """Both expected log likelihoods, and both KLs, in closed form."""
    mean_c, mean_s, var_c, var_s = 0.5 * pictures, 0.1 * words.unsqueeze(-1), 0.3**2, 0.8**2
    squares = (pictures - mean_c - mean_s).square() + var_c + var_s
    picture = (-0.5 * squares / 0.25 - 0.5 * math.log(2 * math.pi * 0.25)).sum(-1)
    log_rate = 0.3 * mean_c.sum(-1)
    rate = torch.exp(log_rate + 0.5 * 0.3**2 * 2 * var_c)
    word = words * log_rate - rate - torch.lgamma(words + 1)
    content = (0.5 * (var_c + mean_c.square() - 1) - math.log(0.3)).sum(-1)
    style = (0.5 * ((var_s + mean_s.square()) / 4 - 1) - math.log(0.8 / 2)).sum(-1)
    return {"picture": picture, "word": word}, {"content": content, "style": style}


@pytest.fixture
def x():
    return torch.linspace(-2, 2, N, dtype=torch.float64).unsqueeze(-1)


@pytest.fixture
def both(x):
    return torch.cat([x, x.flip(0) / 2], -1), torch.arange(N, dtype=torch.float64)


def test_each_layer_has_its_own_part_of_the_kl(x, within):
    terms = bv.elbo_terms(two_layers, bottom_up, x, K)
    assert (terms.kl, list(terms.kl_by_site)) == ("sampled", ["z1", "z2"])
    torch.testing.assert_close(sum(terms.kl_by_site.values()), terms.kl_to_prior)
    for name, expected in layers_by_hand(x).items():
        within(terms.kl_by_site[name], expected, terms.kl_by_site_error[name])
        average = terms.averages_by_site()[name]
        assert average.value == pytest.approx(float(terms.kl_by_site[name].mean()))
        assert average.name == f"kl_to_prior of {name}"
    assert terms.by_group == {}


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_each_modality_has_its_likelihood_and_each_latent_its_kl(both, within, kl):
    terms = bv.elbo_terms(two_modalities, encoder, both, K, kl=kl)
    likelihoods, kls = modalities_by_hand(*both)
    torch.testing.assert_close(sum(terms.by_group.values()), terms.expected_log_likelihood)
    torch.testing.assert_close(sum(terms.kl_by_site.values()), terms.kl_to_prior)
    for name, expected in likelihoods.items():
        within(terms.by_group[name], expected, terms.by_group_error[name])
    for name, expected in kls.items():
        if kl == "analytic":
            torch.testing.assert_close(terms.kl_by_site[name], expected)
            assert not terms.kl_by_site_error[name].any()
        else:
            within(terms.kl_by_site[name], expected, terms.kl_by_site_error[name])


def test_parts_do_not_depend_on_batches_and_loops(both):
    whole = bv.elbo_terms(two_modalities, encoder, both, 20, kl="sampled")
    cut = bv.elbo_terms(two_modalities, encoder, both, 20, kl="sampled", batch_size=2)
    torch.testing.assert_close(cut.kl_by_site, whole.kl_by_site)
    torch.testing.assert_close(cut.by_group, whole.by_group)


def test_tables_have_the_parts(both):
    terms = bv.elbo_terms(two_modalities, encoder, both, 5)
    frame = terms.to_pandas()
    parts = ["expected_log_likelihood of word", "kl_to_prior of style"]
    torch.testing.assert_close(torch.tensor(frame[parts[0]].to_numpy()), terms.by_group["word"])
    torch.testing.assert_close(torch.tensor(frame[parts[1]].to_numpy()), terms.kl_by_site["style"])
    assert all(part in repr(terms) and part in terms._repr_html_() for part in parts)
    assert parts[1] in bv.evaluate(two_modalities, encoder, both, 20, num_temperatures=0).to_pandas()
    assert terms.to_xarray()[parts[1]].attrs["units"] == "nats"


def test_one_latent_and_one_observed_site_have_no_parts(x):
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", normal(x.new_zeros(1), 1.0, 1))
            pyro.sample("x", normal(z, SCALE, 1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", normal(A * x, S1, 1))

    for kl in ("analytic", "sampled"):
        terms = bv.elbo_terms(model, guide, x, 5, kl=kl)
        assert (terms.kl_by_site, terms.by_group, terms.averages_by_site()) == ({}, {}, {})
        assert list(terms.table_rows()) == ["expected_log_likelihood", "kl_to_prior", "elbo"]
