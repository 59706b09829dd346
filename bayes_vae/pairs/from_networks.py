"""A model and a guide from an encoder and a decoder that were written, and trained, elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bayes_vae.errors import BayesVaeError, NetworkOutputWarning, ProgramError, SettingsError, ShapeError
from bayes_vae.guides.conditional_network_guide import ConditionalNetworkGuide
from bayes_vae.guides.network_guide import EncoderOutput, NetworkGuide
from bayes_vae.models.conditional_network_model import ConditionalNetworkModel
from bayes_vae.models.network_model import DecoderOutput, NetworkModel
from bayes_vae.networks.foreign import method_named
from bayes_vae.networks.requirements import check_network
from bayes_vae.terms.program import undisturbed
from bayes_vae.terms.whole_numbers import shape_numbers, switch, whole_number, whole_number_or_none

__all__ = ["pair_from_networks"]

PROBED = 8
"""Rows of a trial batch."""

ENOUGH_NUMBERS = 16
"""Logits of fewer numbers may lie in [0, 1] by chance."""


def pair_from_networks(
    encoder: nn.Module | Callable[..., Any] | str,
    decoder: nn.Module | Callable[..., Any] | str,
    *,
    of: nn.Module | None = None,
    latent_dim: int,
    data_shape: Sequence[int],
    encoder_output: EncoderOutput,
    decoder_output: DecoderOutput,
    parameter_axis: int | None = None,
    split: bool = False,
    input_shape: Sequence[int] | None = None,
    mask_input: bool = False,
    encoder_fields: Sequence[str | int] | str = (),
    decoder_fields: Sequence[str | int] | str = (),
    covariates: Tensor | Sequence[Tensor] = (),
    covariates_to: Literal["both", "encoder", "decoder"] = "both",
    needs_labels: bool = False,
    likelihood: str | Mapping[str, Any] = "bernoulli",
    prior: str | Mapping[str, Any] = "standard-normal",
) -> tuple[NetworkModel, NetworkGuide]:
    r"""Make a pair of any torch encoder and decoder, so that all of this library takes them.

    .. math:: p(x, z) = p(z) \, p(x \mid f(z)), \qquad q(z \mid x) = N\big(z; m(x), \operatorname{diag}(s(x))^2\big)

    You state here what the networks' outputs mean: from the numbers alone a logit and a mean, or a scale
    and a logarithm of it, cannot be told apart. The networks are held, not copied: training the pair trains them.

    They are called once on made-up numbers, in evaluation mode, to see that they run, are not random, and treat each
    row alone.

    Args:
        encoder: a torch module, or a method of one (``vae.encode``); called with (N, *input_shape). With ``of`` the
            name of a method or part, such as "encode" or "model.encoder".
        decoder: likewise; called with latents (N, D), for K particles with (K · N, D).
        of: the module whose methods ``encoder`` and ``decoder`` name: a Lightning module, a model of a hub.
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        encoder_output: what the encoder's two outputs are, in this order: "loc-and-scale", "loc-and-variance",
            "loc-and-log-scale" or "loc-and-log-variance"; or "distribution", where it returns q(z given x) as an object
            of ``torch.distributions``, batch and event shape (N, D) together.
        decoder_output: "logits" or "probabilities" (Bernoulli, continuous Bernoulli), "mean" (normal),
            "mean-and-log-scale" (normal with noise "per-pixel": a tuple of the two), for the other likelihoods
            "parameters", as their classes describe them, or "distribution", where it returns p(x given z) as an object
            of ``torch.distributions``, batch and event shape (N, *data_shape) together. Of probabilities whose last
            step is a sigmoid, what it was given is used; others of exactly 0 and 1 count as the least and the largest
            between that their dtype has.
        parameter_axis: where each number has several parameters (the logits of C categories, a mean and a scale), the
            axis of the decoder's output along which they lie: 1 for (N, C, *data_shape), −1 for (N, *data_shape, C);
            neighbouring axes may be flattened. Left out, the sizes must say it, or the decoder returns a tuple.
        split: whether the encoder returns one tensor, shape (N, 2 D), location first, in place of a tuple of two.
        input_shape: the shape in which the encoder takes an observation, such as (784,) or (1, 28, 28); ``data_shape``
            when None. The decoder's output is given ``data_shape`` wherever its numbers are in that order.
        mask_input: whether the encoder is told what is missing: it is then called with (x, seen), zeros in x where a
            number is missing, and seen, of the same shape, 1 where it was observed and 0 where not. Without, the zeros
            are all that it gets, with a warning.
        encoder_fields: which parts of what the encoder returns are its output, in order, where it returns more, or
            another object: keys of a dict, attributes such as "latent_dist.mean", or places in a tuple.
        decoder_fields: likewise of the decoder, such as "sample".
        covariates: a few rows, one will do, of each tensor that stands beside x, to try the networks with. They are
            then called as encoder(x, y, ...) and decoder(z, y, ...), whole numbers as they are, and the pair takes
            (x, y, ...), of which every figure is log p(x given y).
        covariates_to: which network takes them.
        needs_labels: whether the first covariate is the label that a data set holds.
        likelihood: name of p(x given z), or a mapping of "name" and options, such as
            ``{"name": "normal", "scale": 0.1}``; not looked at with ``decoder_output="distribution"``.
        prior: name of p(z), or a mapping of "name" and options.

    Returns:
        (model, guide). :func:`bayes_vae.load` needs the pair built again: ``load(path, model=model, guide=guide)``.

    Raises:
        SettingsError: an unknown name, or a ``decoder_output`` that the likelihood does not take.
        NotDefinedError: a distribution that Pyro lacks, or whose parameters do not describe it in full.
        ShapeError: a network that cannot be run, that returns something else than was said, or several parameters for
            each number whose order the sizes leave open.
        NumericalError: NaN, a scale that is not above 0, probabilities outside [0, 1].
        ProgramError: a network whose output depends on chance, or on the other observations of the batch.

    Warns:
        NetworkOutputWarning: all logits lie in [0, 1], as those of a decoder do that ends with a sigmoid; or
            probabilities are exactly 0 or 1, and their logits unknown. Of the latter the model warns once, when its
            likelihood is first asked for such.

    >>> import torch
    >>> encoder, decoder = torch.nn.Linear(64, 4), torch.nn.Linear(2, 64)
    >>> model, guide = pair_from_networks(
    ...     encoder, decoder, latent_dim=2, data_shape=(8, 8), input_shape=(64,),
    ...     encoder_output="loc-and-log-scale", split=True, decoder_output="logits",
    ... )
    >>> model.sample(3, seed=0).shape
    torch.Size([3, 8, 8])
    """
    latent_dim, data_shape = whole_number("latent_dim", latent_dim), shape_numbers("data_shape", data_shape)
    input_shape = None if input_shape is None else shape_numbers("input_shape", input_shape)
    split, mask_input = switch("split", split), switch("mask_input", mask_input)
    needs_labels = switch("needs_labels", needs_labels)
    parameter_axis = whole_number_or_none("parameter_axis", parameter_axis, None)
    beside = _rows_beside(covariates, covariates_to, needs_labels)
    said: dict[str, Any] = {"parameter_axis": parameter_axis, "likelihood": likelihood, "prior": prior}
    said |= {"fields": decoder_fields}
    form: dict[str, Any] = {"split": split, "input_shape": input_shape, "mask_input": mask_input}
    form |= {"fields": encoder_fields}
    model_class, guide_class = NetworkModel, NetworkGuide
    if beside:
        model_class, guide_class = ConditionalNetworkModel, ConditionalNetworkGuide
        said |= {"decoder_takes": covariates_to != "encoder", "needs_labels": needs_labels}
        form |= {"encoder_takes": covariates_to != "decoder", "needs_labels": needs_labels}
    model = model_class(_network("decoder", decoder, of), latent_dim, data_shape, decoder_output, **said)
    guide = guide_class(_network("encoder", encoder, of), latent_dim, data_shape, encoder_output, **form)
    like = model.decoder.like
    beside = tuple(part.to(like.device) for part in beside)
    with undisturbed(model, guide, device=like.device):
        _check_encoder(guide, beside if covariates_to != "decoder" else ())
        _check_decoder(model, beside if covariates_to != "encoder" else ())
    model.attach_guide(guide)
    return model, guide


def _network(role: str, given: Any, of: nn.Module | None) -> Any:
    """The network, looked up where it is a name."""
    if not isinstance(given, str):
        if not callable(given):
            raise ProgramError(f"the {role} must be a network, a module or a function, got {type(given).__name__}.")
        return given
    if of is None:
        raise SettingsError(f"{role}={given!r} is a name: say of=module, the module whose method or part it is.")
    return method_named(role, of, given)


def _rows_beside(covariates: Tensor | Sequence[Tensor], to: str, needs_labels: bool) -> tuple[Tensor, ...]:
    """As many rows of each covariate as are tried."""
    if to not in ("both", "encoder", "decoder"):
        raise SettingsError(f"covariates_to must be 'both', 'encoder' or 'decoder', got {to!r}.")
    parts = (covariates,) if isinstance(covariates, Tensor) else tuple(covariates)
    if not all(isinstance(part, Tensor) and part.dim() > 0 and len(part) > 0 for part in parts):
        raise SettingsError(
            "covariates must be tensors with a row for each of a few observations, as they stand beside x: "
            "covariates=(y[:8],)."
        )
    if not parts and (needs_labels or to != "both"):
        raise SettingsError(
            "needs_labels and covariates_to speak of covariates: give a few rows of them too, covariates=(y[:8],)."
        )
    return tuple(part[torch.arange(PROBED) % len(part)] for part in parts)


def _same_rows(beside: Sequence[Tensor], num_rows: int) -> Iterator[Tensor]:
    """What stands beside all rows that are tried, or beside the second alone."""
    return (part if num_rows == PROBED else part[1:2] for part in beside)


def _check_encoder(guide: NetworkGuide, beside: Sequence[Tensor]) -> None:
    like = guide.encoder.like
    x = torch.rand(PROBED, *guide.data_shape).to(like)
    x[0], x[1] = 0, x[1].round()
    seen: list[Tensor] = []

    def run(rows: Tensor) -> dict[str, Tensor]:
        shape = (len(rows), *guide.input_shape)
        hint = "Say input_shape, the shape in which it takes an observation, such as (784,) or (1, 28, 28)"
        with _told("encoder", f"observations of shape {shape}", hint):
            guide.encode(rows, *_same_rows(beside, len(rows)))
        q = guide.variational_posterior(rows, *_same_rows(beside, len(rows)))
        if guide.encoder_output == "distribution":
            seen.append(q.sample()[-1])
            return {"distribution": q.log_prob(seen[0].expand(len(rows), guide.latent_dim))}
        return {"location": q.mean, "scale": q.stddev}

    check_network("encoder", run, x)


def _check_decoder(model: NetworkModel, beside: Sequence[Tensor]) -> None:
    z = torch.randn(PROBED, model.latent_dim).to(model.decoder.like)
    z[0] = 0
    seen: list[Tensor] = []

    def run(rows: Tensor) -> dict[str, Tensor]:
        hint = f"Say the latent_dim that it was built with; {model.latent_dim} was said"
        with _told("decoder", f"latents of shape {tuple(rows.shape)}", hint):
            model.decoder(rows, *_same_rows(beside, len(rows)))
        likelihood = model.likelihood(rows, *_same_rows(beside, len(rows)))
        if model.decoder_output == "distribution":
            seen.append(likelihood.sample()[-1])
            return {"distribution": likelihood.log_prob(seen[0].expand(len(rows), *model.data_shape))}
        return {model.decoder_output: model.decode(rows, *_same_rows(beside, len(rows)))}

    outputs = check_network("decoder", run, z)[model.decoder_output]
    if model.decoder_output == "logits" and _like_probabilities(outputs):
        warnings.warn(
            "decoder_output='logits' was said, and all of the decoder's outputs for latents from a standard normal lie "
            f"in [{float(outputs.min()):.3g}, {float(outputs.max()):.3g}]. If it ends with a sigmoid, say "
            "decoder_output='probabilities': a sigmoid taken twice is a mistake that no error shows.",
            NetworkOutputWarning,
            stacklevel=3,
        )


def _like_probabilities(outputs: Tensor) -> bool:
    """Whether all numbers lie in [0, 1]; a layer that starts at zero says nothing."""
    low, high = outputs.min(), outputs.max()
    return outputs[0].numel() >= ENOUGH_NUMBERS and bool((low >= 0) & (high <= 1) & (high > 0))


@contextmanager
def _told(role: str, given: str, hint: str) -> Iterator[None]:
    """Turn what a network raises into an error that says what it was given."""
    try:
        yield
    except BayesVaeError:
        raise
    except Exception as error:
        raise ShapeError(f"the {role} could not be run on {given}: {type(error).__name__}: {error}. {hint}.") from error
