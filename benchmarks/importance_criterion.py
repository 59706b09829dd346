"""What draws of the prior find where k̂ vouches for L_K, on reference pairs with damaged guides.

Of the rows whose k̂ is below its threshold: how many are off by more than three claimed errors and 0.05 nats, how many
of these the prior's draws find (``LogEvidenceEstimate.missed``), and how many they flag that are right.
"""

from __future__ import annotations

import argparse

import torch
from annealed_criterion import damaged_guide

import bayes_vae as bv
from bayes_vae.estimators.importance.estimate import CLAIMED
from bayes_vae.estimators.unseen import ALLOWED
from bayes_vae.reference_pairs import NAMES, reference_pair

DAMAGES = ((1.0, 0.0), (0.5, 0.0), (2.0, 0.0), (1.0, 1.0), (1.0, 2.0))
"""Factors on the deviations, and shifts of the means in deviations: what k̂ still passes now and then."""

WITHOUT = ("discrete", "sharp-likelihood")
"""Pairs of which k̂ is not defined, or whose figures are no bounds."""

COLUMNS = ("k̂ vouches", "wrong", "found", "right", "flagged")


def counted(name: str, factor: float, shift: float, num_particles: int, times: int) -> list[int]:
    """The counts of one pair with one damage, each observation so many times with noise of its own."""
    pair = reference_pair(name)
    x = tuple(part.repeat(times, *[1] * (part.dim() - 1)) for part in pair.observations)
    guide = damaged_guide(pair.guide, factor, shift)
    found = bv.estimate_log_evidence(pair.model, guide, x[0] if len(x) == 1 else x, num_particles)
    error = (found.log_evidence - pair.log_evidence.repeat(times)).abs()
    claimed = (1 / found.effective_sample_size - 1 / num_particles).clamp(min=0).sqrt()
    vouched = found.converged | found.missed
    wrong = vouched & (error > (CLAIMED * claimed).clamp(min=ALLOWED))
    right = vouched & (error <= ALLOWED)
    groups = (vouched, wrong, wrong & found.missed, right, right & found.missed)
    return [int(group.sum()) for group in groups]


def main() -> None:
    """Print the counts for each K."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", nargs="+", type=int, default=[128, 1000])
    parser.add_argument("--times", type=int, default=4, help="copies of each observation")
    parser.add_argument("--pairs", nargs="+", default=[name for name in NAMES if name not in WITHOUT])
    settings = parser.parse_args()
    print("\t".join(["K", *COLUMNS]))
    for num_particles in settings.particles:
        cells = [
            torch.tensor(counted(name, *damage, num_particles, settings.times))
            for name in settings.pairs
            for damage in DAMAGES
        ]
        print("\t".join(map(str, [num_particles, *torch.stack(cells).sum(0).tolist()])), flush=True)


if __name__ == "__main__":
    main()
