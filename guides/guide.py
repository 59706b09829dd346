"""What every guide is: a Pyro program of q(z given x), and a plain torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyro
import pyro.distributions as dist
from torch import Size, Tensor, nn

from bayes_vae.terms.registration import register_at_each_call

__all__ = ["Guide", "SingleLatentGuide"]


class Guide(nn.Module, ABC):
    """An approximate posterior q(z given x) as a Pyro program."""

    data_shape: Size
    """Shape of one observation, of guides that have one."""

    mask_input: bool = False
    """Whether its encoder reads, beside the numbers, which of them were observed."""

    missing_noted: bool = False
    """Whether it was said that the encoder is not told which numbers are missing."""

    needs_index: bool = False
    """Whether the program takes ``index=``, the observations' indices (guides with parameters per observation)."""

    def __init__(self, *, mask_input: bool = False, **settings: Any) -> None:
        super().__init__()
        self.mask_input = mask_input
        self.settings: dict[str, Any] = settings | ({"mask_input": True} if mask_input else {})
        """The constructor's arguments, from which :func:`bayes_vae.load` rebuilds the guide."""

    @property
    def input_size(self) -> int:
        """Numbers of an observation that an encoder of rows reads: those of x, with ``mask_input`` twice as many."""
        return self.data_shape.numel() * (2 if self.mask_input else 1)

    @abstractmethod
    def forward(self, x: Tensor) -> Any:
        """The Pyro program: sample each latent given x."""

    def admit(self, index: Tensor) -> None:
        """Take note of observations that are trained on; nothing to do for a guide with an encoder.

        The objectives call it with every batch, where the guide ``needs_index``.

        Args:
            index: their indices, shape (N,).
        """

    def prepare(self, model: Any, x: Tensor, index: Tensor, *, again: bool = False) -> None:
        """Get ready for observations that training has not seen; nothing to do for a guide with an encoder.

        Where the guide ``needs_index``, ``bayes_vae.fit`` calls it with the validation rows after each epoch, and the
        commands on a run with the rows that they measure.

        Args:
            model: of the pair.
            x: observations, shape (N, *data_shape).
            index: their indices, shape (N,).
            again: whether the guide was prepared for the same x before, and only the model has changed a little.
        """

    def register(self) -> None:
        """Declare the parameters to Pyro under names unique to this instance, for Pyro's own losses in ``SVI``."""
        register_at_each_call(self)


class SingleLatentGuide(Guide):
    """A guide of one latent ``"z"`` for each observation.

    Subclasses say what :meth:`variational_posterior` is; the Pyro program follows from it.
    """

    @property
    def exposes_distributions(self) -> bool:
        """Whether the Pyro program is the one below, so that terms may be read off the distribution."""
        return type(self).forward is SingleLatentGuide.forward

    @abstractmethod
    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x) for x of shape (N, *data_shape); batch shape (N,), event shape (D,).

        A guide that ``needs_index`` takes ``index=`` too.
        """

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """The Pyro program of q(z given x).

        Args:
            x: observations, shape (N, *data_shape).
            index: the observations' indices, shape (N,), for a guide that ``needs_index``.

        Returns:
            one draw of z for each observation, shape (N, D).
        """
        given = {"index": index} if self.needs_index else {}
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.variational_posterior(x, **given))
