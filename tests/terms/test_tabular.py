"""Results as tables: what stands in them, under which name, dim and unit."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import ShapeError
from bayes_vae.terms.averages import average
from bayes_vae.terms.tabular import Tabular
from bayes_vae.vocabulary.readings import Reading

pytestmark = pytest.mark.libraries

SIX = ("elbo", "expected_log_likelihood", "kl_to_prior")


@pytest.fixture(scope="module")
def results(small_vae):
    """Each kind of result, of the same five observations."""
    model, guide, x = small_vae
    return {
        "log terms": bv.log_terms(model, guide, x, 6),
        "elbo": bv.elbo_terms(model, guide, x, 6, data_policy="static"),
        "estimate": bv.estimate_log_evidence(model, guide, x, 40),
        "annealed": bv.annealed_log_evidence(model, guide, x, num_temperatures=4, num_chains=3),
        "comparison": bv.compare(model, guide, x, (1, 2, 40), num_temperatures=0),
        "gap": bv.inference_gap(model, guide, x, 20, max_steps=50, num_temperatures=4),
        "aggregate": bv.aggregate_posterior_terms(model, guide, x, 6),
        "evaluation": bv.evaluate(model, guide, x, 40, num_temperatures=4),
        "quadrature": bv.quadrature_log_evidence(model, guide, x),
        "bidirectional": bv.bidirectional_bounds(model, guide, num_observations=5, num_temperatures=4),
    }


def columns_of(result):
    return {name: values.detach().numpy() for name, (_, values) in result.columns().items()}


NAMES = ["log terms", "elbo", "estimate", "annealed", "comparison", "gap", "aggregate"]
NAMES += ["evaluation", "quadrature", "bidirectional"]


@pytest.mark.parametrize("name", NAMES)
def test_every_column_is_the_attribute_in_its_dims(results, name):
    table, columns = results[name].to_xarray(), columns_of(results[name])
    assert set(table.data_vars) == set(columns)
    for column, values in columns.items():
        np.testing.assert_array_equal(table[column], values)
        assert table[column].sizes["observation"] == 5
        assert table[column].attrs["units"] in ("nats", "1")
    assert table.attrs["kl_weight"] == 1.0
    frame = results[name].to_pandas()
    if name == "log terms":
        assert frame.index.names == ["particle", "observation"]
        assert frame.loc[(4, 2), "log_guide"] == results[name].log_guide[4, 2]
        return
    assert frame.index.name == "observation"
    assert len(frame) == 5
    for column, values in columns.items():
        if values.ndim == 1:
            np.testing.assert_array_equal(frame[column], values)


def test_dims_by_kind(results):
    assert results["log terms"].to_xarray()["log_prior"].dims == ("particle", "observation")
    assert results["annealed"].to_xarray()["log_weights"].dims == ("chain", "observation")
    assert results["elbo"].to_xarray()["kl_per_dimension"].dims == ("observation", "dimension")
    assert "log_weights" not in results["annealed"].to_pandas()
    np.testing.assert_array_equal(
        results["elbo"].to_pandas()["kl_per_dimension_0"], results["elbo"].kl_to_prior.detach()
    )


def test_units(results):
    table = results["estimate"].to_xarray()
    assert table["log_evidence"].attrs["units"] == "nats"
    assert {table[name].attrs["units"] for name in ("pareto_k", "effective_sample_size", "converged")} == {"1"}
    assert results["elbo"].to_xarray().attrs["data_policy"] == "static"


def test_the_ladder_has_a_column_for_each_rung(results):
    ladder = results["comparison"]
    frame = ladder.to_pandas()
    names = [rung.name for rung in ladder.rungs]
    assert names[:3] == ["ELBO", "L_2", "L_40"]
    assert list(frame.columns) == [column for name in names for column in (name, f"{name}_error")]
    np.testing.assert_array_equal(frame["L_2"], ladder.rungs[1].values)
    np.testing.assert_array_equal(frame["L_2_error"], ladder.rungs[1].standard_errors)
    assert list(ladder.table_rows()) == names


def test_what_is_not_defined_is_left_out(linear_gaussian):
    from bayes_vae.guides import ExactLinearGaussianGuide

    model, x = linear_gaussian
    terms = bv.elbo_terms(model, ExactLinearGaussianGuide(model), x, 5)
    assert "kl_per_dimension" not in terms.to_xarray()
    assert list(terms.to_pandas().columns) == [name for term in SIX for name in (term, f"{term}_error")]


def test_observations_keep_their_index(results):
    index = torch.tensor([10, 3, 4, 8, 9])
    assert results["elbo"].to_pandas(index).index.tolist() == index.tolist()
    assert results["elbo"].to_xarray(index)["elbo"].coords["observation"].values.tolist() == index.tolist()
    with pytest.raises(ShapeError, match=r"index must hold one label for each of the 5 observations, got \(2,\)"):
        results["elbo"].to_pandas([1, 2])


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_the_averages(results, name):
    html = results[name]._repr_html_()
    assert html.startswith("<table><caption>")
    assert html.endswith("</table>")
    assert html.count("<tr>") == len(results[name].table_rows()) + 1
    for row in results[name].table_rows().values():
        assert f"<td>{row.value:.3f}</td>" in html
        assert f"<td>{row.num_particles}</td><td>5</td>" in html


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_a_line_for_each_average(results, name):
    caption, head, *lines = repr(results[name]).splitlines()
    assert caption.startswith(f"{type(results[name]).__name__}, averages over observations · nats")
    assert head.split() == ["value", "Monte-Carlo", "error", "data", "error", "K", "N"]
    rows = results[name].table_rows()
    assert [line.split()[0] for line in lines] == list(rows)
    for line, row in zip(lines, rows.values(), strict=True):
        assert f" {row.value:.3f} " in line
        assert line.endswith(str(row.reading))


def test_an_evaluation_has_the_columns_of_its_parts(results):
    frame = results["evaluation"].to_pandas()
    np.testing.assert_array_equal(frame["inference_gap"], frame["log_evidence"] - frame["elbo"])
    assert (frame["bound_log_evidence"] != frame["log_evidence"]).all()


def test_log_terms_average_to_the_elbo(results):
    row = results["log terms"].table_rows()["log_importance_weights"]
    weights = results["log terms"].log_importance_weights.detach()
    assert row.value == pytest.approx(float(weights.mean()))
    assert row.monte_carlo_error == pytest.approx(float((weights.var(0) / 6).sum().sqrt() / 5))


def test_html_is_escaped():
    class Result(Tabular, observation=("values",)):
        values = torch.zeros(2)

        def averages(self):
            return {
                "<b>": average(
                    "v", self.values, torch.full((2,), torch.nan), 3, Reading("not_split", reason="a < b & c")
                )
            }

    html = Result()._repr_html_()
    assert "<td>&lt;b&gt;</td><td>0.000</td><td>–</td>" in html
    assert "a &lt; b &amp; c" in html


def test_neither_pandas_nor_xarray_is_imported_before():
    source = (
        "import sys, bayes_vae.estimators.elbo, bayes_vae.estimators.ladder, bayes_vae.terms.tabular\n"
        "assert not {'pandas', 'xarray', 'arviz'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", source], check=True, timeout=120)
