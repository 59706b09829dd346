"""Losses and gradients of one step of every objective, short trainings, and diagnoses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
from entries import Entry, entries, refusal, state
from pairs import Case, data_set, make, modules

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError

OBJECTIVES: dict[str, Callable[[], Any]] = {
    "elbo": bv.Elbo,
    "elbo, sampled": lambda: bv.Elbo(3, kl="sampled"),
    "elbo, weighted": lambda: bv.Elbo(2, kl_weight=0.3),
    "elbo, scheduled": lambda: bv.Elbo(2, kl_weight=lambda step: (step + 1) / 4),
    "elbo, free bits": lambda: bv.Elbo(2, free_bits=0.4),
    "importance-weighted": lambda: bv.ImportanceWeightedObjective(5),
    "doubly-reparameterized": lambda: bv.DoublyReparameterizedObjective(5),
    "sticking-the-landing": lambda: bv.StickingTheLandingObjective(2),
    "enumerated": lambda: bv.EnumeratedElbo(2),
}

FITS: dict[str, dict[str, Any]] = {
    "default": {},
    "importance-weighted": {"objective": "importance-weighted", "num_particles": 3},
    "doubly-reparameterized": {"objective": "doubly-reparameterized", "num_particles": 3},
    "sticking-the-landing": {"objective": "sticking-the-landing", "num_particles": 2},
    "sampled kl": {"kl": "sampled", "num_particles": 2},
    "free bits": {"free_bits": 0.2},
    "warm-up": {"kl_warmup_epochs": 2, "schedule": "steps", "step_epochs": 1},
    "cycles": {"kl_cycle_epochs": 2, "kl_warmup_epochs": 1, "kl_weight": 0.5, "schedule": "burda"},
    "clipped": {"clip_norm": 0.5, "schedule": "constant", "seed": 4},
    "float64": {"precision": "64"},
    "patience": {"patience": 1, "epochs": 4, "min_delta": 100.0},
}
"""Settings that one pair is trained with."""


def step(name: str, objective: str) -> Iterator[tuple[str, Entry]]:
    """Two steps of an objective as a module: terms, loss and the gradient of every parameter."""
    case = make(name)
    x = case.x if isinstance(case.x, tuple) else (case.x,)
    index = {"index": case.options["index"]} if "index" in case.options else {}
    torch.manual_seed(11)
    try:
        module = OBJECTIVES[objective]()(case.model, case.guide)
        yield from entries(f"objective {objective}/terms", module.terms(*x, **index)._asdict())
        for number in (1, 2):
            loss = module(*x, **index)
            found = [(key, value) for key, value in module.named_parameters() if value.requires_grad]
            gradients = torch.autograd.grad(loss, [value for _, value in found], allow_unused=True)
            yield from entries(f"objective {objective}/loss {number}", loss)
            named = {key: value for (key, _), value in zip(found, gradients, strict=True) if value is not None}
            yield from entries(f"objective {objective}/gradient {number}", named)
    except BayesVaeError as error:
        yield f"objective {objective}", refusal(error)


def under_svi(name: str) -> Iterator[tuple[str, Entry]]:
    """Two steps of Pyro's own loop with our objective, and one with Pyro's."""
    for loss, make_loss in (("ours", bv.Elbo), ("Pyro's", pyro.infer.Trace_ELBO)):
        case = make(name)
        x = case.x if isinstance(case.x, tuple) else (case.x,)
        pyro.clear_param_store()
        torch.manual_seed(12)
        try:
            if loss == "Pyro's" and hasattr(case.model, "register"):
                case.model.register()
                case.guide.register()
            svi = pyro.infer.SVI(case.model, case.guide, pyro.optim.Adam({"lr": 0.01}), loss=make_loss())
            yield from entries(f"SVI/{loss}/losses", [svi.step(*x), svi.step(*x)])
        except BayesVaeError as error:
            yield f"SVI/{loss}", refusal(error)
        yield from entries(f"SVI/{loss}/weights", weights(case))
    pyro.clear_param_store()


def weights(case: Case) -> dict[str, Any]:
    """The weights of a pair, by module and name."""
    return {str(place): state(module.state_dict()) for place, module in enumerate(modules(case.model, case.guide))}


def trained(name: str, options: dict[str, Any]) -> Any:
    """A training of two epochs, from the same weights each time."""
    case = make(name, torch.float32)
    settings = {"epochs": 2, "batch_size": 17, "learning_rate": 0.01, "device": "cpu", **options}
    return bv.fit(case.model, case.guide, data_set(settings.pop("data", case.data)), progress="none", **settings)


def fitted(name: str, label: str, options: dict[str, Any]) -> Iterator[tuple[str, Entry]]:
    """History and weights of a training."""
    try:
        run = trained(name, options)
    except BayesVaeError as error:
        yield f"fit {label}", refusal(error)
        return
    for epoch, row in enumerate(run.history, 1):
        yield from entries(f"fit {label}/epoch {epoch}", without_times(row))
    yield from entries(f"fit {label}/best epoch", run.best_epoch)
    yield from entries(f"fit {label}/best", state(run.best_state))
    yield from entries(f"fit {label}/last", state(run.last_state))


def without_times(row: dict[str, float]) -> dict[str, float]:
    """A row of a history without what the machine's speed decides."""
    return {key: value for key, value in row.items() if "second" not in key}


def diagnosed(name: str, data: str) -> Iterator[tuple[str, Entry]]:
    """Measurements and findings of a pair that was trained for two epochs."""
    run, rows = trained(name, {"data": data}), data_set(data)
    settings = run.settings["training"]
    try:
        known = {"history": run.history, "settings": settings}
        found = bv.diagnose(run.model, run.guide, rows, **known, num_observations=60, seconds=float("inf"))
    except BayesVaeError as error:
        yield "diagnose", refusal(error)
        return
    for measured, number in found.measurements.items():
        yield from entries(f"diagnose/{measured}", {"value": number.value, "error": number.error})
    yield from findings("diagnose", found.to_json()["findings"])
    for check in found.not_checked:
        yield f"diagnose/not checked/{check.name}", {"refused": "not checked"}


def findings(place: str, found: list[dict[str, Any]]) -> Iterator[tuple[str, Entry]]:
    """The numbers that findings rest on, by name of the finding and of the number."""
    for finding in found:
        name = f"{place}/finding {finding['name']} ({finding['severity']})"
        yield from entries(f"{name}/probability", finding["probability"])
        for number in finding.get("evidence", finding.get("measurements", ())):
            yield from entries(f"{name}/{number['name']}", number)
