"""A model around a decoder written elsewhere."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.errors import NetworkOutputWarning, NumericalError, SettingsError, ShapeError
from bayes_vae.models.decoders_own import DecodersOwnLikelihood
from bayes_vae.models.likelihoods.normal import NormalLikelihood
from bayes_vae.models.model import PartsModel
from bayes_vae.networks.final_sigmoid import FinalSigmoid, at_the_ends, clamped_logits
from bayes_vae.networks.foreign import ForeignNetwork, describe_output, reshape_rows
from bayes_vae.networks.parameter_order import check_parameter_axis, parameters_first
from bayes_vae.parts.registry import build_part

__all__ = ["DecoderOutput", "NetworkModel"]

DecoderOutput: TypeAlias = Literal[
    "logits", "probabilities", "mean", "mean-and-log-scale", "parameters", "distribution"
]
"""What a decoder's output is; "parameters" are those that the likelihood's class describes."""

ENOUGH_SATURATED = 1e-3
"""Share of probabilities that are 0 or 1 from which on it is said: about one pixel of an MNIST digit."""


class NetworkModel(PartsModel):
    r"""A prior over z, and a likelihood whose parameters a decoder written elsewhere returns.

    .. math:: p(x, z) = p(z) \, p(x \mid f(z))

    Args:
        decoder: a torch module, or a method of one, from (N, D) to a row for each of N.
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        decoder_output: what its output is.
        parameter_axis: for likelihoods of several parameters for each number, which axis of the decoder's output they
            lie along: 1 for (N, C, *data_shape), −1 for (N, *data_shape, C). May be left out where the sizes say it, or
            the decoder returns a tuple.
        fields: which parts of what the decoder returns are its output; the whole when empty.
        likelihood: name of p(x given z), or a mapping of "name" and options; see ``bayes_vae.models.likelihoods``. Not
            looked at where the decoder returns a distribution.
        prior: name of p(z), or a mapping of "name" and options; see ``bayes_vae.models.priors``.

    Raises:
        SettingsError: a ``decoder_output`` that the likelihood does not take, an unknown name or option, or a decoder
            that cannot be held.
    """

    def __init__(
        self,
        decoder: nn.Module | Callable[..., Any],
        latent_dim: int,
        data_shape: Sequence[int],
        decoder_output: DecoderOutput,
        *,
        parameter_axis: int | None = None,
        fields: Sequence[str | int] | str = (),
        likelihood: str | Mapping[str, Any] = "bernoulli",
        prior: str | Mapping[str, Any] = "standard-normal",
    ) -> None:
        super().__init__()
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        own = decoder_output == "distribution"
        family: Any = (
            DecodersOwnLikelihood(self.data_shape)
            if own
            else build_part("likelihood", likelihood, data_shape=data_shape)
        )
        self.likelihood_family = family
        self.decoder_output = decoder_output if own else self._taken(decoder_output)
        count, name = self.likelihood_family.outputs_per_number, self.likelihood_family.name
        self._parameter_place = check_parameter_axis(parameter_axis, count, self.data_shape, name)
        self.decoder = ForeignNetwork("decoder", decoder, fields)
        self.prior_family = build_part("prior", prior, latent_dim=latent_dim, data_shape=data_shape)
        self._saturation_noted = False
        like = self.decoder.like
        for part in (self.likelihood_family, self.prior_family):
            part.to(device=like.device, dtype=like.dtype)

    def _taken(self, decoder_output: DecoderOutput) -> DecoderOutput:
        """Return the ``decoder_output`` if the likelihood takes it."""
        family = self.likelihood_family
        per_pixel = isinstance(family, NormalLikelihood) and family.outputs_per_number == 2
        taken = ("mean-and-log-scale",) if per_pixel else family.part.decoder_outputs
        if decoder_output not in taken:
            hint = f"choose one of {', '.join(get_args(DecoderOutput))}"
            if decoder_output == "mean-and-log-scale":
                hint = 'a scale for each pixel is the likelihood {"name": "normal", "noise": "per-pixel"}'
            elif decoder_output in get_args(DecoderOutput):
                hint = "say what the decoder's numbers are, or choose the likelihood that it was trained with"
            raise SettingsError(
                f"decoder_output={decoder_output!r} does not go with the likelihood {family.name!r}, which takes "
                f"{' or '.join(map(repr, taken))}: {hint}."
            )
        return decoder_output

    @property
    def program_description(self) -> str:
        """The decoder, and what its output was said to be."""
        likelihood = " ".join(
            [self.likelihood_family.name, *(f"{k}={v}" for k, v in self.likelihood_family.options.items())]
        )
        return f"the decoder {self.decoder.description}, read as {self.decoder_output} of a likelihood {likelihood}"

    def likelihood(self, z: Tensor, *covariates: Tensor) -> dist.TorchDistribution:
        """p(x given z), its parameters from the decoder.

        Args:
            z: shape (*batch, N, D).
            covariates: what the decoder takes beside z, each with N rows.

        Raises:
            ShapeError: the decoder returns something else than was said.
            NumericalError: probabilities below 0, above 1 or NaN.
        """
        if self.decoder_output == "probabilities":
            probable: dist.TorchDistribution = self.likelihood_family(self._logits(z, *covariates))
            return probable
        if self.decoder_output == "distribution":
            own: dist.TorchDistribution = self.likelihood_family(self._run(z, *covariates), z.shape[:-1])
            return own
        outputs = self.decode(z, *covariates)
        if self.decoder_output == "mean-and-log-scale":
            loc, log_scale = outputs.unbind(z.dim() - 1)
            family_of_pixels: Any = self.likelihood_family.family
            pixels = family_of_pixels(loc, log_scale.exp(), validate_args=False)
            return dist.Independent(pixels, len(self.data_shape), validate_args=False)
        family: dist.TorchDistribution = self.likelihood_family(outputs)
        return family

    def _logits(self, z: Tensor, *covariates: Tensor) -> Tensor:
        """Logits of the decoder's probabilities: what its last sigmoid was given, or else from the probabilities.

        Raises:
            NumericalError: a number that is no probability.
        """
        with FinalSigmoid() as watch:
            probabilities: Tensor = self.decode(z, *covariates)
        low, high = probabilities.aminmax()
        if not bool((low >= 0) & (high <= 1)):
            raise NumericalError(
                "decoder_output='probabilities' was said, but the decoder's output ranges over "
                f"[{float(low):.4g}, {float(high):.4g}], and probabilities lie in [0, 1]. If it does not end with a "
                "sigmoid, say decoder_output='logits'."
            )
        logits: Tensor | None = watch.logits(probabilities)
        if logits is None:
            self._note_saturation(at_the_ends(probabilities))
            logits = clamped_logits(probabilities)
        return logits

    def _note_saturation(self, share: float) -> None:
        """Warn, once a model, where enough probabilities are 0 or 1 to matter."""
        if share < ENOUGH_SATURATED or self._saturation_noted:
            return
        self._saturation_noted = True
        least, most = clamped_logits(torch.tensor([0.0, 1.0], dtype=self.decoder.like.dtype)).tolist()
        warnings.warn(
            f"{share:.2%} of the decoder's probabilities are exactly 0 or 1. Their logits are not known and count as "
            f"{least:.1f} and {most:.1f}, on which log p(x given z) of a {self.likelihood_family.name} likelihood then "
            "rests. Return the logits, or let the sigmoid be the last thing that the decoder does: what it is given is "
            "then used.",
            NetworkOutputWarning,
            stacklevel=2,
        )

    def _run(self, z: Tensor, *covariates: Tensor) -> Any:
        """What the decoder returns for rows of latents, whatever the leading dimensions."""
        beside = (
            part.expand(*z.shape[:-2], *part.shape).reshape(-1, *part.shape[1:]) if z.dim() > 2 else part
            for part in covariates
        )
        return self.decoder(z.reshape(-1, z.shape[-1]), *beside)

    def decode(self, z: Tensor, *covariates: Tensor) -> Tensor:
        """The decoder's numbers, which is given rows of latents, whatever the leading dimensions.

        Args:
            z: shape (*batch, D).
            covariates: what the decoder takes beside z, each with a row for each of the last of ``batch``.

        Returns:
            shape (*batch, outputs_per_number, *data_shape).

        Raises:
            ShapeError: the decoder returns something else than was said.
        """
        outputs = self._stacked(self._run(z, *covariates), z.shape[:-1].numel())
        return outputs.reshape(*z.shape[:-1], *outputs.shape[1:])

    def _stacked(self, output: Any, num_rows: int) -> Tensor:
        """What the decoder returned, shape (num_rows, outputs_per_number, *data_shape)."""
        count, shape = self.likelihood_family.outputs_per_number, self.data_shape
        what = f"the decoder's output, {self.decoder_output},"
        if isinstance(output, Tensor) and count == 1:
            return reshape_rows(what, output, num_rows, shape).unsqueeze(1)
        if isinstance(output, Tensor):
            return parameters_first(output, num_rows, count, shape, self._parameter_place)
        tensors = isinstance(output, tuple | list) and all(isinstance(part, Tensor) for part in output)
        if count > 1 and tensors and len(output) == count:
            return torch.stack([reshape_rows(what, part, num_rows, shape) for part in output], 1)
        one = f"a tensor with one row of {math.prod(shape)} numbers for each of {num_rows} latents"
        many = f"a tuple of {count} tensors of shape {(num_rows, *shape)}, or one tensor with an axis of {count}"
        raise ShapeError(
            f"decoder_output={self.decoder_output!r} with the likelihood {self.likelihood_family.name!r} asks for a "
            f"decoder that returns {one if count == 1 else many}, but it returned {describe_output(output)}. Pass a "
            "small module that returns that alone."
        )
