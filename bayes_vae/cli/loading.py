"""A run directory, opened by a command: its pair, its test set, its files, and notes on data that are not its own."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import json_text, note, say
from bayes_vae.errors import DataError, RunError, SettingsError, SupportError
from bayes_vae.settings import DataSettings, RowsChoice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayes_vae.data import Data, Split
    from bayes_vae.runs import RunDirectory

__all__ = [
    "OpenedRun",
    "chosen_rows",
    "open_named",
    "open_run",
    "open_with",
    "own_test_rows",
    "require_folders",
    "run_flags",
]

Settings = TypeVar("Settings")


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run and the data that it is evaluated on.

    Attributes:
        directory: where it is.
        model: p(x, z), on the device.
        guide: q(z given x), on the device.
        data: the data set.
        device: name of the device.
        pending: what is to be done to the run's files once its result was printed, in order.
    """

    directory: RunDirectory
    model: Any
    guide: Any
    data: Data
    device: str
    pending: list[Callable[[], object]] = field(default_factory=list)

    @property
    def about_data(self) -> dict[str, str]:
        """What the figures are of, in JSON types."""
        return {"name": self.data.name, "split": "test", "policy": self.data.policy}

    def file(self, name: str) -> str:
        """The name of a file of the run; of other data, or of another policy, than the run's it has a suffix."""
        path = Path(name)
        return path.with_name(f"{path.stem}{self.directory.suffix_for(self.data.summary())}{path.suffix}").as_posix()

    def add(self, name: str, content: bytes) -> str:
        """Let :meth:`store` write a file into the run directory, or replace it; return its path."""
        name = self.file(name)
        self.pending.append(partial(self.directory.add_file, name, content))
        return str(self.directory.path / name)

    def draw(self, name: str, figure: Figure) -> str:
        """Let :meth:`store` write a figure into the folder of figures; return its path."""
        from bayes_vae.plots import save_figure

        return self.add(f"figures/{name}.png", save_figure(figure))

    def remove(self, name: str) -> None:
        """Let :meth:`store` delete a file that an older command wrote, if there is one."""
        self.pending.append(partial(self.directory.remove_file, self.file(name)))

    def store(self) -> None:
        """Do what is pending; call it once the figures were printed, which a full disk then cannot take away.

        Raises:
            RunError: the first thing that could not be stored.
        """
        while self.pending:
            self.pending.pop(0)()

    def show(self, result: dict[str, Any], text: str, written: str, as_json: bool) -> int:
        """Print a result, then store its files.

        Args:
            result: in JSON types.
            text: as a person reads it.
            written: what to say to a person once the files are stored.
            as_json: whether a program reads it.
        """
        say(json_text(result) if as_json else text)
        self.store()
        if not as_json:
            say(written)
        return 0

    def test_rows(self, num_observations: int | None, seed: int) -> Split:
        """The first test observations, their pixels drawn with the seed.

        A guide with parameters for each observation is fitted to them.
        """
        from bayes_vae.terms.rows import prepare_for

        rows = self.data.test[:num_observations].seeded(seed)
        prepare_for(self.model, self.guide, rows)
        return rows


def chosen_rows(opened: OpenedRun, which: RowsChoice | None, others: bool, seed: int) -> Split:
    """The rows that --rows names, their pixels drawn with the seed.

    Args:
        opened: the run and its data.
        which: "all", or a split; when None every row where others than the run's own data were named, else the test
            rows.
        others: whether --data named a file.
        seed: of the pixels.

    Raises:
        SettingsError: there is no such row.
    """
    from bayes_vae.data.split import Split
    from bayes_vae.terms.rows import prepare_for

    data, which = opened.data, which or ("all" if others else "test")
    if which == "all":
        rows = Split.joined([split for split in (data.train, data.validation, data.test) if len(split) > 0])
    else:
        rows = getattr(data, which)
    if len(rows) == 0:
        raise SettingsError(f"{data.name} has no {which} rows: choose others with --rows.")
    rows = rows.seeded(seed)
    prepare_for(opened.model, opened.guide, rows)
    return rows


def own_test_rows(opened: OpenedRun, settings: DataSettings) -> Split:
    """The test rows of the run's own data, under the policy of what is open.

    Raises:
        DataError, RunError: they are not there any more.
    """
    from bayes_vae.runs.run_data import load_run_data

    if opened.data.digest == opened.directory.config["data"]["digest"]:
        return opened.data.test
    policy: Any = opened.data.policy
    return load_run_data(opened.directory, replace(settings, policy=policy)).test


def open_named(
    arguments: Sequence[str], command: str, description: str, settings: type[Settings]
) -> tuple[OpenedRun, Settings, bool]:
    """Read the flags of a command on a run; return the run, the settings, and whether JSON is asked for.

    Raises:
        RunError: no such folder; said at once, before anything slow is imported.
    """
    parser = run_flags(command, "RUN [--flag value ...]", description, settings)
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_common()
    options = parser.parse_args(arguments)
    chosen = build_settings(settings, options)
    return open_with(options, options.run), chosen, options.json


def run_flags(command: str, usage: str, description: str, settings: type[Settings]) -> Flags:
    """The flags of a command on runs: its settings, and data in the place of the runs' own."""
    parser = Flags(command, usage, description)
    parser.add_settings(settings, "estimates")
    group = parser.add_argument_group("data other than the run's own")
    group.add_argument(
        "--data",
        metavar="NAME",
        help="another data set; every row of a file or folder is a test row, unless --split is given",
    )
    parser.add_flag(
        group,
        "split",
        tuple[float, ...],
        (),
        "split the rows of --data: training, validation and test rows, "
        "as three fractions or numbers of rows, such as 0.8 0.1 0.1",
    )
    group.add_argument("--data-root", metavar="NAME", help="folder of downloaded data")
    group.add_argument("--policy", metavar="NAME", help="another policy: stochastic, static, threshold or none")
    return parser


