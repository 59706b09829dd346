"""What an objective says of each observation."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["ObjectiveTerms"]


class ObjectiveTerms(NamedTuple):
    """The ELBO's two terms and the loss for each observation, each of shape (N,), nats.

    Attributes:
        expected_log_likelihood: E_q log p(x given z), of the draws.
        kl_to_prior: KL(q(z given x) to p(z)), unweighted and without free bits.
        loss: minus the objective, smaller is better; its gradient is what training follows.
    """

    expected_log_likelihood: Tensor
    kl_to_prior: Tensor
    loss: Tensor
