"""The sections on what was trained on what, and on how training went."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Any

from bayes_vae.plots import draw_term_by_epoch
from bayes_vae.report.contents import ReportContents
from bayes_vae.report.drawing import draw
from bayes_vae.report.page_elements import Drawings, Section, Table
from bayes_vae.settings import ReportSettings
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, change, count_of, estimate_text, first_of, joined

__all__ = ["about_section", "training_section"]

TERMS = {
    "elbo": "ELBO",
    "expected_log_likelihood": "expected log likelihood, E_q log p(x|z)",
    "kl_to_prior": "KL to the prior",
}

POLICIES = {
    "stochastic": "pixels drawn as zeros and ones anew at each use",
    "static": "pixels drawn as zeros and ones once",
    "threshold": "pixels above one half are ones",
    "none": "values as they are",
}


def about_section(contents: ReportContents) -> Section:
    """What was trained on what, with digests, settings and versions."""
    config = contents.config
    rows = [*_pair_rows(config), *_data_rows(contents), *_training_rows(config), *_report_rows(contents)]
    known = "As the run directory has it; the weights are those of the best epoch." if config else "As it was given."
    table = Table(("what", "here"), rows, known)
    return Section(
        "about",
        "What was trained on what",
        "Which model, which guide, which data, and could somebody repeat it?",
        _about_sentences(contents),
        (table,),
    )


def _about_sentences(contents: ReportContents) -> tuple[str, ...]:
    config, data = contents.config, contents.data
    sentences = []
    trained = config.get("data", {})
    if config:
        model, guide = (_program(config.get(role, {})) for role in ("model", "guide"))
        outcome = config.get("outcome", {})
        count = config.get("parameters", {}).get("count")
        size = f", {count:,} parameters in all," if count else ""
        rows = trained.get("sizes", {}).get("train")
        on = f" on {count_of(rows, 'observation')} of {trained.get('name')}" if rows else f" on {trained.get('name')}"
        epochs = f" for {count_of(outcome['epochs'], 'epoch')}" if "epochs" in outcome else ""
        if "refit_prior" in config.get("settings", {}):
            sentences.append(
                f"The model {model} and the guide {guide} are a pair that was trained before; its prior{size} was then "
                f"refitted to the codes{on}{epochs}, and the figures by epoch are those of the refit."
            )
        else:
            sentences.append(f"The model {model} and the guide {guide}{size} were trained by SVI{on}{epochs}.")
        if outcome.get("interrupted"):
            sentences.append("Training was interrupted before its last epoch.")
        if not outcome and contents.history:
            asked = config.get("settings", {}).get("training", {}).get("epochs", "more")
            sentences.append(
                f"The run is unfinished: {len(contents.history):,} of {asked} epochs were done, and the weights are "
                "those of the best so far."
            )
    policy = f"{data['policy']} ({POLICIES.get(data['policy'], 'unstated')})"
    tested = first_of(contents.num_observations, "test observation")
    sentences.append(f"The figures below are for {tested} of {data['name']}, under the policy {policy}.")
    if trained and trained.get("policy") != data["policy"]:
        sentences.append(
            f"Training used another data policy, {trained.get('policy')}: figures of different policies cannot be "
            "compared."
        )
    elif trained and trained.get("digest") != data["digest"]:
        sentences.append(
            f"These are not the data of the training, which were {trained.get('name')} with another digest: figures of "
            "different data cannot be compared, and test observations may have been trained on."
        )
    return tuple(sentences)


def _program(description: Mapping[str, Any]) -> str:
    return str(description.get("class") or description.get("description") or "unknown")


def _settings_text(settings: Mapping[str, Any]) -> str:
    return " · ".join(f"{name} {_value(value)}" for name, value in settings.items()) or "–"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pair_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for role, symbol in (("model", "p(x, z)"), ("guide", "q(z|x)")):
        described = config.get(role)
        if described:
            rows.append((f"{role} {symbol}", f"{_program(described)}: {_settings_text(described.get('settings', {}))}"))
    return rows


def _data_rows(contents: ReportContents) -> list[tuple[str, str]]:
    trained, data = contents.config.get("data", {}), contents.data
    rows = [("data of these figures", _data_text(data))]
    if trained and (trained.get("digest"), trained.get("policy")) != (data["digest"], data["policy"]):
        return [("data of the training", _data_text(trained)), *rows]
    return [("data", rows[0][1])]


def _data_text(data: Mapping[str, Any]) -> str:
    sizes = joined([f"{count:,} {split}" for split, count in data.get("sizes", {}).items()] or ["unknown"])
    shape = " × ".join(map(str, data.get("data_shape", ())))
    policy, digest = data.get("policy"), data.get("digest")
    return f"{data.get('name')} · {sizes} · shape {shape} · data policy {policy} · SHA-256 {digest}"


def _training_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    training = config.get("settings", {}).get("training")
    if training:
        rows.append(("training", _settings_text(training)))
    outcome = config.get("outcome")
    if outcome:
        rows.append(("outcome", _settings_text(outcome)))
    for key in ("command", "created"):
        if config.get(key):
            rows.append((key, str(config[key])))
    for key in ("versions", "machine"):
        if config.get(key):
            rows.append((key, _settings_text(config[key])))
    return rows


def _report_rows(contents: ReportContents) -> list[tuple[str, str]]:
    default = ReportSettings(device=contents.settings.device)
    changed = [
        f"--{field.name.replace('_', '-')} {getattr(contents.settings, field.name)}"
        for field in fields(default)
        if getattr(contents.settings, field.name) != getattr(default, field.name)
    ]
    trained, data = contents.config.get("data", {}), contents.data
    computed = ("report", _settings_text(asdict(contents.settings)) + f" · computed in {contents.seconds:.0f} s")
    if not contents.config:
        return [computed]
    if trained and trained.get("digest") != data["digest"]:
        changed.append(f"--data {shlex.quote(str(data['name']))}")
    if trained and trained.get("policy") != data["policy"]:
        changed.append(f"--policy {data['policy']}")
    return [computed, ("repeat it", " ".join(["bayes-vae report", shlex.quote(contents.name), *changed]))]


def training_section(contents: ReportContents) -> Section:
    """Three figures by epoch, and what they say."""
    title, question = "Training, term by term", "Did training end, did it overfit, and which term moved?"
    history = contents.history
    needed = {f"{split}_{term}" for split in ("train", "validation") for term in TERMS} | {"epoch", "kl_weight"}
    if not history or not all(needed <= row.keys() for row in history):
        missing = "no figures by epoch were stored with this pair."
        return Section("training", title, question, missing=missing)
    best = max(range(len(history)), key=lambda row: history[row]["validation_elbo"])
    drawings = tuple(
        draw(
            partial(draw_term_by_epoch, history=history, term=term),
            3.4,
            2.5,
            f"{words} by epoch, training dashed and validation solid: from "
            f"{estimate_text(history[0][f'validation_{term}'])} in epoch {history[0]['epoch']:.0f} to "
            f"{estimate_text(history[-1][f'validation_{term}'])} nats in epoch {history[-1]['epoch']:.0f}, in "
            "validation.",
        )
        for term, words in TERMS.items()
    )
    return Section(
        "training",
        title,
        question,
        _training_sentences(contents, history[0], history[best]),
        (Drawings(drawings, _training_caption(contents), "half"),),
    )


def _training_sentences(
    contents: ReportContents, first: Mapping[str, float], best: Mapping[str, float]
) -> tuple[str, ...]:
    last = contents.history[-1]
    error = best.get("validation_elbo_error", 0.0)
    changes = {term: best[f"validation_{term}"] - first[f"validation_{term}"] for term in TERMS}
    apart = best["train_elbo"] - best["validation_elbo"]
    ended = "the last" if best["epoch"] == last["epoch"] else f"of {last['epoch']:.0f}"
    sentences = [
        f"The best validation ELBO is {estimate_text(best['validation_elbo'], error)} nats, in epoch "
        f"{best['epoch']:.0f} ({ended}); since epoch {first['epoch']:.0f} it changed by {change(changes['elbo'])}, "
        f"the reconstruction by {change(changes['expected_log_likelihood'])} and the KL by "
        f"{change(changes['kl_to_prior'])}.",
        f"The training ELBO, averaged over that epoch while the weights changed, was {abs(apart):.2f} nats "
        f"{'above' if apart > 0 else 'below'} it"
        + (", more than five of its standard errors: a sign of overfitting." if apart > 5 * error > 0 else "."),
    ]
    if any(row["kl_weight"] != 1 for row in contents.history):
        weights = sorted({row["kl_weight"] for row in contents.history})
        between = f"{weights[0]:g}" if len(weights) == 1 else f"{weights[0]:g} to {weights[-1]:g}"
        sentences.append(
            f"In training the KL had the weight {between} (at the start of each epoch), so the training ELBO shown is "
            "not what was maximized; validation uses 1."
        )
    return tuple(sentences)


def _training_caption(contents: ReportContents) -> str:
    from bayes_vae.training.refitting import HELD_OUT_CODES
    from bayes_vae.training.svi import VALIDATION_PARTICLES

    config = contents.config
    settings, sizes = config.get("settings", {}), config.get("data", {}).get("sizes", {})
    training, validation = settings.get("training", {}), VALIDATION_PARTICLES
    if "refit_prior" in settings:
        training, validation = {**settings["refit_prior"], "num_particles": 1}, HELD_OUT_CODES
    beside = conditions(
        f"{training.get('num_particles', 'unknown')} in training, {validation} in validation",
        f"{sizes.get('train', 0):,} and {sizes.get('validation', 0):,}",
        config.get("data", {}).get("policy", "unstated"),
        "estimator: mean over draws from q, KL in closed form where it has one",
        unit=capitalized(PER_OBSERVATION),
        kl_weight=1.0,
        seed=training.get("seed", "unknown"),
    )
    return f"Validation solid, training dashed, a dot at the best epoch · {beside}."
