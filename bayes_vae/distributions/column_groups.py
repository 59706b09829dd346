"""Groups of numbers of one observation, each group with a family of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["ColumnGroups"]


class _EachItsOwn(constraints.Constraint):
    """Each group's numbers lie in its own support."""

    is_discrete = False

    def __init__(self, groups: ColumnGroups) -> None:
        self.groups = groups
        super().__init__()

    def __repr__(self) -> str:
        return f"of the groups {', '.join(self.groups.families)}"

    def check(self, value: Tensor) -> Tensor:
        """Which numbers lie in the support of their group; over whole events where they are one."""
        flat = self.groups.flat(value)
        inside = torch.ones_like(flat, dtype=torch.bool)
        for family, columns in zip(self.groups.families.values(), self.groups.columns.values(), strict=True):
            inside[..., columns] = family.support.check(flat[..., columns])
        return inside.all(-1) if self.groups.event_shape else inside.reshape(value.shape)


class ColumnGroups(dist.TorchDistribution):
    r"""Numbers that are independent, in groups that have families of their own.

    .. math:: \log p(x) = \sum_g \sum_{i \in g} \log p_g(x_i)

    Args:
        families: name of a group → the distributions of its numbers, batch shape (*batch, numbers of the group).
        columns: name of a group → which of the P numbers of an observation are its own; each number is in one group.
        data_shape: of one observation, P numbers in all.
        event_dim: number of event dimensions: those of ``data_shape``, or 0, which makes them batch dimensions.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        families: Mapping[str, Any],
        columns: Mapping[str, Tensor],
        data_shape: Sequence[int],
        event_dim: int,
    ) -> None:
        self.families, self.columns, self.data_shape = dict(families), dict(columns), Size(data_shape)
        batch = Size(next(iter(families.values())).batch_shape[:-1]) + self.data_shape
        split = len(batch) - event_dim
        super().__init__(batch[:split], batch[split:], validate_args=False)

    @property
    def takes(self) -> tuple[str, str]:
        """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""
        each = ", ".join(f"{name}: {family.support}" for name, family in self.families.items())
        return f"each group of columns takes values of its own support ({each})", "Put columns into groups that fit."

    @property
    def support(self) -> constraints.Constraint:
        """Each group's own."""
        return _EachItsOwn(self)

    def numbers(self) -> ColumnGroups:
        """The same with each number in the batch shape."""
        return ColumnGroups(self.families, self.columns, self.data_shape, 0)

    def flat(self, value: Tensor) -> Tensor:
        """Values (*any, *data_shape) as (*any, P)."""
        return value.reshape(*value.shape[: value.dim() - len(self.data_shape)], self.data_shape.numel())

    def _together(self, of: Mapping[str, Tensor]) -> Tensor:
        """Values of each group's numbers in the places of their columns, (*any, *data_shape)."""
        order = torch.cat([self.columns[name] for name in of])
        result = torch.cat(list(of.values()), -1)[..., order.argsort()]
        return result.reshape(*result.shape[:-1], *self.data_shape)

    @property
    def mean(self) -> Tensor:
        """Mean of each number."""
        return self._together({name: family.mean for name, family in self.families.items()})

    @property
    def variance(self) -> Tensor:
        """Variance of each number."""
        return self._together({name: family.variance for name, family in self.families.items()})

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw every group, shape (*sample_shape, *batch, *data_shape)."""
        return self._together({name: family.sample(Size(sample_shape)) for name, family in self.families.items()})

    def log_prob_by_number(self, value: Tensor) -> Tensor:
        """Log density of each number, (*batch, *data_shape)."""
        flat, names = self.flat(value), list(self.families)
        return self._together({name: self.families[name].log_prob(flat[..., self.columns[name]]) for name in names})

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, summed over the event dimensions."""
        each = self.log_prob_by_number(value)
        return self.flat(each).sum(-1) if self.event_shape else each

    def by_group(self, values: Tensor) -> dict[str, Tensor]:
        """Sums of values (*any, *data_shape) over each group's numbers, name → (*any)."""
        flat = self.flat(values)
        return {name: flat[..., columns].sum(-1) for name, columns in self.columns.items()}

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> ColumnGroups:
        """The same distribution with a larger batch shape."""
        shape, events = Size(batch_shape), len(self.event_shape)
        if shape == self.batch_shape:
            return self
        own = shape if events else shape[: len(shape) - len(self.data_shape)]
        families = {name: family.expand(own + family.batch_shape[-1:]) for name, family in self.families.items()}
        return ColumnGroups(families, self.columns, self.data_shape, events)
