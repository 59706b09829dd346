"""The table of parts agrees with the classes, with the types of the settings, and with the tables of the docs."""

import dataclasses
import inspect
import re
import typing
from pathlib import Path

import pytest

from bayes_vae.errors import SettingsError
from bayes_vae.objectives import Elbo
from bayes_vae.pairs.building import NETWORKS
from bayes_vae.parts.part import AtLeast, Need, Part, class_at
from bayes_vae.parts.registry import added, build_part, find, help_with_parts, names, part_of, rows
from bayes_vae.parts.table import TABLE
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.settings.literals import PARTS, choices_of

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    field.name: field.default for kind in (PairSettings, TrainingSettings) for field in dataclasses.fields(kind)
}
CLASSES = [(part, where) for part in TABLE if part.kind != "rung" for where in (part.where, part.guide) if where]
FROM_DATA = {"data_shape", "num_classes", "num_observations", "values", "mask_input", "columns", "largest"}
GIVEN = {*NETWORKS, *FROM_DATA, "model", "likelihood", "prior"}
"""Arguments that are no options: sizes of the networks, what the data tell, and the parts beside it."""
PYTHON_ONLY = {"context_dim", "step_size", "label_weight", "label_prior", "noise_scale"}
"""Arguments that no setting reaches."""

TOY = Part("prior", "toy", f"{__name__}:Toy", "a toy")


class Toy:
    """A class with a row of its own."""


def in_table(part, where):
    return f"{part.kind}-{part.name}-{where.partition(':')[2]}"


@pytest.mark.parametrize(("part", "where"), CLASSES, ids=[in_table(*row) for row in CLASSES])
def test_a_class_takes_the_options_of_its_row_and_nothing_else(part, where):
    found = class_at(where)
    assert inspect.isclass(found)
    assert not inspect.isabstract(found)
    parameters = inspect.signature(found).parameters
    options = {argument: setting for setting, argument in part.options.items() if argument in parameters}
    assert set(parameters) - GIVEN - PYTHON_ONLY == set(options)
    if where == part.where:
        assert len(options) == len(part.options)
    for argument, setting in options.items():
        default = parameters[argument].default
        assert default in (inspect.Parameter.empty, SETTINGS[setting]), (argument, setting)


@pytest.mark.parametrize("kind", PARTS.values())
def test_the_types_of_the_settings_have_the_names_of_the_table(kind):
    (hint,) = (hint for hint, other in PARTS.items() if other == kind)
    assert typing.get_args(hint) == names(kind) == choices_of(hint)
    assert len(set(names(kind))) == len(names(kind))
    owner = TrainingSettings if kind == "objective" else PairSettings
    assert typing.get_type_hints(owner)[kind] == hint
    assert SETTINGS[kind] == names(kind)[0], "the first row is the default"


def test_what_rows_say_of_others_exists():
    traits = {trait for part in TABLE for trait in part.offers}
    for part in TABLE:
        assert set(part.only) <= set(part.options)
        for need in part.needs:
            assert isinstance(need, Need)
            assert rows(need.kind, need.trait), need
        for least in part.least:
            assert isinstance(least, AtLeast)
            assert {least.setting, least.bound if isinstance(least.bound, str) else "rank"} <= set(SETTINGS)
    assert {need.trait for part in TABLE for need in part.needs} <= traits


@pytest.mark.parametrize(
    ("trait", "attribute"),
    [("needs labels", "needs_labels"), ("infers labels", "infers_labels"), ("one q per observation", "needs_index")],
)
def test_the_traits_of_a_row_are_those_of_its_programs(trait, attribute):
    found = [part for part in TABLE if part.kind in ("structure", "guide") and trait in part.offers]
    assert found
    for part in TABLE:
        if part.kind in ("structure", "guide"):
            programs = [class_at(where) for where in (part.where, part.guide) if where]
            assert all(getattr(program, attribute, False) == (part in found) for program in programs)


def test_parts_are_found_by_name_and_by_class():
    assert part_of(Elbo) is find("objective", "elbo")
    with pytest.raises(SettingsError, match="unknown guide 'spike': choose one of normal, full-covariance, low-rank"):
        find("guide", "spike")
    with pytest.raises(SettingsError, match=r"test_table:Toy is not in the table of parts: give it a row in bayes_vae"):
        part_of(Toy)


def test_a_part_is_in_the_table_until_the_end_of_the_block():
    with added(TOY):
        assert part_of(Toy) is TOY
        assert choices_of(typing.get_type_hints(PairSettings)["prior"])[-1] == "toy"
        assert help_with_parts("prior", "p(z)").endswith("toy (a toy)")
        assert type(build_part("prior", "toy", latent_dim=2)) is Toy
    assert TOY not in TABLE
    with pytest.raises(ZeroDivisionError), added(TOY):
        raise ZeroDivisionError
    assert TOY not in TABLE
    with pytest.raises(SettingsError, match="prior must be one of standard-normal, .*, got 'toy'"):
        PairSettings(prior="toy")


def rows_of_page(page):
    """Return the cells of the first table of a page whose rows begin with code, by row."""
    lines = (ROOT / page).read_text(encoding="utf-8").split("\n\n")
    (table,) = [block for block in lines if re.match(r"\|.* name \|", block)]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("kind", ["prior", "guide", "objective"])
def test_the_table_of_a_page_has_the_class_and_the_name_of_every_row(kind):
    page = rows_of_page(f"docs/{kind}s.md")
    found = {name: where.rpartition(".")[2] for where, name, *_ in page}
    assert found == {part.name: part.where.partition(":")[2] for part in rows(kind)}
    if kind != "objective":
        closed = {name for _, name, _, kl, *_ in page if kl in ("closed form", "zero")}
        assert closed == set(names(kind, "closed-form KL"))


def test_the_table_of_likelihoods_has_every_row():
    page = {name: (kinds, probability) for name, _, kinds, _, _, probability in rows_of_page("docs/likelihoods.md")}
    assert tuple(page) == names("likelihood")
    for name, (kinds, density) in page.items():
        part = find("likelihood", name)
        assert {kind for kind in ("binary", "counts", "real") if kind in kinds} == set(part.data_kinds) - {"gray"}
        assert (density == "of a probability") == ("discrete x" in part.offers)


def test_the_table_of_the_readme_has_every_part():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = {line.split(" | ")[0].strip("| "): re.findall(r"`([^`]+)`", line) for line in text.splitlines()}
    for kind in PARTS.values():
        assert tuple(table[kind]) == names(kind)


def test_a_rung_is_a_function_of_the_climb():
    for part in rows("rung"):
        assert list(inspect.signature(part.cls).parameters) == ["climb"]
