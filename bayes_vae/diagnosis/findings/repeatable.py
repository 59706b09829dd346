"""Networks that give something else at each call: dropout, or noise of another kind, that evaluation does not end."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, fault


@fault(
    "not-repeatable",
    needs=("terms_that_change",),
    why="No number of such a pair belongs to one q and one likelihood: each call uses different networks.",
    advice="Use nn.Dropout, which evaluation mode turns off, or F.dropout(h, p, training=self.training). The "
    "codes and the likelihood moved by a call then read 0.",
    first=True,
)
def not_repeatable(seen: Examined) -> Iterator[Case]:
    """The same input, called twice in evaluation mode."""
    yield Case(
        f"In evaluation mode, and for the same x, {seen.notes.get('terms_that_change', '')} from call to call: dropout "
        "or other noise is left on.",
        [seen.above("terms_that_change", 0.0)],
    )
