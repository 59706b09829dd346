"""The table of terms: each once, with its symbol, words, public function, unit and dims."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DIMS", "TERMS", "Term", "dimension_symbol", "mathtext", "symbol_of", "unit_of"]

DIMS = {
    "observation": ("observation",),
    "particle": ("particle", "observation"),
    "chain": ("chain", "observation"),
    "dimension": ("observation", "dimension"),
}
"""What a column is known of → its dims."""


@dataclass(frozen=True)
class Term:
    """A quantity of the library.

    Attributes:
        name: in the code; that of the attribute which holds it, unless there is another.
        symbol: as in the formulas; the name itself where there is none.
        words: what it is.
        function: the public function that computes it.
        of: what it is known of, a key of ``DIMS``.
        unit: "nats", or "1" for a number without a unit.
        attribute: of the function's result; the name when empty.
    """

    name: str
    symbol: str
    words: str
    function: str
    of: str = "observation"
    unit: str = "nats"
    attribute: str = ""

    @property
    def call(self) -> str:
        """The function and the attribute of its result, with (…) for the arguments."""
        return f"{self.function}(…).{self.attribute or self.name}"

    @property
    def dims(self) -> tuple[str, ...]:
        """Of the values."""
        return DIMS[self.of]


TERMS = {
    term.name: term
    for term in (
        Term("log_prior", "log p(z)", "log prior", "log_terms", "particle"),
        Term("log_likelihood", "log p(x|z)", "log likelihood", "log_terms", "particle"),
        Term("log_guide", "log q(z|x)", "log density of the guide", "log_terms", "particle"),
        Term("log_joint", "log p(x, z)", "log joint: the model", "log_terms", "particle"),
        Term("log_importance_weights", "log p(x, z) − log q(z|x)", "log importance weights", "log_terms", "particle"),
        Term("expected_log_likelihood", "E_q log p(x|z)", "expected log likelihood: reconstruction", "elbo_terms"),
        Term("kl_to_prior", "KL(q(z|x) ‖ p(z))", "KL of the guide to the prior: the rate", "elbo_terms"),
        Term("kl_per_dimension", "KL(q(z_d|x) ‖ p(z_d))", "KL by latent dimension", "elbo_terms", "dimension"),
        Term("elbo", "ELBO", "expected log likelihood minus KL to the prior", "elbo_terms"),
        Term(
            "importance_weighted_bound",
            "L_K",
            "importance-weighted bound",
            "estimate_log_evidence",
            attribute="log_evidence",
        ),
        Term("log_evidence", "log p(x)", "log evidence", "estimate_log_evidence"),
        Term("standard_error", "standard_error", "Monte-Carlo standard error", "estimate_log_evidence"),
        Term("effective_sample_size", "ESS", "effective sample size of the weights", "estimate_log_evidence", unit="1"),
        Term("pareto_k", "k̂", "tail index of the weights", "estimate_log_evidence", unit="1"),
        Term("doubling_step", "L_K − L_{K/2}", "gain of the last doubling", "estimate_log_evidence"),
        Term("particles", "K", "particles of each observation", "estimate_log_evidence", unit="1"),
        Term("converged", "converged", "whether the estimate converged", "estimate_log_evidence", unit="1"),
        Term("log_weights", "log w", "log weights of the chains", "annealed_log_evidence", "chain"),
        Term("spread", "spread", "deviation of the chains' log weights", "annealed_log_evidence"),
        Term("acceptance", "acceptance", "mean acceptance of the moves", "annealed_log_evidence", unit="1"),
        Term("refinement_error", "refinement_error", "difference of two levels", "quadrature_log_evidence"),
        Term("num_points", "num_points", "nodes along each dimension", "quadrature_log_evidence", unit="1"),
        Term("lower", "lower", "lower bound on log p(x)", "bidirectional_bounds"),
        Term("upper", "upper", "upper bound on log p(x)", "bidirectional_bounds"),
        Term("gap", "upper − lower", "gap between the bounds", "bidirectional_bounds"),
        Term("inference_gap", "log p(x) − ELBO", "inference gap: KL(q(z|x) ‖ p(z|x))", "inference_gap"),
        Term("approximation_gap", "log p(x) − ELBO(q*)", "approximation gap: the family of q", "inference_gap"),
        Term("amortization_gap", "ELBO(q*) − ELBO(q)", "amortization gap: the encoder", "inference_gap"),
        Term("best_elbo", "ELBO(q*)", "ELBO of the best q of the family", "inference_gap"),
        Term("num_steps", "num_steps", "steps of the search for the best q", "inference_gap", unit="1"),
        Term(
            "index_code_mutual_information",
            "I(n; z)",
            "mutual information of observation and code",
            "aggregate_posterior_terms",
        ),
        Term(
            "marginal_kl_to_prior",
            "KL(q(z) ‖ p(z))",
            "KL of the aggregate posterior to the prior",
            "aggregate_posterior_terms",
        ),
        Term("total_correlation", "KL(q(z) ‖ Π q(z_d))", "total correlation", "aggregate_posterior_terms"),
        Term("dimensionwise_kl", "Σ KL(q(z_d) ‖ p(z_d))", "dimension-wise KL", "aggregate_posterior_terms"),
    )
}
"""Name → term."""


def symbol_of(name: str) -> str:
    """The symbol of a term; the name of what is no term, such as a rung of the ladder.

    >>> symbol_of("kl_to_prior"), symbol_of("L_50")
    ('KL(q(z|x) ‖ p(z))', 'L_50')
    """
    return TERMS[name].symbol if name in TERMS else name


def unit_of(name: str) -> str:
    """The unit of a term; nats for what is no term, such as the error of one.

    >>> unit_of("pareto_k"), unit_of("elbo_error")
    ('1', 'nats')
    """
    return TERMS[name].unit if name in TERMS else "nats"


def dimension_symbol(place: int | tuple[int, ...], site: str = "z") -> str:
    """The symbol of one number of a latent, counted from 0 as in Python.

    >>> dimension_symbol(0), dimension_symbol((2,), "code"), dimension_symbol((0, 3)), dimension_symbol((), "coin")
    ('z_0', 'code_2', 'z_{0,3}', 'coin')
    """
    places = (place,) if isinstance(place, int) else place
    if len(places) > 1:
        return f"{site}_{{{','.join(map(str, places))}}}"
    return f"{site}_{places[0]}" if places else site


def mathtext(text: str) -> str:
    """Text with the subscripts of E_q, L_500 and z_0 as Matplotlib sets them.

    >>> mathtext("E_q log p(x|z), L_500 and z_0")
    '$E_{q}$ log p(x|z), $L_{500}$ and $z_{0}$'
    """
    return re.sub(r"\b([ELz])_(q|K|d|\d+)\b", r"$\1_{\2}$", text)
