"""Annealed importance sampling: a path from the guide, or the prior, to the posterior."""
