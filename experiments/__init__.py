"""Experiments: one script per question, each run by ``python -m bayes_vae.experiments.NAME``."""
