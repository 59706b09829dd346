"""The ArviZ container: its groups, its names, what refuses it, and its netCDF file, by either ArviZ."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.estimators.arviz_import import import_arviz
from bayes_vae.posterior.arviz_export import netcdf_bytes

pytestmark = pytest.mark.libraries

OLD = hasattr(import_arviz(), "psislw")


def groups_of(container):
    return {name.strip("/") for name in (container.groups() if OLD else container.groups)} - {""}


@pytest.fixture(scope="module")
def made(linear_gaussian, rescaled_guide):
    """A container with everything handed in, and what was handed in."""
    model, x = linear_gaussian
    guide, index = rescaled_guide(model, 1.3), torch.tensor([10, 3, 4, 5, 6, 7, 8])
    about = {"index": index, "data_policy": "none"}
    given = {
        "terms": bv.elbo_terms(model, guide, x, 50, **about),
        "evidence": bv.estimate_log_evidence(model, guide, x, 200, **about),
        "annealed": bv.annealed_log_evidence(model, guide, x, num_temperatures=5, **about),
        "posterior": bv.exact_posterior_draws(model, x, num_draws=50),
    }
    labels = torch.arange(7) % 3
    container = bv.to_arviz(model, guide, x, num_draws=20, seed=4, index=index, labels=labels, **given)
    return SimpleNamespace(container=container, model=model, guide=guide, x=x, index=index, labels=labels, **given)


def test_groups_dims_and_coordinates(made):
    assert groups_of(made.container) == {
        "variational_posterior",
        "posterior",
        "prior",
        "sample_stats",
        "observed_data",
        "constant_data",
    }
    for group, sizes in {
        "variational_posterior": (1, 20, 7, 2),
        "prior": (1, 20, 7, 2),
        "posterior": (4, 50, 7, 2),
    }.items():
        z = made.container[group]["z"]
        assert z.dims == ("chain", "draw", "observation", "z_dim_0")
        assert z.shape == sizes
        assert z.coords["observation"].values.tolist() == made.index.tolist()


def test_values_are_those_of_the_estimators(made):
    """Draw by draw and observation by observation, with the sign and the axis of each."""
    drawn = bv.log_terms(made.model, made.guide, made.x, 20, seed=4, index=made.index, keep_latents=True)
    stats = made.container["sample_stats"]
    np.testing.assert_array_equal(made.container["variational_posterior"]["z"][0], drawn.latents["z"])
    np.testing.assert_array_equal(made.container["posterior"]["z"], made.posterior.latents["z"])
    for variable, term in {
        "log_prior": drawn.log_prior,
        "log_likelihood_of_draw": drawn.log_likelihood,
        "log_guide": drawn.log_guide,
        "log_importance_weights": drawn.log_prior + drawn.log_likelihood - drawn.log_guide,
    }.items():
        assert stats[variable].dims == ("chain", "draw", "observation")
        np.testing.assert_array_equal(stats[variable][0], term.detach())
    for variable, values in {
        "elbo": made.terms.expected_log_likelihood - made.terms.kl_to_prior,
        "elbo_error": made.terms.elbo_error,
        "expected_log_likelihood": made.terms.expected_log_likelihood,
        "kl_to_prior": made.terms.kl_to_prior,
        "log_evidence": made.evidence.log_evidence,
        "log_evidence_error": made.evidence.standard_error,
        "pareto_k": made.evidence.pareto_k,
        "effective_sample_size": made.evidence.effective_sample_size,
        "annealed_log_evidence": made.annealed.log_evidence,
    }.items():
        assert stats[variable].dims == ("observation",)
        np.testing.assert_array_equal(stats[variable], values.detach())
    np.testing.assert_array_equal(made.container["observed_data"]["x"], made.x)
    np.testing.assert_array_equal(made.container["constant_data"]["labels"], made.labels)
    np.testing.assert_array_equal(made.container["constant_data"]["index"], made.index)


def test_prior_draws_are_of_the_prior(made, within):
    """For each observation alone: over many of them the draws of q look like the prior's."""
    container = bv.to_arviz(made.model, made.guide, made.x, num_draws=400)
    prior = torch.as_tensor(container["prior"]["z"].values.copy())[0]
    within(prior.mean(0), 0.0, 1 / len(prior) ** 0.5)
    within(prior.square().mean(0), 1.0, (2 / len(prior)) ** 0.5)


def test_attributes_say_how_it_came_about(made):
    attributes = made.container.attrs
    assert {name: attributes[name] for name in ("units", "num_observations", "num_draws", "num_particles", "seed")} == {
        "units": "nats",
        "num_observations": 7,
        "num_draws": 20,
        "num_particles": 50,
        "seed": "4",
    }
    assert attributes["data_policy"] == "none"
    assert attributes["kl_weight"] == 1.0
    assert attributes["estimator"] == "importance"
    assert attributes["torch_version"] == torch.__version__.split("+")[0]
    evidence = made.container["sample_stats"]["log_evidence"].attrs
    assert (evidence["units"], evidence["num_particles"], evidence["seed"]) == ("nats", 200, 0)
    assert made.container["sample_stats"]["annealed_log_evidence"].attrs["estimator"] == "annealed from the guide"
    assert made.container["sample_stats"]["pareto_k"].attrs["units"] == "1"


