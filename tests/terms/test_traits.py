"""What a program can do is read in one place, and its wrappers keep it."""

import ast
import functools
from pathlib import Path

import pyro.poutine as poutine
import pytest
import torch
from torch import nn

from bayes_vae.guides import LocalNormalGuide
from bayes_vae.models import LinearGaussianVAE, SemiSupervisedVAE
from bayes_vae.runs import ParameterizedProgram
from bayes_vae.terms.traits import HANDED_ON, modules_of, needs_index, traits_of

ROOT = Path(__file__).resolve().parents[2]


class Foreign(nn.Module):
    """A module of a user's, with both programs as methods."""

    needs_index = True
    needs_labels = True

    def model(self, x, y, index):
        return x

    def log_evidence(self, x, y):
        return x.sum(-1)


WRAPPERS = {
    "itself": lambda program: program,
    "bound method": lambda program: program.model,
    "partial": lambda program: functools.partial(program.model, 1),
    "handler": lambda program: poutine.scale(program.model, 2.0),
    "parameters from a run": lambda program: ParameterizedProgram(program.model, {}),
    "parameters around a handler": lambda program: ParameterizedProgram(poutine.scale(program.model, 2.0), {}),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_a_program_is_called_with_is_seen_through_every_wrapper(wrapper):
    owner = Foreign()
    program = WRAPPERS[wrapper](owner)
    traits = traits_of(program)
    assert traits.needs_index is traits.needs_labels is needs_index(program) is True
    assert traits.infers_labels is False
    assert modules_of(program) == [owner]


@pytest.mark.parametrize(
    ("wrapper", "known"),
    [("itself", True), ("bound method", True), ("parameters from a run", True), ("partial", False), ("handler", False)],
)
def test_the_evidence_is_known_where_the_density_is_the_programs_own(wrapper, known):
    traits = traits_of(WRAPPERS[wrapper](Foreign()))
    assert (traits.log_evidence is not None) is known
    if known:
        assert traits.log_evidence(torch.ones(2, 3), None).tolist() == [3, 3]


def test_a_function_has_none():
    traits = traits_of(lambda x: x)
    assert {traits.needs_labels, traits.needs_index, traits.exposes_distributions} == {False}
    assert all(getattr(traits, name) is None for name in ("log_evidence", "prepare", "reconstruct", "attached_guide"))


def test_our_programs(isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(latent_dim=2, data_shape=(3,))
        labelled = SemiSupervisedVAE(latent_dim=2, data_shape=(3,), num_classes=2, hidden_dims=(3,))
    traits = traits_of(model)
    assert traits.exposes_distributions
    assert traits.log_evidence == model.log_evidence
    assert traits.exact_posterior == model.exact_posterior
    guide = LocalNormalGuide(2, 5)
    assert traits_of(guide).needs_index
    assert traits_of(guide.forward).needs_index
    assert traits_of(guide).prepare == guide.prepare
    assert traits_of(labelled).infers_labels


def test_parameters_from_a_run_hand_on_what_is_declared_and_nothing_else():
    program = ParameterizedProgram(Foreign().model, {})
    assert all(hasattr(program, name) for name in HANDED_ON)
    with pytest.raises(AttributeError, match="'ParameterizedProgram' object has no attribute 'model'"):
        _ = program.model


TRAITS = {
    "needs_labels", "infers_labels", "needs_index", "exposes_distributions", "admit", "prepare", "log_evidence",
    "exact_posterior", "reconstruct", "label_term", "likelihood_family", "attach_guide", "attached_guide",
}  # fmt: skip


def test_nothing_else_asks_a_program_for_a_trait():
    """No getattr or hasattr on a trait outside the module that reads them."""
    asked = []
    for folder in ("bayes_vae", "models", "guides", "experiments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name == "traits.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                called = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr")
                if called and isinstance(node.args[1], ast.Constant) and node.args[1].value in TRAITS:
                    asked.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not asked
