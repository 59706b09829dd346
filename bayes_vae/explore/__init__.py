"""One interactive HTML page in which Bayes' rule is seen on a run: the decoder runs in the page."""

from bayes_vae.explore.bundle import explore_page, script
from bayes_vae.explore.collect import RunView, collect

__all__ = ["RunView", "collect", "explore_page", "script"]
