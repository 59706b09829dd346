"""The model card of a run: what was trained on what, how well, and how to use it; Markdown, for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bayes_vae.runs.config import extension_note
from bayes_vae.runs.run import VALIDATION_PARTICLES, Run
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, error_text, value_text
from bayes_vae.vocabulary.symbols import TERMS

__all__ = ["CARD", "card_bytes"]

CARD = "MODEL_CARD.md"

_TERMS = ("expected_log_likelihood", "kl_to_prior", "elbo")

_ENDINGS = {
    "all epochs": "all epochs were done",
    "patience": "the validation ELBO had stopped rising",
    "callback": "a callback ended it",
    "interrupted": "it was interrupted",
}

_USE = """\
## Use and limits

For studying this pair on data like those above: sampling, reconstruction, latent means, and the terms of Bayes' rule
with their errors. The ELBO is a lower bound on log p(x), not log p(x); `bayes-vae evaluate` and `bayes-vae compare`
estimate log p(x) itself on the test set. Figures hold for this data set and this data policy only; those of another
policy are of other data. A large log p(x) does not show that x belongs to the data, and a sample is no evidence about
the world. The validation rows chose the best epoch, so the figures above are slightly favourable; the test rows were
not used.
"""

_LOAD = """\
## Load, repeat, resume

```python
import bayes_vae as bv

model, guide = bv.load("RUN")  # the weights of the best epoch, in evaluation mode
model.sample(16, seed=0)
```

```sh
bayes-vae evaluate RUN
bayes-vae train --config RUN/config.json --out AGAIN                   # {again}
bayes-vae train --resume RUN --epochs MORE --out LONGER                # more epochs from where it ended
```
"""

_LOAD_REFITTED = """\
## Load

```python
import bayes_vae as bv

model, guide = bv.load("RUN")  # in evaluation mode
model.sample(16, seed=0)
```

`bayes-vae evaluate RUN` and the other commands take it; no training resumes or repeats it. It was made by: `{command}`
"""

_LOAD_OWN = """\
## Load

The programs are not of this library, so build the pair as for training and pass it:
`model, guide = bv.load("RUN", model=..., guide=...)`. More epochs:
`bv.fit(model, guide, data, resume="RUN", epochs=MORE)`.
"""


def card_bytes(run: Run, config: Mapping[str, Any]) -> bytes:
    """The text of the card.

    Args:
        run: what was trained.
        config: its configuration.
    """
    ours = config["model"]["class"] and config["guide"]["class"]
    trained_on = run.data.get("name", "unnamed data")
    parts = [
        f"# {_plain(_name(config['model']))} with {_plain(_name(config['guide']))}, trained on {_plain(trained_on)}",
        f"A variational autoencoder, {_made(run)} on {config['created'][:10]} with bayes_vae "
        f"{config['versions']['bayes_vae']}: {_ended(run)}.",
        _section("Data", run.data),
        _section("Model p(x, z)", config["model"].get("settings", {})),
        _section("Guide q(z given x)", config["guide"].get("settings", {})),
        _section("Training", run.settings.get("training", {})),
        _section("Refitted prior", run.settings.get("refit_prior", {})),
        _figures(run),
        _USE,
        _load(config) if ours else _LOAD_OWN,
        _section("Versions", config["versions"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part).encode() + b"\n"


def _made(run: Run) -> str:
    """How the weights came about."""
    if "refit_prior" not in run.settings:
        return "trained by SVI"
    return "its prior refitted to the codes of the training rows, its decoder and q as they were trained before,"


def _load(config: Mapping[str, Any]) -> str:
    """How to go on, with what keeps a repetition from being exact."""
    if "refit_prior" in config["settings"]:
        return _LOAD_REFITTED.format(command=config["command"] or "bv.refit_prior(model, guide, data)")
    note = extension_note(config)
    if note is None:
        return _LOAD.format(again="the same training once more")
    return f"{_LOAD.format(again='its epochs in one go: see below')}\n{capitalized(note)}.\n"


def _name(program: Mapping[str, Any]) -> str:
    return str(program["class"] or program.get("description", "a program"))


def _ended(run: Run) -> str:
    epochs = f"{len(run.history)} epoch{'s' * (len(run.history) != 1)}"
    return f"{epochs}, the best was number {run.best_epoch}; {_ENDINGS[run.ending]}"


def _section(title: str, content: Mapping[str, Any]) -> str:
    rows = [(key, value) for key, value in content.items() if value not in ([], None, "")]
    return f"## {title}\n\n{_table(('what', 'value'), rows)}" if rows else ""


def _figures(run: Run) -> str:
    """The validation terms of the best epoch with K, N, KL weight, and the ELBO's error."""
    row = next((row for row in run.history if row.get("epoch") == run.best_epoch), {})
    values: dict[str, Any] = {name: row.get(f"validation_{name}") for name in _TERMS}
    if None in values.values():
        return "## Figures\n\nNone were measured."
    rows = [(TERMS[name].symbol, value_text(values[name]), "") for name in _TERMS]
    rows[-1] = (*rows[-1][:2], f"± {error_text(row.get('validation_elbo_error', float('nan')))}")
    count = run.data.get("sizes", {}).get("validation", "unknown")
    beside = conditions(
        VALIDATION_PARTICLES,
        f"{count} validation observations",
        str(run.data.get("policy")),
        "error: of the draws and of the sampling of the data together",
        unit=capitalized(PER_OBSERVATION),
        kl_weight=1.0,
        missing_share=run.data.get("missing_share", 0.0),
    )
    return f"## Figures\n\n{_table(('term', 'validation', 'standard error'), rows)}\n\n{beside}."


def _table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(value: Any) -> str:
    """Text that Markdown takes as it is, on one line."""
    text = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
