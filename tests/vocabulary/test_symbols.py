"""The table of terms: every row is true of the library, and the README's table is the same."""

import dataclasses
import importlib
import re
import typing
from pathlib import Path

import pytest

import bayes_vae as bv
from bayes_vae.terms.tabular import Tabular
from bayes_vae.vocabulary.conditions import conditions
from bayes_vae.vocabulary.symbols import DIMS, TERMS, dimension_symbol, mathtext, symbol_of, unit_of

ROOT = Path(__file__).resolve().parents[2]

README_ROW = re.compile(r"^\| (?P<symbol>[^|]+) \| (?P<names>[^|]*`[^|]+) \| [^|]+ \|$", re.MULTILINE)


def results():
    """Return every class of results."""
    for module in ("elbo", "evaluation", "ladder", "annealing.annealed", "annealing.bidirectional", "quadrature"):
        importlib.import_module(f"bayes_vae.estimators.{module}")
    importlib.import_module("bayes_vae.estimators.gaps")
    importlib.import_module("bayes_vae.estimators.aggregate_posterior")
    importlib.import_module("bayes_vae.terms.containers")
    return [each for each in Tabular.__subclasses__() if each.__module__.startswith("bayes_vae.")]


def attributes_of(kind):
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    return fields | set(dir(kind))


@pytest.mark.parametrize("name", TERMS)
def test_each_function_is_public_and_gives_the_attribute(name):
    term = TERMS[name]
    assert term.function in bv.__all__
    result = typing.get_type_hints(getattr(bv, term.function))["return"]
    assert (term.attribute or name) in attributes_of(result)
    assert term.call == f"{term.function}(…).{term.attribute or name}"


def test_symbols_and_words_are_each_one_terms():
    for column in ("symbol", "words"):
        texts = [getattr(term, column) for term in TERMS.values()]
        assert len(set(texts)) == len(texts), column
    assert {term.unit for term in TERMS.values()} == {"nats", "1"}


def test_every_column_of_a_result_is_a_term_in_its_dims():
    classes = results()
    assert len(classes) >= 8
    for kind in classes:
        for column, of in kind.column_names.items():
            name = column if column in TERMS else column.removesuffix("_error")
            assert name in TERMS, f"give {kind.__name__}.{column} a row in vocabulary/symbols.py"
            assert TERMS[name].dims == DIMS[of], column


def test_units():
    unitless = {name for name, term in TERMS.items() if term.unit == "1"}
    assert unitless == {
        "acceptance",
        "converged",
        "effective_sample_size",
        "num_points",
        "num_steps",
        "pareto_k",
        "particles",
    }
    assert unit_of("elbo") == unit_of("L_50") == unit_of("elbo_error") == "nats"
    assert symbol_of("L_50") == "L_50"


def plain(symbol):
    """As the README writes a symbol, whose tables cannot hold a bar."""
    return symbol.replace("|", " given ").replace("‖", "to")


def test_the_readme_has_the_same_symbols_and_names():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The terms\n")[2].partition("\n## ")[0]
    rows = [(row["symbol"], re.findall(r"`(\w+)`", row["names"])) for row in README_ROW.finditer(text)]
    named = {name: symbol for symbol, names in rows for name in names if name in TERMS}
    assert {"log_prior", "log_likelihood", "log_guide", "log_evidence", "elbo", "kl_to_prior"} <= set(named)
    for name, symbol in named.items():
        known = plain(TERMS[name].symbol)
        assert symbol in (known, known.removeprefix("log ")), name


def test_dimensions_count_from_zero():
    assert [dimension_symbol(place) for place in range(2)] == ["z_0", "z_1"]
    assert mathtext(dimension_symbol(0)) == "$z_{0}$"


def test_conditions_say_the_pixel_seed_only_where_it_differs():
    said = conditions(10, 20, "static", seed=3, pixel_seed=3, kl_weight=1.0)
    assert said == "K = 10 · N = 20 · data policy: static · KL weight 1 · seed 3"
    assert conditions(10, 20, "static", seed=3, pixel_seed=0).endswith(" · seed 3 · pixel seed 0")
    assert conditions(None, None, "none", unit="nats") == "nats · data policy: none"
