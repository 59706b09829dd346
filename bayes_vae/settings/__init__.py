"""Settings as frozen dataclasses. No torch here: the command line reads this module to print its help.

The docstrings of the fields are the help texts; what there is to choose from, ``bayes_vae.parts`` adds.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bayes_vae.parts.part import DataKind
from bayes_vae.settings.command_settings import (
    EXPLORE_PAGE,
    LADDER,
    CompareSettings,
    DiagnoseSettings,
    EvaluateSettings,
    ExplainSettings,
    ExploreSettings,
    ReportSettings,
)
from bayes_vae.settings.data_and_pair_settings import DataSettings, PairSettings
from bayes_vae.settings.literals import Colour, Kind, Policy, Precision, RowsChoice, SampleKind, Schedule, choices_of
from bayes_vae.settings.product_settings import (
    EncodeSettings,
    RateDistortionSettings,
    RefitPriorSettings,
    SampleSettings,
    ScoreSettings,
)
from bayes_vae.settings.training_settings import TrainingSettings

__all__ = [
    "EXPLORE_PAGE",
    "LADDER",
    "SECTIONS",
    "Colour",
    "CompareSettings",
    "DataKind",
    "DataSettings",
    "DiagnoseSettings",
    "EncodeSettings",
    "EvaluateSettings",
    "ExplainSettings",
    "ExploreSettings",
    "Kind",
    "PairSettings",
    "Policy",
    "Precision",
    "RateDistortionSettings",
    "RefitPriorSettings",
    "ReportSettings",
    "RowsChoice",
    "SampleKind",
    "SampleSettings",
    "Schedule",
    "ScoreSettings",
    "TrainingSettings",
    "as_json",
    "choices_of",
]

SECTIONS = {
    "data": DataSettings,
    "pair": PairSettings,
    "training": TrainingSettings,
    "evaluate": EvaluateSettings,
    "compare": CompareSettings,
    "explain": ExplainSettings,
    "explore": ExploreSettings,
    "diagnose": DiagnoseSettings,
    "refit_prior": RefitPriorSettings,
    "rate_distortion": RateDistortionSettings,
    "report": ReportSettings,
    "score": ScoreSettings,
    "encode": EncodeSettings,
    "sample": SampleSettings,
}
"""Section of a settings file → its settings."""


def as_json(settings: Any) -> dict[str, Any]:
    """A settings object as plain JSON types."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
