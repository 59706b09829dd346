"""The prior that a guide's own posteriors make: q(z given u), averaged over learned pseudo-inputs u."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal
from torch.nn.functional import softplus

from bayes_vae.distributions import normal_parts
from bayes_vae.errors import ProgramError, SettingsError, ShapeError
from bayes_vae.models.priors.component_mixture import ComponentMixture
from bayes_vae.models.priors.prior import Prior
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.traits import traits_of

__all__ = ["VampPrior"]

JITTER = 0.01
"""Deviation of the noise that keeps two pseudo-inputs from being the same, before they are brought into range."""


class _Range(NamedTuple):
    """From any number into the range of an observation's numbers, and back."""

    into: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


RANGES = {
    "pixels": _Range(torch.sigmoid, lambda u: torch.logit(u, eps=0.01)),
    "positive": _Range(softplus, lambda u: u.clamp(min=0.01).expm1().log().where(u < 20, u)),
    "real": _Range(lambda raw: raw, lambda u: u),
}
"""Between 0 and 1, above 0, any."""


class VampPrior(Prior):
    r"""The variational mixture of posteriors: q at learned pseudo-inputs, which have the shape of an observation.

    .. math:: p(z) = \frac1C \sum_{c=1}^C q(z \mid u_c)

    q is the guide's. The model is given its guide once both are built, ``model.attach_guide(guide)``, and the prior
    then sends gradients into the guide's encoder, but holds none of its parameters. It stays tied to that guide: p(z)
    is part of the model, and an evaluation with another guide does not change it. A copy of the model has a copy of
    the guide; copy the pair together.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        num_components: C, the number of pseudo-inputs.
        values: range of an observation's numbers, which pseudo-inputs keep to: "pixels" (between 0 and 1), "positive"
            (counts) or "real".

    Raises:
        SettingsError: an unknown range, or no component.

    Reference: Tomczak, Welling (2018), "VAE with a VampPrior", eq. 9.
    """

    def __init__(
        self, latent_dim: int, data_shape: Sequence[int], num_components: int = 20, values: str = "pixels"
    ) -> None:
        super().__init__(latent_dim, num_components=num_components, values=values)
        if values not in RANGES:
            raise SettingsError(f"unknown values {values!r} of the prior 'vamp': choose one of {', '.join(RANGES)}.")
        self.data_shape, self.values = Size(data_shape), values
        self.raw_inputs = nn.Parameter(0.1 * torch.randn(num_components, *data_shape))
        self._guide: tuple[Any, ...] = ()  # in a tuple: the parameters stay the guide's alone
        self._asking = False

    @property
    def guide(self) -> Any:
        """The guide whose q this prior is made of; None before :meth:`attach_guide`."""
        return self._guide[0] if self._guide else None

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, shape (C, *data_shape)."""
        return RANGES[self.values].into(self.raw_inputs)

    @torch.no_grad()
    def start_at(self, x: Tensor) -> None:
        """Start the pseudo-inputs near training observations, C of them spread evenly over x.

        Args:
            x: shape (N, *data_shape); the mean of the data alone is N = 1. A little noise tells repeated ones apart.
                A missing number is the mean of the others.

        Raises:
            ShapeError: another shape.
        """
        if x.shape[1:] != self.data_shape or not len(x):
            raise ShapeError(
                f"pseudo-inputs start at observations of shape (N, {', '.join(map(str, self.data_shape))}), got "
                f"{tuple(x.shape)}. Pass a batch of training observations."
            )
        x = torch.where(x.isnan(), x.nanmean(0), x).nan_to_num()
        rows = torch.linspace(0, len(x) - 1, len(self.raw_inputs)).round().long()
        raw = RANGES[self.values].back(x[rows.to(x.device)].to(self.raw_inputs))
        self.raw_inputs.copy_(raw + JITTER * torch.randn_like(raw))

    def attach_guide(self, guide: Any) -> None:
        """Make p(z) of this guide's q.

        Args:
            guide: one with ``variational_posterior(x)``, a normal with or without correlations.

        Raises:
            ProgramError: a guide whose q cannot be a component of the mixture; the message says why.
        """
        if traits_of(guide).needs_index:
            raise ProgramError(
                f"the prior 'vamp' needs q(z given u) at pseudo-inputs u, and {type(guide).__name__} knows q only for "
                "observations with an index, which pseudo-inputs have none of. Use a guide with an encoder, such as "
                "AmortizedNormalGuide."
            )
        if not hasattr(guide, "variational_posterior"):
            raise ProgramError(
                f"the prior 'vamp' is made of variational_posterior(u), which {type(guide).__name__} lacks. Use a "
                "guide with it, as SingleLatentGuide has."
            )
        before, self._guide = self._guide, (guide,)
        try:
            with torch.no_grad(), isolated_rng(0, self.raw_inputs.device):
                self._components()
        except BaseException:
            self._guide = before
            raise

    def forward(self) -> dist.TorchDistribution:
        """p(z), a mixture of C of the guide's q.

        Raises:
            ProgramError: no guide is attached.
        """
        if not self._guide:
            raise ProgramError(
                "the prior 'vamp' is a mixture of the guide's own q(z given u), and it has no guide yet. Call "
                "model.attach_guide(guide) once model and guide are built."
            )
        count = len(self.raw_inputs)
        return ComponentMixture(self._components(), self.raw_inputs.new_full((count,), -math.log(count)))

    def _components(self) -> dist.TorchDistribution:
        """q(z given u) at each pseudo-input, batch shape (C,)."""
        guide = self._guide[0]
        if self._asking:
            raise ProgramError(
                f"{type(guide).__name__} looks at the model's prior to say what q(z given u) is, and the prior 'vamp' "
                "is made of that very q. Use a guide with an encoder alone, such as AmortizedNormalGuide."
            )
        self._asking = True
        try:
            q: dist.TorchDistribution = guide.variational_posterior(self.pseudo_inputs)
        finally:
            self._asking = False
        if normal_parts(q) is None and not isinstance(q, MultivariateNormal | LowRankMultivariateNormal):
            raise ProgramError(
                f"the prior 'vamp' needs log q(z given u) at draws of every other q, and that of "
                f"{type(guide).__name__} is a {type(q).__name__}, whose density may be known, or cheap, at its own "
                "draws only. Use a guide whose q is a normal, with or without correlations."
            )
        if q.event_shape != (self.latent_dim,):
            raise ProgramError(
                f"the prior 'vamp' has latent_dim {self.latent_dim}, and q(z given u) of {type(guide).__name__} has "
                f"event shape {tuple(q.event_shape)}. Build model and guide with the same latent_dim."
            )
        return q
