"""The table of terms: each once, with its symbol, words, public function, unit and dims."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DIMS", "TERMS", "Term", "dimension_symbol", "mathtext", "part_of", "symbol_of", "unit_of"]

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
    name: Term(name, symbol, words, function, *rest)
    for function, rows in {
        "log_terms": (
            ("log_prior", "log p(z)", "log prior", "particle"),
            ("log_likelihood", "log p(x|z)", "log likelihood", "particle"),
            ("log_guide", "log q(z|x)", "log density of the guide", "particle"),
            ("log_joint", "log p(x, z)", "log joint: the model", "particle"),
            ("log_importance_weights", "log p(x, z) − log q(z|x)", "log importance weights", "particle"),
        ),
        "elbo_terms": (
            ("expected_log_likelihood", "E_q log p(x|z)", "expected log likelihood: reconstruction"),
            ("kl_to_prior", "KL(q(z|x) ‖ p(z))", "KL of the guide to the prior: the rate"),
            ("kl_per_dimension", "KL(q(z_d|x) ‖ p(z_d))", "KL by latent dimension", "dimension"),
            ("elbo", "ELBO", "expected log likelihood minus KL to the prior"),
        ),
        "estimate_log_evidence": (
            ("importance_weighted_bound", "L_K", "importance-weighted bound", "observation", "nats", "log_evidence"),
            ("log_evidence", "log p(x)", "log evidence"),
            ("standard_error", "standard_error", "Monte-Carlo standard error"),
            ("effective_sample_size", "ESS", "effective sample size of the weights", "observation", "1"),
            ("pareto_k", "k̂", "tail index of the weights", "observation", "1"),
            ("doubling_step", "L_K − L_{K/2}", "gain of the last doubling"),
            ("particles", "K", "particles of each observation", "observation", "1"),
            ("converged", "converged", "whether the estimate has converged", "observation", "1"),
        ),
        "annealed_log_evidence": (
            ("log_weights", "log w", "log weights of the chains", "chain"),
            ("spread", "spread", "deviation of the chains' log weights"),
            ("check", "check", "figure of chains from an independent start"),
            ("acceptance", "acceptance", "mean acceptance probability of the moves", "observation", "1"),
        ),
        "quadrature_log_evidence": (
            ("refinement_error", "refinement_error", "difference of the two finest levels"),
            ("num_points", "num_points", "nodes along each dimension", "observation", "1"),
        ),
        "bidirectional_bounds": (
            ("lower", "lower", "lower bound on log p(x)"),
            ("upper", "upper", "upper bound on log p(x)"),
            ("gap", "upper − lower", "gap between the bounds"),
        ),
        "inference_gap": (
            ("inference_gap", "log p(x) − ELBO", "inference gap: KL(q(z|x) ‖ p(z|x))"),
            ("approximation_gap", "log p(x) − ELBO(q*)", "approximation gap: the family of q"),
            ("amortization_gap", "ELBO(q*) − ELBO(q)", "amortization gap: the encoder"),
            ("best_elbo", "ELBO(q*)", "ELBO of the best q of the family"),
            ("num_steps", "num_steps", "steps of the search for the best q", "observation", "1"),
        ),
        "aggregate_posterior_terms": (
            ("index_code_mutual_information", "I(n; z)", "mutual information of observation and code"),
            ("marginal_kl_to_prior", "KL(q(z) ‖ p(z))", "KL of the aggregate posterior to the prior"),
            ("total_correlation", "KL(q(z) ‖ Π q(z_d))", "total correlation"),
            ("dimensionwise_kl", "Σ KL(q(z_d) ‖ p(z_d))", "dimension-wise KL"),
        ),
    }.items()
    for name, symbol, words, *rest in rows
}
"""Name → term, by the function that computes it."""


def symbol_of(name: str) -> str:
    """The symbol of a term; the name of what is no term, such as a rung of the ladder.

    >>> symbol_of("kl_to_prior"), symbol_of("L_50"), symbol_of("expected_log_likelihood of smoker")
    ('KL(q(z|x) ‖ p(z))', 'L_50', 'E_q log p(smoker|z)')
    """
    term, _, part = name.partition(" of ")
    if part and term in PARTS:
        return PARTS[term].format(part)
    return TERMS[name].symbol if name in TERMS else name


PARTS = {"expected_log_likelihood": "E_q log p({}|z)", "kl_to_prior": "KL(q({0}|·) ‖ p({0}|·))"}
"""Symbol of the part of a term that belongs to one group of columns or site; · is what the site is given."""


def part_of(term: str, name: str) -> str:
    """The name of the part of a term that belongs to one site or group.

    >>> part_of("kl_to_prior", "z1")
    'kl_to_prior of z1'
    """
    return f"{term} of {name}"


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
