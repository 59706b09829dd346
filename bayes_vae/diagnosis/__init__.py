"""What is wrong with a VAE, if anything, and what to do about it."""

from bayes_vae.diagnosis.comparison import Comparison
from bayes_vae.diagnosis.examination import diagnose
from bayes_vae.diagnosis.findings.finding import Finding, NotChecked
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.result import Diagnosis

__all__ = ["Comparison", "Diagnosis", "Finding", "Measurement", "NotChecked", "diagnose"]
