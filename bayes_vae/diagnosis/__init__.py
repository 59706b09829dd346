"""What is wrong with a VAE, if anything, and what to do about it."""

from bayes_vae.diagnosis.diagnose import diagnose
from bayes_vae.diagnosis.findings import Evidence, Finding
from bayes_vae.diagnosis.numbers import Number
from bayes_vae.diagnosis.result import Diagnosis, NotChecked

__all__ = ["Diagnosis", "Evidence", "Finding", "NotChecked", "Number", "diagnose"]
