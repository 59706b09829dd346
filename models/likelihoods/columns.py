"""The likelihood of a table whose columns are of different kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions.column_groups import ColumnGroups
from bayes_vae.distributions.observed import by_number
from bayes_vae.errors import SettingsError
from bayes_vae.models.likelihoods.likelihood import Likelihood
from bayes_vae.parts.registry import build_part, find

__all__ = ["ColumnsLikelihood"]


class ColumnsLikelihood(Likelihood):
    r"""Groups of columns, each with a likelihood of its own: lengths, yes or no, one of a few, counts.

    .. math:: \log p(x \mid z) = \sum_{g} \sum_{i \in g} \log p_g(x_i \mid f_i(z))

    A group is written NAME=LIKELIHOOD:COLUMNS, such as ``body=normal:height+weight``: columns by name or by number,
    0-9 for a range, * for all that no other group has. Each column belongs to one group. The decoder outputs for each
    column as many parameters as the group with the most of them takes; the others leave the rest unread.

    Densities of some groups and probabilities of others make a density together, so it has no bits per dimension.
    ``elbo_terms`` gives the expected log likelihood of each group. Fits real values and counts, policy ``none``.

    Args:
        data_shape: shape of one observation.
        groups: of the columns.
        scale: of normal and Laplace groups, as :class:`~bayes_vae.models.NormalLikelihood` takes it.
        noise: likewise; with "shared" one scale for each group.
        columns: names of the columns, or none.
        largest: the largest value of each column, from which a categorical group knows its number of values.

    Raises:
        SettingsError: no group, one that is not written so, an unknown likelihood, or columns in no group or in two.
    """

    def __init__(
        self,
        data_shape: Sequence[int],
        groups: Sequence[str] = (),
        scale: float = 0.2,
        noise: str = "fixed",
        columns: Sequence[str] = (),
        largest: Sequence[float] = (),
    ) -> None:
        known: dict[str, Any] = {"columns": tuple(columns)} if columns else {}
        known |= {"largest": tuple(largest)} if any("=categorical:" in group for group in groups) else {}
        super().__init__(data_shape, groups=tuple(groups), scale=scale, noise=noise, **known)
        count, most = self.data_shape.numel(), 1
        self.families: Any = nn.ModuleDict()
        for name, likelihood, chosen in _read_groups(groups, columns, count):
            options: dict[str, Any] = {"scale": scale, "noise": noise} if likelihood in ("normal", "laplace") else {}
            if likelihood == "categorical":
                options = {"num_categories": _num_categories(name, chosen, largest)}
            part = build_part("likelihood", {"name": likelihood, **options}, data_shape=(len(chosen),))
            self.families[f"of_{name}"], most = part, max(most, part.outputs_per_number)  # "items" is taken, say
            self.register_buffer(f"columns_of_{name}", torch.tensor(chosen), persistent=False)
        self.outputs_per_number = most

    def parts(self) -> Iterator[tuple[str, Any, Tensor]]:
        """Name, likelihood and columns of each group."""
        for key, part in self.families.items():
            name = key.removeprefix("of_")
            yield name, part, getattr(self, f"columns_of_{name}")

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): the groups' numbers, independent of each other."""
        flat = parameters.flatten(parameters.dim() - len(self.data_shape)) if self.data_shape else parameters[..., None]
        families, columns = {}, {}
        for name, part, own in self.parts():
            columns[name], families[name] = own, by_number(part(flat[..., : part.outputs_per_number, own]))
        return ColumnGroups(families, columns, self.data_shape, len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """Of each group its own; zeros where a group has fewer parameters than another."""
        flat = mean.flatten() if self.data_shape else mean[None]
        outputs = flat.new_zeros(self.outputs_per_number, len(flat))
        for _, part, own in self.parts():
            columns = own.to(flat.device)
            outputs[: part.outputs_per_number, columns] = part.initial_outputs(flat[columns])
        return outputs.reshape(self.outputs_per_number, *self.data_shape)


def _read_groups(groups: Sequence[str], columns: Sequence[str], count: int) -> Iterator[tuple[str, str, list[int]]]:
    """Name, likelihood and columns of each group."""
    if not groups:
        raise SettingsError(
            "the likelihood 'columns' needs groups, each NAME=LIKELIHOOD:COLUMNS, such as body=normal:height+weight "
            "visits=poisson:* (--groups on the command line)."
        )
    read = []
    for group in groups:
        found = re.fullmatch(r"(\w+)=([\w-]+):(.+)", group)
        if found is None or found[2] == "columns":
            raise SettingsError(
                f"a group of columns is written NAME=LIKELIHOOD:COLUMNS, such as body=normal:height+weight, got "
                f"{group!r}."
            )
        read.append((found[1], find("likelihood", found[2]).name, found[3].split("+")))
    if len({name for name, *_ in read}) < len(read):
        raise SettingsError(f"two groups of columns have one name: {', '.join(name for name, *_ in read)}.")
    named = {
        name: [i for word in chosen if word != "*" for i in _places(word, columns, count)] for name, _, chosen in read
    }
    taken = [place for places in named.values() for place in places]
    rest = [place for place in range(count) if place not in taken]
    for name, likelihood, chosen in read:
        own = [*named[name], *(rest if "*" in chosen else [])]
        if not own:
            raise SettingsError(f"the group {name!r} has no column: every column is in another group.")
        taken += rest if "*" in chosen else []
        yield name, likelihood, own
    if sorted(taken) != list(range(count)):
        wrong = next(place for place in range(count) if taken.count(place) != 1)
        label = repr(columns[wrong]) if columns else f"number {wrong}"
        raise SettingsError(
            f"each column belongs to one group, but the column {label} is in {taken.count(wrong)}. Name every column "
            "once, or write * in one group for the rest."
        )


def _places(word: str, columns: Sequence[str], count: int) -> list[int]:
    """The columns that one word means: a name, a number, or a range of numbers."""
    names = [name.replace(" ", "_") for name in columns]
    if word in names:
        return [names.index(word)]
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
    if found is None or not int(found[1]) <= int(found[2] or found[1]) < count:
        known = ", ".join(names) if columns else f"the numbers 0 to {count - 1}"
        raise SettingsError(f"there is no column {word!r}: the columns are {known}.")
    return list(range(int(found[1]), int(found[2] or found[1]) + 1))


def _num_categories(name: str, columns: Sequence[int], largest: Sequence[float]) -> int:
    """One more than the largest value of a group's columns."""
    if not largest:
        raise SettingsError(
            f"the group {name!r} is categorical, and how many values it has is not known: give largest, the largest "
            "value of each column, beside groups."
        )
    return max(2, 1 + int(max(largest[column] for column in columns)))
