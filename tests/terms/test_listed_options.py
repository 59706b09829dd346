"""``help()`` of every estimator lists the keywords that all of them take."""

import inspect
import pydoc

import pytest

import bayes_vae as bv
from bayes_vae.terms.opened import open_pair

ESTIMATORS = [
    *("log_terms", "elbo_terms", "estimate_log_evidence", "annealed_log_evidence", "quadrature_log_evidence"),
    "evaluate",
    *("compare", "inference_gap", "aggregate_posterior_terms", "bayes_rule_on_grid", "posterior_draws", "nuts_draws"),
    "to_arviz",
]
KEYWORDS = ("seed", "index", "source", "batch_size", "chunk_size", "data_policy", "progress")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_help_lists_and_describes_every_keyword(name):
    estimator = getattr(bv, name)
    text = pydoc.plain(pydoc.render_doc(estimator))
    parameters = inspect.signature(estimator).parameters
    defaults = inspect.signature(open_pair).parameters
    for keyword in KEYWORDS:
        assert parameters[keyword].default == defaults[keyword].default
        assert parameters[keyword].kind is inspect.Parameter.KEYWORD_ONLY
        assert text.count(f"\n        {keyword}: ") == 1, text
    assert "options" not in parameters
    assert "seed: of every draw, a whole number from −2⁶³ to 2⁶³ − 1; torch's own random state stays as it was." in text


def test_what_a_function_says_of_a_keyword_itself_stays(small_vae):
    text = inspect.getdoc(bv.estimate_log_evidence)
    assert "with a refined proposal each observation counts twice" in text
    assert "within a batch in proportion" not in text
    with pytest.raises(TypeError, match="unexpected keyword argument 'sed'"):
        bv.elbo_terms(*small_vae, 2, sed=1)
