"""What every objective is: a ``pyro.infer.ELBO``, and a loss for each observation."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import pyro.poutine as poutine
import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from bayes_vae.errors import ScaledSiteWarning, SettingsError
from bayes_vae.objectives.kl_weights import ConstantWeight, KLWeight
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.objectives.refusals import (
    refuse_nothing_to_train,
    refuse_sharing,
    refuse_stale,
    refuse_untrainable,
)
from bayes_vae.terms.program import Observations, Program, modules_of, own_parameters, undisturbed
from bayes_vae.terms.registration import register_parameters
from bayes_vae.terms.rows import TensorRows, as_index, as_observations
from bayes_vae.terms.shared_noise import SharedNoise
from bayes_vae.terms.stream import BoundBatch, Pair, Source, read_pair
from bayes_vae.terms.tracing import run_pair
from bayes_vae.terms.traits import Traits, traits_of

__all__ = ["Objective", "ObjectiveModule"]


class ObjectiveModule(nn.Module):
    """An objective fixed to a pair, as a module whose parameters a torch optimizer can run over.

    The modules behind bound methods are submodules too, so that their parameters are not hidden.
    """

    def __init__(self, model: Program, guide: Program, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self._programs = (model, guide)
        for name, program in (("model", model), ("guide", guide)):
            for owner in modules_of(program):
                if all(owner is not module for module in self.children()):
                    self.add_module(name, owner)

    def forward(self, *x: Tensor, index: Tensor | None = None) -> Tensor:
        """The loss of the batch, summed over its observations, nats.

        A call in training mode with gradients counts as a step of a schedule of the KL weight.
        """
        with own_parameters(*self._programs):
            loss = self.objective.differentiable_loss(*self._programs, *x, index=index)
        if self.training and torch.is_grad_enabled():
            self.objective.steps_done += 1
        return loss

    def terms(self, *x: Tensor, index: Tensor | None = None) -> ObjectiveTerms:
        """The terms and the loss for each observation."""
        with own_parameters(*self._programs):
            return self.objective.terms(*self._programs, *x, index=index)


class Objective(ELBO):
    """Base of all objectives. Subclasses say in ``_of_batch`` what the loss of each observation is.

    Works under ``pyro.infer.SVI``, where it registers each module of the pair under a name of its own, and as a module,
    called with the pair, which leaves Pyro's parameter store untouched.

    Args:
        num_particles: K draws from q for each observation.
        kl_weight: β, or a function from the number of steps done to it.

    Attributes:
        steps_done: steps so far, of ``loss_and_grads`` or of the module: what a schedule of the KL weight is given. Set
            it when a training goes on.

    Raises:
        SettingsError: fewer than one particle, or a negative weight.
    """

    def __init__(self, num_particles: int, kl_weight: KLWeight = 1.0) -> None:
        super().__init__(num_particles=num_particles)  # type: ignore[no-untyped-call]
        if not (hasattr(num_particles, "__index__") and num_particles >= 1):
            raise SettingsError(f"num_particles must be a whole number of at least 1, got {num_particles!r}.")
        if not callable(kl_weight):
            ConstantWeight(kl_weight)
        self.kl_weight, self.steps_done = kl_weight, 0
        self._read: tuple[Program, Program, Pair] | None = None
        self._traits: tuple[Program, Traits] | None = None

    def __call__(self, model: Program, guide: Program) -> ObjectiveModule:  # type: ignore[override]
        """The objective of this pair, as a module: called with x it gives the loss."""
        return ObjectiveModule(model, guide, self)

    _source: ClassVar[Source] = "auto"

    def _refuse_untrainable(self, pair: Pair) -> None:
        refuse_untrainable(pair, type(self).__name__)

    @abstractmethod
    def _of_batch(self, pair: Pair, bound: BoundBatch) -> ObjectiveTerms:
        """Draw from torch's own generator and evaluate."""

    @property
    def current_kl_weight(self) -> float:
        """β at the step that comes next."""
        return self.kl_weight(self.steps_done) if callable(self.kl_weight) else self.kl_weight

    def _pair(self, model: Program, guide: Program, x: tuple[Tensor, ...], index: Tensor) -> Pair:
        if self._read is None or self._read[0] != model or self._read[1] != guide:
            with poutine.block(), undisturbed(model, guide, device=x[0].device), warnings.catch_warnings():
                warnings.simplefilter("ignore", ScaledSiteWarning)  # refused below
                pair = read_pair(model, guide, TensorRows(x, index), self._source)
                self._refuse_untrainable(pair)
                if pair.masks_latents:
                    pair.bind(x, index).draw(range(1), None)  # looks at what depends on them, in evaluation mode
            self._read = (model, guide, pair)
        return self._read[2]

    @property
    def keyed(self) -> bool:
        """Whether the terms of the pair that was read last have noise for each observation; False before any was."""
        return self._read is not None and self._read[2].keyed

    def _guide_traits(self, guide: Program) -> Traits:
        if self._traits is None or self._traits[0] != guide:
            self._traits = (guide, traits_of(guide))
        return self._traits[1]

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """One plain run of the pair, model trace first: what ``pyro.infer.ELBO`` asks of its subclasses."""
        index = torch.arange(len(args[0]), device=args[0].device)
        guide_trace, model_trace = run_pair(model, guide, args, kwargs.get("index", index))
        return model_trace, guide_trace

    def terms(self, model: Program, guide: Program, *x: Tensor, index: Tensor | None = None) -> ObjectiveTerms:
        """The ELBO's two terms and the loss for each observation; draws come from torch's own generator."""
        parts = as_observations(x)
        return self.terms_of_rows(model, guide, parts, as_index(index, len(parts[0]), parts[0].device))

    def terms_of_rows(
        self,
        model: Program,
        guide: Program,
        x: Observations,
        index: Tensor,
        *,
        support_checked: bool = False,
        shared: SharedNoise | None = None,
    ) -> ObjectiveTerms:
        """As :meth:`terms`, for rows of a data set whose indices were checked once, as :func:`bayes_vae.fit` does.

        Args:
            model, guide: the pair.
            x: observations.
            index: their indices, shape (N,), no two the same.
            support_checked: whether these rows were already found to lie in the support of the likelihood.
            shared: noise of a batch of which these are some rows, where several processes share it.
        """
        if torch.is_grad_enabled() and shared is None:
            self.guide_admits(guide, index)
        pair = self._pair(model, guide, x, index)
        bound = pair.bind(x, index)
        bound.support_checked, bound.shared = support_checked, shared
        return self._of_batch(pair, bound)

    def guide_admits(self, guide: Program, index: Tensor) -> None:
        """Tell a guide that has parameters for each observation that these are trained on.

        Of a batch that several processes share, each tells it of all rows.
        """
        self._guide_traits(guide).admit_rows(index)

    def differentiable_loss(self, model: Program, guide: Program, *x: Tensor, **kwargs: Any) -> Tensor:
        """Minus the objective of the batch, summed over its observations; differentiable, nats."""
        return self.terms(model, guide, *x, **kwargs).loss.sum()

    def loss(self, model: Program, guide: Program, *x: Tensor, **kwargs: Any) -> float:
        """Minus the objective of the batch, summed, as a number."""
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, *x, **kwargs))

    def loss_and_grads(self, model: Program, guide: Program, *x: Tensor, **kwargs: Any) -> float:
        """Register the pair's parameters with Pyro's store, as ``SVI`` expects, run backward, and count the step.

        Raises:
            ProgramError: the pair has no parameter that could be trained, or the store holds another module's
                parameters under the names of this one's.
        """
        refuse_sharing(model, guide)
        with poutine.trace(param_only=True) as captured:
            for program in (model, guide):
                for owner in modules_of(program):
                    register_parameters(owner)
            loss = self.differentiable_loss(model, guide, *x, **kwargs)
        refuse_nothing_to_train(captured.trace.nodes)
        refuse_stale(captured.trace.nodes)
        loss.backward()
        self.steps_done += 1
        return float(loss.detach())
