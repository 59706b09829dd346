"""A likelihood of named groups of columns: densities, draws, terms by group, gaps, and what is refused."""

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import DataError, NotDefinedError, SettingsError, SupportError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.pairs import build_pair
from bayes_vae.parts.registry import build_part
from bayes_vae.settings import PairSettings

NAMES = ("height", "weight", "smoker", "visits", "job")
GROUPS = ("body=normal:height+weight", "smoker=bernoulli:smoker", "visits=poisson:3", "job=categorical:*")
OPTIONS = {"name": "columns", "groups": GROUPS, "noise": "shared", "scale": 0.5, "columns": NAMES}
LARGEST = (2.0, 2.0, 1.0, 9.0, 3.0)
SIZES = {"latent_dim": 2, "data_shape": (5,), "hidden_dims": (8,)}


@pytest.fixture
def x(isolated_globals):
    with isolated_globals(seed=1):
        parts = (
            torch.randn(12, 2),
            torch.randint(0, 2, (12, 1)),
            torch.randint(0, 9, (12, 1)),
            torch.randint(0, 4, (12, 1)),
        )
    return torch.cat([part.float() for part in parts], 1)


@pytest.fixture
def pair(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(**SIZES, likelihood={**OPTIONS, "largest": LARGEST})
        return model, AmortizedNormalGuide(**SIZES, mask_input=True)


def by_hand(model, z, x):
    """log p of each group from torch's own families."""
    raw = model.decoder(z).reshape(*z.shape[:-1], 4, 5)
    scale = torch.nn.functional.softplus(model.likelihood_family.families["of_body"].raw_scale) + 0.01
    return {
        "body": torch.distributions.Normal(raw[..., 0, :2], scale).log_prob(x[:, :2]).sum(-1),
        "smoker": torch.distributions.Bernoulli(logits=raw[..., 0, 2]).log_prob(x[:, 2]),
        "visits": torch.distributions.Poisson(raw[..., 0, 3].exp()).log_prob(x[:, 3]),
        "job": torch.distributions.Categorical(logits=raw[..., 4].movedim(-1, -1)).log_prob(x[:, 4].long()),
    }


def test_the_density_is_the_sum_of_the_groups(pair, x):
    model, _ = pair
    z = torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(0))
    likelihood = model.likelihood(z)
    assert (likelihood.batch_shape, likelihood.event_shape) == ((3, 12), (5,))
    torch.testing.assert_close(likelihood.log_prob(x), sum(by_hand(model, z, x).values()))
    found = likelihood.by_group(likelihood.log_prob_by_number(x))
    for name, expected in by_hand(model, z, x).items():
        torch.testing.assert_close(found[name], expected)


def test_draws_lie_in_each_groups_support_and_have_its_mean(pair, isolated_globals, within):
    model, _ = pair
    likelihood = model.likelihood(torch.zeros(1, 2))
    with isolated_globals(seed=0), torch.no_grad():
        drawn = likelihood.sample((20_000,))
    assert likelihood.support.check(drawn).all()
    within(drawn.mean(0), likelihood.mean, drawn.std(0) / 20_000**0.5)
    within(drawn.var(0), likelihood.variance, 3 * likelihood.variance / 20_000**0.5)


