"""The model card of a run: what was trained on what, how well, and how to use it."""

from __future__ import annotations

from typing import Any

from bayes_vae.runs.run import Run

__all__ = ["CARD", "card_bytes"]

CARD = "MODEL_CARD.md"


def card_bytes(run: Run, config: dict[str, Any]) -> bytes:
    """The text of the card."""
    return f"# {config['model'].get('class')}\n".encode()
