"""A run directory, opened for evaluation: its pair, its test set, and notes where the data are not the run's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.output import note
from bayes_vae.errors import DataError, RunError, SettingsError
from bayes_vae.settings import DataSettings

if TYPE_CHECKING:
    from bayes_vae.data import Data, Split
    from bayes_vae.runs import RunDirectory

__all__ = ["OpenedRun", "data_settings", "open_run"]


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run and the data that it is evaluated on.

    Attributes:
        directory: where it is.
        model: p(x, z), on the device.
        guide: q(z given x), on the device.
        data: the data set.
        device: name of the device.
    """

    directory: RunDirectory
    model: Any
    guide: Any
    data: Data
    device: str

    @property
    def suffix(self) -> str:
        """What sets apart the files of other data, or of another data policy, than the run's."""
        return self.directory.suffix_for(self.data.summary())

    def test_rows(self, num_observations: int | None, seed: int) -> Split:
        """The first test observations, their pixels drawn with the seed.

        A guide with parameters for each observation is fitted to them.
        """
        from bayes_vae.terms.rows import prepare_for

        rows = self.data.test[:num_observations].seeded(seed)
        prepare_for(self.model, self.guide, rows)
        return rows


def open_run(path: str, device: str, data: str | None, data_root: str | None, policy: Any) -> OpenedRun:
    """Open a run directory.

    Args:
        path: of the run.
        device: already resolved.
        data: another data set than the run's, or None.
        data_root: its folder, or None.
        policy: another policy than the run's, or None.

    Raises:
        RunError: not a run directory, or its data are not known.
        DataError, SupportError: the data cannot be had, or are unfit for the policy.
    """
    from bayes_vae.data import DATA_NAMES, load_data
    from bayes_vae.runs import RunDirectory
    from bayes_vae.runs.directory import unfinished_note
    from bayes_vae.terms.traits import traits_of

    directory = RunDirectory(path)
    if directory.unfinished:
        note(f"note: {unfinished_note(directory)}")
    settings = data_settings(directory, named=data is not None)
    given = {"data": data, "data_root": data_root, "policy": policy}
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    if data is not None:
        settings = replace(settings, num_labelled=None)  # of the run's own training rows
    try:
        data_set = load_data(settings)
    except DataError as error:
        if data is not None or settings.data in DATA_NAMES:
            raise
        raise DataError(
            f"{error} The run {path} was trained on {settings.data!r}, seen from the folder where training ran: say "
            "where it is now with --data FILE."
        ) from error
    _note_differences(data_set, directory.config["data"])
    model, guide = directory.pair()
    traits = traits_of(model)
    if traits.needs_labels and not traits.infers_labels:
        note("note: this model is given the label y of each observation: every log p(x) is log p(x given y).")
    return OpenedRun(directory, model.to(device), guide.to(device), data_set, device)


def data_settings(directory: RunDirectory, *, named: bool) -> DataSettings:
    """The run's data; ``named`` says that others will be put in their place."""
    from bayes_vae.data import DATA_NAMES

    stored = directory.settings.get("data")
    if stored is not None:
        try:
            return DataSettings(**stored)
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


def _note_differences(data: Data, trained_on: dict[str, Any]) -> None:
    """Say so on standard error where figures would not be comparable with those of the run."""
    if data.policy != trained_on["policy"]:
        note(
            f"note: data policy {data.policy}, but the run was trained with {trained_on['policy']}: figures of "
            "different policies cannot be compared."
        )
    elif data.digest != trained_on["digest"]:
        note(
            f"note: these are not the data of the training (then {trained_on['name']}, now {data.name}): figures of "
            "different data cannot be compared, and test images may have been trained on."
        )
