"""A guide around an encoder written elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import pyro.distributions as dist
from torch import Size, Tensor, nn

from bayes_vae.distributions import diagonal_normal, distribution_of_rows
from bayes_vae.errors import NumericalError, SettingsError, ShapeError
from bayes_vae.guides.guide import SingleLatentGuide
from bayes_vae.guides.observation_rows import seen, zeros_where_missing
from bayes_vae.networks.foreign import ForeignNetwork, describe_output, keeps_order, reshape_rows, shape_text

__all__ = ["EncoderOutput", "NetworkGuide"]

EncoderOutput: TypeAlias = Literal[
    "loc-and-scale", "loc-and-variance", "loc-and-log-scale", "loc-and-log-variance", "distribution"
]
"""What the two outputs of an encoder are, in this order; or q(z given x) itself."""

_SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "loc-and-scale": lambda second: second,
    "loc-and-variance": lambda second: second.sqrt(),
    "loc-and-log-scale": lambda second: second.exp(),
    "loc-and-log-variance": lambda second: (second / 2).exp(),
}

_POSITIVE = ("loc-and-scale", "loc-and-variance")


class NetworkGuide(SingleLatentGuide):
    r"""Factorized normal guide whose means and scales are what an encoder written elsewhere returns.

    .. math:: q(z \mid x) = N\big(z; m(x), \operatorname{diag}(s(x))^2\big)

    Args:
        encoder: a torch module, or a method of one.
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        encoder_output: what its outputs are: m and s, m and s², m and log s, or m and log s²; or "distribution", q
            itself, then of whatever family.
        split: whether it returns one tensor, shape (N, 2 D), m first, in place of a tuple of two.
        input_shape: the shape in which it takes an observation; ``data_shape`` when None.
        mask_input: whether the encoder is called with (x, seen): seen has the shape of x, 1 where a number was observed
            and 0 where it is missing. Without, it is called with x alone. Missing numbers are zeros in x.
        fields: which parts of what it returns are its output; the whole when empty.

    Raises:
        SettingsError: another ``encoder_output``, or an encoder that cannot be held.
        ShapeError: an ``input_shape`` that holds other numbers than ``data_shape``, or in another order.
    """

    def __init__(
        self,
        encoder: nn.Module | Callable[..., Any],
        latent_dim: int,
        data_shape: Sequence[int],
        encoder_output: EncoderOutput,
        *,
        split: bool = False,
        input_shape: Sequence[int] | None = None,
        mask_input: bool = False,
        fields: Sequence[str | int] | str = (),
    ) -> None:
        super().__init__(mask_input=mask_input)
        if encoder_output not in get_args(EncoderOutput):
            raise SettingsError(
                f"unknown encoder_output {encoder_output!r}: choose one of {', '.join(get_args(EncoderOutput))}."
            )
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        self.input_shape = self.data_shape if input_shape is None else Size(input_shape)
        if not keeps_order(self.input_shape, self.data_shape):
            raise ShapeError(
                f"input_shape={tuple(self.input_shape)} does not hold the numbers of an observation of shape "
                f"{tuple(self.data_shape)} in their order. Flatten, or leave out or add dimensions of size 1; for "
                "another order, permute inside the encoder."
            )
        self.encoder_output, self.split = encoder_output, split
        self.encoder = ForeignNetwork("encoder", encoder, fields)

    @property
    def program_description(self) -> str:
        """The encoder, and what its outputs were said to be."""
        return f"the encoder {self.encoder.description}, read as {self.encoder_output}"

    def variational_posterior(self, x: Tensor, *covariates: Tensor) -> dist.TorchDistribution:
        """q(z given x).

        Raises:
            ShapeError: x is not of shape (N, *data_shape), or the encoder returns something else than was said.
            NumericalError: a scale that is not above 0.

        Warns:
            MissingValuesWarning: once, where numbers are missing and the encoder takes no mask.
        """
        if x.shape[1:] != self.data_shape or x.dim() != len(self.data_shape) + 1:
            raise ShapeError(
                f"this guide takes observations of shape {shape_text(self.data_shape)}, got {tuple(x.shape)}. Reshape "
                f"x, or build the pair with data_shape={tuple(x.shape[1:])}."
            )
        returned = self.encode(x, *covariates)
        if self.encoder_output == "distribution":
            return distribution_of_rows("encoder", returned, len(x), (self.latent_dim,))
        loc, second = self._two(returned, len(x))
        if self.encoder_output in _POSITIVE and not bool((second > 0).all()):
            raise NumericalError(
                f"encoder_output={self.encoder_output!r} was said, but the encoder's second output holds "
                f"{float(second.min()):.4g}, and no {self.encoder_output.removeprefix('loc-and-')} is 0, negative or "
                "NaN. If the encoder outputs a logarithm, say 'loc-and-log-scale' or 'loc-and-log-variance'."
            )
        return diagonal_normal(loc, _SCALES[self.encoder_output](second))

    def encode(self, x: Tensor, *covariates: Tensor) -> Any:
        """What the encoder returns for x of shape (N, *data_shape), zeros where a number is missing."""
        numbers, missing = zeros_where_missing(self, x)
        parts = (numbers, seen(missing, x)) if self.mask_input else (numbers,)
        rows = [part.reshape(len(x), *self.input_shape) for part in parts]
        return self.encoder(*rows, *covariates)

    def _two(self, output: Any, num_rows: int) -> tuple[Tensor, Tensor]:
        """The encoder's two outputs, each of shape (N, D)."""
        shape, parts = (self.latent_dim,), self._parts(output, num_rows)
        if len(parts) != 2 or not all(isinstance(part, Tensor) for part in parts):
            raise ShapeError(self._unexpected(output, num_rows))
        first, second = self.encoder_output.split("-and-")
        what = f"with latent_dim={self.latent_dim} the encoder's"
        loc = reshape_rows(f"{what} first output, {first},", parts[0], num_rows, shape)
        return loc, reshape_rows(f"{what} second output, {second},", parts[1], num_rows, shape)

    def _parts(self, output: Any, num_rows: int) -> Sequence[Any]:
        """What the encoder returned, taken apart as was said; empty where it cannot be."""
        if not self.split:
            return output if isinstance(output, tuple | list) else ()
        if not isinstance(output, Tensor) or output.shape[:2] != (num_rows, 2 * self.latent_dim):
            return ()
        return output.chunk(2, dim=1)

    def _unexpected(self, output: Any, num_rows: int) -> str:
        two, both = f"{(num_rows, self.latent_dim)}", f"{(num_rows, 2 * self.latent_dim)}"
        expected = f"one tensor of shape {both}, loc first" if self.split else f"a tuple of two tensors of shape {two}"
        said = f"encoder_output={self.encoder_output!r}, split={self.split} and latent_dim={self.latent_dim}"
        if isinstance(output, Tensor):
            todo = "If the two halves of this tensor are the two outputs, say split=True" if not self.split else ""
            todo = todo or "Say the latent_dim that the encoder was built with"
        elif self.split:
            todo = "Leave split out for an encoder that returns a tuple"
        else:
            todo = (
                "Pass the part of the VAE that encodes, such as vae.encode, or a small module that returns the two; "
                "an encoder neither draws z nor decodes it"
            )
        return f"{said} ask for an encoder that returns {expected}, but it returned {describe_output(output)}. {todo}."
