"""The terms of Bayes' rule, read off any pair of Pyro programs.

One interface, two implementations: reading the distributions that a pair exposes, and tracing its programs.
"""

from __future__ import annotations

from bayes_vae.terms.at_draws import log_terms
from bayes_vae.terms.containers import LogTerms, Provenance
from bayes_vae.terms.opened import Options
from bayes_vae.terms.rows import Rows, RowSource
from bayes_vae.terms.stream import Progress, Source

__all__ = ["LogTerms", "Options", "Progress", "Provenance", "RowSource", "Rows", "Source", "log_terms"]