@pytest.mark.parametrize("with_posterior", [True, False])
def test_leave_one_out_refuses_it(made, with_posterior):
    """The terms of q's draws are no pointwise log likelihood of one posterior: az.loo must find none."""
    arviz = import_arviz()
    posterior = made.posterior if with_posterior else None
    container = bv.to_arviz(made.model, made.guide, made.x, posterior=posterior, num_draws=30)
    for group in groups_of(container):
        assert "log_likelihood" not in container[group]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match="log likelihood not found"):
            arviz.loo(container)


def test_why_no_variable_is_called_log_likelihood(made):
    """ArviZ 0.x takes such a variable of sample_stats, and returns a number without an error."""
    if not OLD:
        pytest.skip("ArviZ 1.x looks into the group log_likelihood alone")
    arviz = import_arviz()
    container = made.container.copy()
    container.sample_stats = container.sample_stats.rename(log_likelihood_of_draw="log_likelihood")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(arviz.loo(container).elpd_loo)


def test_summary_and_plots_read_the_exact_draws_by_default(made):
    arviz = import_arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = arviz.summary(made.container)
        assert table.equals(arviz.summary(made.container, group="posterior"))
        assert not table.equals(arviz.summary(made.container, group="prior"))
        for plot in (arviz.plot_forest, arviz.plot_trace, arviz.plot_autocorr):
            plot(made.container, var_names=["z"])
    assert len(table) == 14
    assert "r_hat" in table.columns


def test_without_exact_draws_the_draws_of_q_are_named(small_vae):
    """Nothing takes them for the posterior: a plot refuses, and the summary of a named group is of q."""
    arviz, (model, guide, x) = import_arviz(), small_vae
    container = bv.to_arviz(model, guide, x, num_draws=40)
    of_q = container["variational_posterior"]["z"].values.mean((0, 1)).ravel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((KeyError, ValueError), match="posterior"):
            arviz.plot_trace(container)
        table = arviz.summary(container, group="variational_posterior", round_to=None if OLD else "none")
        np.testing.assert_allclose(table["mean"].astype(float), of_q, atol=1e-2)
        draws = container["variational_posterior"]
        arviz.plot_forest(draws if OLD else container, **({} if OLD else {"group": "variational_posterior"}))


def test_without_exact_draws_there_is_no_posterior(small_vae):
    model, guide, x = small_vae
    container = bv.to_arviz(model, guide, x, num_draws=40)
    assert groups_of(container) == {
        "variational_posterior",
        "prior",
        "sample_stats",
        "observed_data",
        "constant_data",
    }
    stats, weights = container["sample_stats"], container["sample_stats"]["log_importance_weights"].values[0]
    np.testing.assert_allclose(stats["log_evidence"], np.log(np.exp(weights).mean(0)), rtol=1e-12)
    assert "annealed_log_evidence" not in stats
    assert "labels" not in container["constant_data"]


def test_netcdf_round_trip(made, tmp_path):
    path = tmp_path / "evaluation.nc"
    path.write_bytes(netcdf_bytes(made.container))
    arviz = import_arviz()
    read = arviz.from_netcdf(str(path))
    try:
        assert groups_of(read) == groups_of(made.container)
        for group in groups_of(read):
            for name, values in made.container[group].data_vars.items():
                np.testing.assert_array_equal(read[group][name], values)
                assert read[group][name].dims == values.dims
        assert dict(read.attrs) == dict(made.container.attrs)
        assert read["sample_stats"]["elbo"].attrs["units"] == "nats"
    finally:
        read.close()


def test_labels_may_be_words(small_vae, tmp_path):
    model, guide, x = small_vae
    container = bv.to_arviz(model, guide, x, num_draws=5, labels=["cat", "dog", "cat", "äpfel", ""])
    (tmp_path / "words.nc").write_bytes(netcdf_bytes(container))
    read = import_arviz().from_netcdf(str(tmp_path / "words.nc"))
    assert read["constant_data"]["labels"].values.tolist() == ["cat", "dog", "cat", "äpfel", ""]
    read.close()


def test_several_tensors_and_sites():
    import pyro
    import pyro.distributions as dist

    def model(x, y):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Gamma(torch.full((len(x),), 2.0), 1.0))
            b = pyro.sample("b", dist.Normal(torch.zeros(len(x), 3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(a * y + b.sum(-1), 1.0), obs=x)

    def guide(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Gamma(torch.full((len(x),), 3.0), 2.0))
            pyro.sample("b", dist.Normal(torch.zeros(len(x), 3), 1.0).to_event(1))

    container = bv.to_arviz(model, guide, (torch.ones(4), torch.arange(4.0)), num_draws=6)
    assert container["variational_posterior"]["a"].shape == (1, 6, 4)
    assert container["prior"]["b"].dims == ("chain", "draw", "observation", "b_dim_0")
    assert container["observed_data"]["x_1"].values.tolist() == [0, 1, 2, 3]


def test_what_does_not_belong_together(made):
    few = made.x[:3]
    for name in ("terms", "evidence", "annealed", "posterior"):
        with pytest.raises(ShapeError, match=f"{name} is of 7 observations and x holds 3"):
            bv.to_arviz(made.model, made.guide, few, **{name: getattr(made, name)})
    with pytest.raises(SettingsError, match="figures of the data policies none, static are of different data sets"):
        bv.to_arviz(made.model, made.guide, made.x, terms=made.terms, data_policy="static")
    with pytest.raises(ShapeError, match=r"labels must hold one for each of the 7 observations, got \(3,\)"):
        bv.to_arviz(made.model, made.guide, made.x, num_draws=2, labels=[1, 2, 3])
