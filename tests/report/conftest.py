"""A small run on the digits with its report's contents, computed once."""

import pytest

import bayes_vae as bv
from bayes_vae.report import report_contents, report_page
from bayes_vae.report.summary import sections
from bayes_vae.settings import PairSettings, ReportSettings
from bayes_vae.training import build_pair

FEW = ReportSettings(
    num_observations=30,
    num_particles=40,
    num_temperatures=6,
    num_gap_observations=6,
    num_encoded=60,
    num_simulated=60,
    num_diagnosed=100,
    seed=3,
    device="cpu",
)


@pytest.fixture(scope="session")
def few():
    """Settings of a quick report."""
    return FEW


@pytest.fixture(scope="session")
def data():
    return bv.load_data("digits")


@pytest.fixture(scope="session")
def run(data, isolated_globals):
    """A pair trained for two epochs."""
    with isolated_globals(seed=0):
        return bv.fit(*build_pair(PairSettings(3, (12,)), data), data, epochs=2, progress="none")


@pytest.fixture(scope="session")
def contents(run, data, isolated_globals):
    from bayes_vae.report import contents as made
    from bayes_vae.runs.config import config_of

    with isolated_globals(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "DIAGNOSED_FOR", float("inf"))  # a slow machine leaves nothing out
        return report_contents(
            run.model, run.guide, data, FEW, name="a run", config=config_of(run), history=run.history
        )


@pytest.fixture(scope="session")
def found(contents, isolated_globals):
    """The sections."""
    with isolated_globals():
        return sections(contents)


@pytest.fixture(scope="session")
def page(contents, found):
    return report_page(contents, found)
