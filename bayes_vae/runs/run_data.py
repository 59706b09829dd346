"""The data of a run, loaded again: split and standardized as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bayes_vae.data import DATA_NAMES, Data, load_data
from bayes_vae.data.standardization import Standardization
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.runs.directory import RunDirectory
from bayes_vae.settings import DataSettings, Kind

__all__ = ["data_settings", "load_run_data", "run_kind", "split_as_stored"]


def split_as_stored(settings: DataSettings, about: Mapping[str, Any]) -> DataSettings:
    """The settings of a run's own data, with the numbers of rows that its summary has.

    Releases differ in how they split small files; the numbers settle it.

    Args:
        settings: as the run stored them.
        about: the run's summary of its data.
    """
    sizes = about.get("sizes", {})
    small = 0 < sum(sizes.values()) < 200
    if not small or settings.split or settings.test_data or settings.validation_data or about.get("split_by"):
        return settings
    return replace(settings, split=tuple(float(sizes[name]) for name in ("train", "validation", "test")))


def data_settings(directory: RunDirectory, *, named: bool) -> DataSettings:
    """The settings of a run's data.

    Args:
        directory: the run.
        named: whether other data will be put in their place.

    Raises:
        RunError: settings of another release, or data that cannot be loaded by name.
    """
    stored = directory.settings.get("data")
    if stored is not None:
        try:
            return split_as_stored(DataSettings(**stored), directory.config["data"])
        except (TypeError, SettingsError) as error:
            raise RunError(
                f"the settings of the data of {directory.path} are not those of this release ({error}). Install the "
                "release that wrote the run (its config.json names it)."
            ) from error
    about = directory.config["data"]
    if about["name"] not in DATA_NAMES and not named:
        raise RunError(
            f"the run {directory.path} was trained on {about['name']!r}, which is not a data set that can be loaded by "
            "name. Say which data with --data FILE."
        )
    return DataSettings(data=about["name"], policy=about["policy"])


def load_run_data(directory: RunDirectory, settings: DataSettings) -> Data:
    """Load data as a run takes them: standardized by the run's own means and deviations, if it has some.

    Raises:
        DataError, SupportError: as :func:`bayes_vae.load_data`.
    """
    stored = directory.config["data"].get("standardization")
    return load_data(settings, standardize=None if stored is None else Standardization.from_json(stored))


def run_kind(about: Mapping[str, Any]) -> Kind:
    """The kind of a run's data, for other rows; zeros and ones may have been anything that a policy made them of."""
    kind: Kind = about.get("kind", "auto")
    return "auto" if kind == "binary" else kind
