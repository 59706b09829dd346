"""Importance sampling of log p(x): the weights, their sums, their reliability, and proposals beside the guide."""
