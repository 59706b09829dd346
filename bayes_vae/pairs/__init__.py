"""Model/guide pairs: built from parts, described and loaded, or made from a user's own networks."""

from bayes_vae.pairs.building import build_pair
from bayes_vae.pairs.describing import build_program, describe_program
from bayes_vae.pairs.from_networks import pair_from_networks

__all__ = ["build_pair", "build_program", "describe_program", "pair_from_networks"]