def test_terms_by_group_sum_to_the_expected_log_likelihood(pair, x):
    model, guide = pair
    gaps = torch.where(torch.rand(12, 5, generator=torch.Generator().manual_seed(2)) < 0.3, torch.nan, x)
    gaps[:, 0] = x[:, 0]
    for rows in (x, gaps):
        terms = bv.elbo_terms(model, guide, rows, 20)
        torch.testing.assert_close(sum(terms.by_group.values()), terms.expected_log_likelihood)
        draws = bv.log_terms(model, guide, rows, 20, keep_latents=True).latents["z"]
        smoker = by_hand(model, draws, rows.nan_to_num())["smoker"].masked_fill(rows[:, 2].isnan(), 0.0)
        torch.testing.assert_close(terms.by_group["smoker"], smoker.double().mean(0).detach(), rtol=1e-5, atol=1e-5)
        assert terms.averages_by_group()["visits"].value == pytest.approx(float(terms.by_group["visits"].mean()))
        traced = bv.elbo_terms(model, guide, rows, 20, source="traces")
        torch.testing.assert_close(traced.elbo, terms.elbo, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(traced.by_group, terms.by_group, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(traced.by_group_error, terms.by_group_error, rtol=1e-4, atol=1e-4)


def test_other_likelihoods_have_no_groups(isolated_globals):
    with isolated_globals(seed=0):
        model, guide = VAE(**SIZES), AmortizedNormalGuide(**SIZES)
    terms = bv.elbo_terms(model, guide, torch.ones(3, 5), 2)
    assert (terms.by_group, terms.averages_by_group()) == ({}, {})


def test_a_table_of_mixed_columns_trains_from_settings_and_comes_back(tmp_path, x, clean_globals):
    import pandas as pd

    frame = pd.DataFrame(x.numpy().repeat(5, 0), columns=list(NAMES))
    frame["height"] = 170 + 9 * frame["height"]
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2).dropna(how="all")
    data = bv.load_data(frame, kind="real", standardize=["height", "weight"])
    assert data.standardization.scale[2:].tolist() == [1, 1, 1]
    assert data.standardization.mean[2:].tolist() == [0, 0, 0]
    settings = PairSettings(likelihood="columns", groups=GROUPS, noise="shared", noise_scale=0.5, hidden_dims=(8,))
    model, guide = build_pair(settings, data)
    run = bv.fit(model, guide, data, epochs=2, progress="none")
    bv.save(run, tmp_path / "run")
    loaded = bv.load(tmp_path / "run")
    before, after = (bv.elbo_terms(*one, data.test, 5) for one in ((model, guide), loaded))
    torch.testing.assert_close(after.by_group, before.by_group)


def test_bits_are_not_defined_for_a_mixture_of_densities_and_probabilities(pair):
    with pytest.raises(NotDefinedError, match="'columns' is a density"):
        bv.bits_per_dimension(-3.0, pair[0])


@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_a_value_outside_its_groups_support_is_refused(pair, x, source):
    model, guide = pair
    x[3, 3] = 1.5
    with pytest.raises(SupportError, match="each group of columns takes values of its own support.*visits: "):
        bv.log_terms(model, guide, x, source=source)


REFUSED = {
    "no group": ((), "needs groups, each NAME=LIKELIHOOD:COLUMNS"),
    "not written so": (("body:normal:0",), "is written NAME=LIKELIHOOD:COLUMNS, .* got 'body:normal:0'"),
    "in itself": (("a=columns:*",), "is written NAME=LIKELIHOOD:COLUMNS"),
    "unknown likelihood": (("a=gauss:*",), "unknown likelihood 'gauss'"),
    "unknown column": (("a=normal:age", "b=normal:*"), "there is no column 'age': the columns are height, weight"),
    "beyond the last": (("a=normal:3-7", "b=normal:*"), "there is no column '3-7'"),
    "in two groups": (("a=normal:height", "b=normal:0+1", "c=normal:*"), "the column 'height' is in 2"),
    "in none": (("a=normal:0-3",), "the column 'job' is in 0"),
    "no rest": (("a=normal:0-4", "b=normal:*"), "the group 'b' has no column"),
    "no name": (("=normal:*",), "is written NAME=LIKELIHOOD:COLUMNS"),
    "one name": (("a=normal:0", "a=normal:*"), "two groups of columns have one name"),
    "no largest": (("a=categorical:*",), "the group 'a' is categorical, and how many values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_groups_that_cannot_be_are_refused(name):
    groups, message = REFUSED[name]
    with pytest.raises(SettingsError, match=message):
        build_part("likelihood", {"name": "columns", "groups": groups, "columns": NAMES}, data_shape=(5,))


def test_a_group_may_be_called_as_a_method_of_a_dictionary():
    family = build_part(
        "likelihood", {"name": "columns", "groups": ("items=normal:0", "values=poisson:*")}, data_shape=(2,)
    )
    assert list(family(torch.zeros(3, 1, 2)).families) == ["items", "values"]


def test_columns_to_standardize_go_by_name():
    rows = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(DataError, match="no column 'age' to standardize: its columns have no names"):
        bv.load_data(rows, standardize=["age"])
