"""The weights of a run, put into a pair; and a look whether a pair can be stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from bayes_vae.errors import RunError
from bayes_vae.runs.programs import ParameterizedProgram
from bayes_vae.terms.program import modules_of
from bayes_vae.terms.traits import traits_of

__all__ = ["check_attached", "fill_pair"]


def check_attached(model: Any, guide: Any) -> None:
    """Refuse to store a pair whose prior is made of another guide than the pair's.

    Args:
        model: the model; one without ``attached_guide``, or with None there, is made of no guide.
        guide: the guide of the pair.

    Raises:
        RunError: says which guides these are.
    """
    attached = traits_of(model).attached_guide
    if attached is None or any(attached is owner for owner in modules_of(guide)):
        return
    raise RunError(
        f"the model's prior is made of the q of another guide, {type(attached).__name__}, than that of this run, "
        f"{type(guide).__name__}. Its weights would not be stored, and the prior be another once loaded. Train the "
        "pair together: call model.attach_guide(guide) with the guide that is passed to fit."
    )


def fill_pair(model: Any, guide: Any, state: Mapping[str, Tensor], built: Collection[str] = ()) -> tuple[Any, Any]:
    """Put weights into a pair and switch it to evaluation mode; a prior that is made of q gets the pair's guide.

    Args:
        model: the model; its weights go to the module behind it.
        guide: the guide, likewise.
        state: weights as :class:`~bayes_vae.runs.Run` has them.
        built: which of "model" and "guide" were built here; those take the dtype of the weights.

    Returns:
        the same pair; where the run has ``pyro.param`` sites, wrapped in programs that carry their values.

    Raises:
        RunError: weights that do not fit; the pair is then as it was.
    """
    targets = _targets(model, guide, state)
    for role, module, weights in targets:
        if role in built:
            _match_dtype(module, weights)
        _check_fit(role, module, weights)
    attach_guide = traits_of(model).attach_guide
    if attach_guide is not None:
        attach_guide(guide)
    for _, module, weights in targets:
        module.load_state_dict(weights)
        module.eval()
    values = _part(state, "param")
    if not values:
        return model, guide
    leaves = {name: value.clone().requires_grad_(value.is_floating_point()) for name, value in values.items()}
    return ParameterizedProgram(model, leaves), ParameterizedProgram(guide, leaves)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


def _targets(model: Any, guide: Any, state: Mapping[str, Tensor]) -> list[tuple[str, nn.Module, dict[str, Tensor]]]:
    """The modules behind a pair, each once, with the weights that go there."""
    programs = {"model": model, "guide": guide}
    owners = {role: owner for role, program in programs.items() for owner in modules_of(program)}
    weights = {role: _part(state, role) for role in programs}
    if len(owners) == 2 and owners["model"] is owners["guide"]:
        return [("model", owners["model"], weights["guide"] | weights["model"])]
    for role in programs:
        if weights[role] and role not in owners:
            raise RunError(
                f"this run has weights of a module for the {role}, but the {role} that was passed is "
                f"{type(programs[role]).__name__}, with no module behind it. Pass a module, or a bound "
                "method of one, as for training."
            )
    return [(role, owner, weights[role]) for role, owner in owners.items()]


def _match_dtype(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    dtypes = {weight.dtype for weight in weights.values() if weight.is_floating_point()}
    if len(dtypes) == 1:
        module.to(dtypes.pop())


def _check_fit(role: str, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    expected = module.state_dict()
    faults = [f"the run lacks {key}" for key in expected.keys() - weights.keys()]
    faults += [f"the {role} lacks {key}" for key in weights.keys() - expected.keys()]
    for key in expected.keys() & weights.keys():
        own, stored = (f"{tuple(t.shape)} {t.dtype}" for t in (expected[key], weights[key]))
        if own != stored:
            faults.append(f"{key} is {stored} in the run and {own} in the {role}")
    if faults:
        raise RunError(
            f"the weights of this run do not fit the {role}: {'; '.join(sorted(faults))}. Build it as for "
            "training (config.json has the settings), with the same dtype."
        )
