"""What a network must be for terms per observation: it runs, gives the same twice, and looks at one row alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bayes_vae.errors import NumericalError, ProgramError

__all__ = ["check_network"]

RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""Two runs of a network may differ by rounding, which depends on the size of the batch."""


def check_network(role: str, run: Callable[[Tensor], Mapping[str, Tensor]], rows: Tensor) -> dict[str, Tensor]:
    """Run a network on a few rows, twice, and on one of them alone; call it in evaluation mode.

    Args:
        role: "encoder" or "decoder", for messages.
        run: from rows to what the network says of each, by name; each tensor has a row for each row.
        rows: at least two.

    Returns:
        what ``run`` returned.

    Raises:
        NumericalError: NaN or infinite numbers.
        ProgramError: another output for the same input, or one that depends on the other rows.
    """
    first, again, alone = run(rows), run(rows), run(rows[1:2])
    for name, value in first.items():
        if not bool(value.isfinite().all()):
            raise NumericalError(
                f"the {role} returns NaN or infinite numbers ({name}) for a batch of ordinary ones. Look at its "
                "weights: has its training diverged, or its checkpoint been loaded?"
            )
        if not _close(value, again[name]):
            raise ProgramError(
                f"the {role} does not return the same {name} when it is given the same input again, in evaluation "
                "mode: chance inside it is no part of the densities, so that q(z given x) or p(x given z) would be "
                "unknown. Return the parameters before anything is drawn, and switch dropout off in evaluation mode "
                "(nn.Dropout, or dropout(..., training=self.training))."
            )
        if not _close(value[1:2], alone[name]):
            raise ProgramError(
                f"the {role} does not return the same {name} for a row alone as for that row within a batch: terms per "
                "observation mean nothing where observations look at each other. Normalize over features (layer norm, "
                "group norm), not over the batch."
            )
    return dict(first)


def _close(one: Tensor, two: Tensor) -> bool:
    size = float(one.abs().max())
    return torch.allclose(one, two, rtol=RELATIVE, atol=ABSOLUTE * min(size, 1.0))