def open_with(options: Namespace, path: str) -> OpenedRun:
    """Open a run with the flags of :func:`run_flags`.

    Raises:
        RunError: no such folder; said at once, before anything slow is imported.
    """
    require_folders([path])
    from bayes_vae.training.machine import resolve_device

    device = str(resolve_device(options.device))
    return open_run(path, device, options.data, options.data_root, options.policy, options.split)


def require_folders(paths: Sequence[str]) -> None:
    """Refuse what is no folder, before anything slow is imported.

    Raises:
        RunError: says what it is.
    """
    for path in paths:
        if not Path(path).is_dir():
            what = "it is a file" if Path(path).exists() else "there is no such folder"
            raise RunError(f"{path} is not a run directory: {what}. Expected one that `bayes-vae train --out` wrote.")


def open_run(
    path: str, device: str, data: str | None, data_root: str | None, policy: Any, split: tuple[float, ...] = ()
) -> OpenedRun:
    """Open a run directory.

    Args:
        path: of the run.
        device: already resolved.
        data: another data set than the run's, or None.
        data_root: its folder, or None.
        policy: another policy than the run's, or None.
        split: of another file, shares of its rows; empty where every row is a test row.

    Raises:
        RunError: not a run directory, or its data are not known.
        SettingsError: shares of the run's own rows, which are split as in training.
        DataError, SupportError: the data cannot be had, or are unfit for the policy.
    """
    from bayes_vae.data import DATA_NAMES
    from bayes_vae.runs import RunDirectory
    from bayes_vae.runs.directory import unfinished_note
    from bayes_vae.runs.run_data import data_settings, load_run_data
    from bayes_vae.terms.traits import traits_of

    directory = RunDirectory(path)
    if directory.unfinished:
        note(f"note: {unfinished_note(directory)}")
    if split and (data is None or data in DATA_NAMES):
        raise SettingsError(
            "--split goes with --data FILE: a run's own data and the named data sets are split already."
        )
    given = {"data": data, "data_root": data_root, "policy": policy}
    changes = {key: value for key, value in given.items() if value is not None}
    settings = replace(data_settings(directory, named=data is not None), **changes)
    try:
        if data is None or data in DATA_NAMES:
            data_set = load_run_data(
                directory, settings if data is None else replace(settings, num_labelled=None, split=())
            )
        else:
            data_set = _other_data(directory, settings, split)
    except DataError as error:
        if data is not None or settings.data in DATA_NAMES:
            raise
        raise DataError(
            f"{error} The run {path} was trained on {settings.data!r}, a path from the folder where training ran: say "
            "where it is now with --data FILE."
        ) from error
    if data_set.standardization is not None:
        offset = float(data_set.log_evidence_offsets.mean())
        of = ", the mean over test rows by what was observed," if data_set.missing_share else ""
        note(
            f"note: x is standardized: add {offset:.4g} nats{of} to log p(x) and to the ELBO for densities in the "
            "data's units."
        )
    _note_differences(data_set, directory.config["data"])
    model, guide = directory.pair()
    traits = traits_of(model)
    if traits.needs_labels and not traits.infers_labels:
        note("note: this model is given the label y of each observation: every log p(x) is log p(x given y).")
    return OpenedRun(directory, model.to(device), guide.to(device), data_set, device)


def _other_data(directory: RunDirectory, settings: DataSettings, split: tuple[float, ...]) -> Data:
    """A file or folder that was named: the run's own data in another place, or other rows.

    Other rows are what the run's are, standardized as those were, and all of them test rows unless a split is given.
    """
    from bayes_vae.data.data_frames import NoSuchColumnError
    from bayes_vae.runs.run_data import load_run_data, run_kind

    about = directory.config["data"]
    if not split:
        try:
            own = load_run_data(directory, settings)
            if own.digest == about["digest"]:
                return own
        except (DataError, SupportError, SettingsError):
            pass  # other rows: what is wrong with them is said below
    kind = run_kind(about) if settings.kind == "auto" else settings.kind
    settings = replace(settings, kind=kind, split=split or (0, 0, 1), num_labelled=None)
    settings = replace(settings, validation_data=None, test_data=None)
    try:
        found = load_run_data(directory, settings)
    except NoSuchColumnError:  # new rows need no labels
        found = load_run_data(directory, replace(settings, label_column=None))
    if list(found.data_shape) != list(about["data_shape"]):
        raise DataError(
            f"observations of {found.name} have the shape {tuple(found.data_shape)}, but the run was trained on "
            f"{tuple(about['data_shape'])}. Bring them into that shape."
        )
    columns = tuple(about.get("columns", found.columns))
    if found.columns and found.columns != columns:
        raise DataError(
            f"the columns of {found.name} are {', '.join(found.columns)}, but the run was trained on "
            f"{', '.join(columns)}. Bring them into the same order, and leave others out."
        )
    return found


def _note_differences(data: Data, trained_on: dict[str, Any]) -> None:
    """Say so on standard error where figures would not be comparable with those of the run."""
    if data.policy != trained_on["policy"]:
        note(
            f"note: data policy {data.policy}, but the run was trained with {trained_on['policy']}: figures of "
            "different policies cannot be compared."
        )
    elif data.digest != trained_on["digest"]:
        note(
            f"note: these are not the data that the run was trained on (then {trained_on['name']}, now {data.name}): "
            "figures of different data cannot be compared, and test images may have been trained on."
        )
