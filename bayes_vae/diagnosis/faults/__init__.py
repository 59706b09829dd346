"""Trainings with exactly one fault, on the digits, and healthy ones: what the diagnosis is judged by."""

from bayes_vae.diagnosis.faults.cases import CASES, Case, Patient

__all__ = ["CASES", "Case", "Patient"]
