"""A data set: its three splits, its policy, and the digest by which it is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Size, Tensor

from bayes_vae.data.classes import class_labels, first_of_each_class
from bayes_vae.data.kinds import KIND_WORDS
from bayes_vae.data.own_split import permutation
from bayes_vae.data.policies import BINARIZING, ObservedAs
from bayes_vae.data.split import Split
from bayes_vae.data.standardization import Standardization
from bayes_vae.data.stored_rows import pieces
from bayes_vae.errors import SupportError
from bayes_vae.parts.part import Part
from bayes_vae.parts.registry import listed, rows
from bayes_vae.settings import DataKind
from bayes_vae.vocabulary.conditions import missing_text

__all__ = ["Data", "SplitBy", "require_binary", "require_fit", "require_kind", "split_data"]

SplitBy = Literal["load_data", "caller", "data set"]
"""Who chose which rows are for training, validation and the test."""

SPLIT_WORDS: dict[SplitBy, str] = {
    "load_data": "split at random",
    "caller": "your split",
    "data set": "the data set's split",
}

BERNOULLI_KINDS: tuple[DataKind, ...] = ("binary",)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in three splits that share no observation.

    Attributes:
        name: which data set.
        train: the rows that the parameters are fitted to.
        validation: the rows that choose the best epoch.
        test: the rows that every reported figure is of.
        kind: what the values are: binary, gray (pixels), counts or real.
        label_names: what the labels 0, 1, 2, … stand for; empty where they are numbers, or where there are none.
        columns: names of the columns of a table.
        split_by: who chose the splits: ``load_data``, at random; the ``caller``; or the ``data set``, which comes with
            test rows of its own.
        standardization: what was taken from the values and what they were divided by; None where nothing was.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    kind: DataKind
    label_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    split_by: SplitBy = "load_data"
    standardization: Standardization | None = None

    @property
    def observation_kind(self) -> DataKind:
        """What observations are: as the values, or binary under a policy that makes zeros and ones of them."""
        return "binary" if self.policy in BINARIZING else self.kind

    def __repr__(self) -> str:
        """Name, kind, policy, shape and sizes."""
        sizes = ", ".join(f"{name} {len(getattr(self, name)):,}" for name in ("train", "validation", "test"))
        shape = tuple(self.data_shape)
        about = f"kind {self.kind}, policy {self.policy}, observations of shape {shape}"
        scaled = ", standardized" if self.standardization else ""
        gaps = f", {missing_text(self.missing_share)}" if self.missing_share else ""
        return f"Data {self.name!r}: {about}{scaled}{gaps}; {sizes} ({SPLIT_WORDS[self.split_by]})"

    @property
    def missing_share(self) -> float:
        """Share of the numbers of all splits that are missing."""
        gaps = [split.missing.double().flatten() for split in self._splits if split.missing is not None]
        return float(torch.cat(gaps).mean()) if gaps else 0.0

    @property
    def _splits(self) -> tuple[Split, Split, Split]:
        return self.train, self.validation, self.test

    @property
    def policy(self) -> ObservedAs:
        """How pixels become observations."""
        return self.train.policy

    @property
    def data_shape(self) -> Size:
        """Shape of one observation."""
        return self.train.data_shape

    @cached_property
    def num_classes(self) -> int:
        """C, one more than the largest label of any split.

        Raises:
            DataError: there are no labels, or they number no classes.
        """
        splits = (self.train, self.validation, self.test)
        return 1 + max(int(class_labels(split.labels, "num_classes").max()) for split in splits if len(split) > 0)

    def with_visible_labels(self, num_labelled: int) -> Data:
        """The same data, of whose training labels a model that infers them sees so many.

        Always the same ones: the first row of each class, then the second of each, and so on, so that the classes have
        as many each as they go. Validation and test labels are never shown to such a model.

        Args:
            num_labelled: how many training rows keep their label.

        Raises:
            DataError: there are no labels, they number no classes, or fewer rows have one.
        """
        visible = first_of_each_class(class_labels(self.train.labels, "num_labelled"), num_labelled)
        return replace(self, train=replace(self.train, visible=visible))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the values, of which are missing, of what stands beside x, and of which row is in which split."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            gaps = () if split.missing is None else (split.missing,)
            for tensor in (split.values, split.index, *split.beside, *gaps):
                digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
                for piece in pieces(tensor):
                    digest.update(piece.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """What a run directory stores of the data: name, policy, kind, digest, sizes, data_shape and label_names.

        Where training sees only some of the labels, also "num_labelled"; of a table with names "columns"; of
        standardized values "standardization"; of a split that is not load_data's own "split_by"; of data with missing
        values "missing_share".
        """
        visible = self.train.visible
        labelled = {} if visible is None else {"num_labelled": int(visible.sum())}
        return {
            "name": self.name,
            "policy": self.policy,
            "kind": self.kind,
            "digest": self.digest,
            "sizes": {name: len(getattr(self, name)) for name in ("train", "validation", "test")},
            "data_shape": list(self.data_shape),
            "label_names": list(self.label_names),
            **labelled,
            **({"columns": list(self.columns)} if self.columns else {}),
            **({"split_by": self.split_by} if self.split_by != "load_data" else {}),
            **({"standardization": self.standardization.to_json()} if self.standardization else {}),
            **({"missing_share": self.missing_share} if self.missing_share else {}),
        }

    @property
    def log_evidence_offsets(self) -> Tensor:
        r"""What to add to log p(x) of standardized test rows for densities in the data's units, shape (N,), nats.

        .. math:: -\sum_{d \text{ observed}} \log s_d

        Zero where nothing was standardized; the same for every row where no value is missing.
        """
        count, missing = len(self.test), self.test.missing
        if self.standardization is None:
            return torch.zeros(count, dtype=torch.float64)
        logs = self.standardization.scale.log().expand(count, *self.data_shape)
        return -(logs if missing is None else logs.masked_fill(missing, 0.0)).reshape(count, -1).sum(1)

    def in_original_units(self, x: Tensor) -> Tensor:
        """Observations or draws of the model, shape (…, *event), in the units of the data as they were brought."""
        return x if self.standardization is None else self.standardization.undo(x)


def split_data(
    name: str,
    values: Tensor,
    labels: Tensor | None,
    policy: ObservedAs,
    sizes: Sequence[int],
    kind: DataKind,
    label_names: tuple[str, ...] = (),
) -> Data:
    """Split rows at random, always in the same way.

    Args:
        name: of the data set.
        values: shape (N, *event).
        labels: shape (N,), or None.
        policy: how pixels become observations.
        sizes: rows of the training, the validation and the test set; N in all.
        kind: what the values are.
        label_names: what the labels 0, 1, 2, … stand for.
    """
    rows = Split(values, labels, torch.arange(len(values)), policy)
    train, validation, test = (rows[part] for part in torch.split(permutation(len(values)), list(sizes)))
    return Data(name, train, validation, test, kind, label_names)


def require_kind(data: Data, kinds: Collection[DataKind], likelihood: str) -> None:
    """Refuse data that a likelihood has no density for.

    Args:
        data: the data set.
        kinds: what the likelihood takes.
        likelihood: its name.

    Raises:
        SupportError: names the kind of the observations and those that the likelihood takes.
    """
    if data.observation_kind not in kinds:
        fitting = listed(part.name for part in rows("likelihood") if data.observation_kind in part.data_kinds)
        remedy = f"Choose a likelihood that takes them, {fitting}, or say the kind (--kind) if they are something else."
        if data.kind in kinds:
            remedy = "Choose the data policy 'none', which leaves pixels as they are, or a Bernoulli likelihood."
        raise SupportError(
            f"a {likelihood} likelihood takes {' or '.join(KIND_WORDS[kind] for kind in kinds)}, but the observations "
            f"of the data set {data.name!r} are {KIND_WORDS[data.observation_kind]} (kind {data.observation_kind!r}, "
            f"data policy {data.policy!r}). {remedy}"
        )


def require_fit(data: Data, likelihood: Part | None) -> None:
    """Refuse data that a likelihood has no density for.

    Args:
        data: the data set.
        likelihood: its row in the table of parts; None, of a model from elsewhere, takes any data.

    Raises:
        SupportError: as :func:`require_kind`, and for a Bernoulli as :func:`require_binary`; gray pixels of which each
            is 0 or 1, for a density.
    """
    if likelihood is None:
        return
    if likelihood.data_kinds == BERNOULLI_KINDS:
        require_binary(data)
        return
    require_kind(data, likelihood.data_kinds, likelihood.name)
    if data.observation_kind == "gray" and "discrete x" not in likelihood.offers and _all_zeros_and_ones(data):
        raise SupportError(
            f"a {likelihood.name} likelihood is a density of values in between, but every value of the data set "
            f"{data.name!r} is 0 or 1: there it would grow without bound. Say the kind 'binary' and choose the "
            "likelihood 'bernoulli'."
        )


def require_binary(data: Data) -> None:
    """Refuse gray values for a Bernoulli likelihood, which is not normalized on them.

    Raises:
        SupportError: names binarization and the continuous Bernoulli; or the kinds, for counts and real values.
    """
    if data.observation_kind != "gray":
        require_kind(data, BERNOULLI_KINDS, "Bernoulli")
    if data.policy in BINARIZING:
        return
    if not _all_zeros_and_ones(data):
        raise SupportError(
            f"a Bernoulli likelihood takes zeros and ones, but the data set {data.name!r} under the policy 'none' has "
            "values in between or outside. On gray pixels it is not a normalized likelihood: binarize them (data "
            "policy 'stochastic', 'static' or 'threshold') or use a continuous Bernoulli likelihood (likelihood "
            "'continuous-bernoulli')."
        )


def _all_zeros_and_ones(data: Data) -> bool:
    """Whether every value of every split is black or white."""
    for split in (data.train, data.validation, data.test):
        one = 255 if split.values.dtype == torch.uint8 else 1
        if not all(bool(((values == 0) | (values == one)).all()) for values in pieces(split.values)):
            return False
    return True
