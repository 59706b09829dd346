"""The pair that is looked at, its observations, and how it can be read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bayes_vae.data import Data, Split
from bayes_vae.data.split import inputs_of
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.coupling import refuse_what_changes_by_itself
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.factorized import FactorizedPair, as_factorized, factorized, without_distributions
from bayes_vae.terms.opened import OpenPair, open_pair
from bayes_vae.terms.program import Observations, Program, modules_of, prepare_guide, take_rows
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import TensorRows
from bayes_vae.terms.stream import Pair, read_pair

__all__ = ["Rows", "Subject"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Observations, as a tuple of tensors with a common first dimension, and their indices, (N,)."""

    x: Observations
    index: Tensor

    def first(self, count: int) -> Rows:
        """The first of them."""
        return self.take(slice(count))

    def take(self, rows: Tensor | slice) -> Rows:
        """Some of them."""
        return Rows(take_rows(self.x, rows), self.index[rows])

    def __iter__(self) -> Iterator[Any]:
        """Both, for a call that takes them in turn."""
        yield self.x
        yield self.index


@dataclass(frozen=True, eq=False)
class Subject:
    """A pair and its data, and what was measured of them so far.

    Attributes:
        model, guide: the programs.
        data: the data set.
        seed: of every draw.
        most_train, most_test: rows that are looked at.
        history: of the training, one row of named figures for each epoch.
        measured: the numbers by name.
        notes: name of a number → why it could not be measured, or in words what it does not say.
        void: names of numbers of parts that the pair does not have.
    """

    model: Program
    guide: Program
    data: Data
    seed: int = 0
    most_train: int = 800
    most_test: int = 300
    history: Sequence[Mapping[str, float]] = ()
    measured: dict[str, Measurement] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The parameters of both programs, by name."""
        return {
            f"{role}.{name}": weight
            for role, program in (("model", self.model), ("guide", self.guide))
            for module in modules_of(program)
            for name, weight in module.named_parameters()
            if weight.is_floating_point()
        }

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((weight.device for weight in self.weights.values()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next((weight.dtype for weight in self.weights.values()), torch.float32)

    @cached_property
    def train(self) -> Rows:
        """The first training observations."""
        return self.rows(self.data.train, self.most_train)

    @cached_property
    def test(self) -> Rows:
        """The first test observations."""
        return self.rows(self.data.test, self.most_test)

    def rows(self, split: Split, most: int, *, training: bool = False) -> Rows:
        """The first observations of a split, with their labels where the model takes them."""
        rows = torch.arange(min(most, len(split)), device="cpu")
        x = split.observations(rows, seed=self.seed, device=self.device).to(self.dtype)
        index = split.index[rows].to(self.device)
        if split is not self.data.train:
            prepare_guide(self.model, self.guide, x, index)
        return Rows(inputs_of(self.model, split, x, rows, training=training), index)

    @cached_property
    def exposed(self) -> ExposedPair:
        """The pair as distributions.

        Raises:
            NotDefinedError: it does not expose them.
        """
        pair = self.pair
        if not isinstance(pair, ExposedPair):
            raise NotDefinedError(without_distributions(pair, TensorRows(self.train.x, self.train.index)))
        return pair

    @cached_property
    def _read(self) -> Pair:
        """How the terms of the pair are read, found out once."""
        return read_pair(self.model, self.guide, TensorRows(self.train.x, self.train.index))

    @cached_property
    def pair(self) -> Pair:
        """The pair as distributions, exposed or read off its traces, else its latents alone, else as traces."""
        return as_factorized(self._read, TensorRows(self.train.x, self.train.index))

    def refuse_what_changes_by_itself(self, rows: Rows) -> None:
        """Refuse a pair that gives something else at a second call, for the same rows and latents.

        Raises:
            UnrepeatableError: such a pair.
        """
        refuse_what_changes_by_itself(self._read, rows.x, rows.index)

    @contextmanager
    def opened(self, rows: Rows, *purpose: str) -> Iterator[OpenPair]:
        """The pair opened with some rows, and with a seed of its own for a purpose."""
        seed = derived_seed(self.seed, *purpose) if purpose else self.seed
        with open_pair(self.model, self.guide, rows.x, index=rows.index, seed=seed, pair=self._read) as opened:
            yield opened

    @cached_property
    def factorized(self) -> FactorizedPair:
        """The pair as factorized normals.

        Raises:
            NotDefinedError: it is no such pair; the message says why.
        """
        wanted = "reads q's means and deviations"
        rows = TensorRows(self.train.x, self.train.index)
        return factorized(self.pair, rows, "this check", wanted)

    def copy(self) -> Subject:
        """The same on parameters of its own. What was held stays so, unless all is, as in a pair put to use.

        Raises:
            NotDefinedError: programs without a module behind them, or that cannot be copied.
        """
        if not self.weights:
            raise NotDefinedError(
                "neither program is or belongs to a module with parameters: there is nothing to copy."
            )
        try:
            model, guide = copy.deepcopy((self.model, self.guide))
        except (RuntimeError, TypeError) as error:
            raise NotDefinedError(f"the pair cannot be copied, so no copy is trained ({error}).") from error
        modules = [module for program in (model, guide) for module in modules_of(program)]
        if not any(weight.requires_grad for module in modules for weight in module.parameters()):
            for module in modules:
                module.requires_grad_(True)
        return replace(self, model=model, guide=guide)
