"""Model/guide pairs, built from parts or from a user's own networks."""

from bayes_vae.pairs.from_networks import pair_from_networks

__all__ = ["pair_from_networks"]
