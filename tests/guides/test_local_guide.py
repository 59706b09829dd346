"""A guide with parameters for each observation, from training to a report: which rows it knows, and who fits them."""

import copy

import pytest
import torch

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.guides import LocalNormalGuide
from bayes_vae.report import report_contents
from bayes_vae.settings import PairSettings, ReportSettings
from bayes_vae.terms.program import admit_rows, prepare_guide
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training


@pytest.fixture(scope="module")
def data() -> Data:
    """Sixty small binary images."""
    generator = torch.Generator().manual_seed(0)
    return bv.load_data(torch.randint(0, 2, (60, 3, 4), generator=generator, dtype=torch.uint8))


def train(data, **options):
    pair = build_pair(PairSettings(2, (6,), guide="local"), data)
    settings = {"epochs": 2, "batch_size": 17, "learning_rate": 0.05}
    return bv.fit(*pair, data, progress="none", **{**settings, **options})


@pytest.fixture(scope="module")
def run(data, isolated_globals):
    with isolated_globals():
        return train(data)


def test_training_makes_the_training_and_validation_rows_known(data, run):
    known = torch.cat([data.train.index, data.validation.index])
    expected = torch.zeros(len(run.guide.fitted), dtype=torch.bool)
    expected[known] = True
    assert torch.equal(run.guide.fitted, expected)
    assert (run.guide.free_loc[known].detach() != 0).all()
    assert torch.equal(run.guide.free_loc[data.test.index].detach(), torch.zeros(len(data.test), 2))


def test_test_rows_are_refused_until_they_are_fitted(data, run, tmp_path):
    bv.save(run, tmp_path / "run")
    model, guide = bv.load(tmp_path / "run")
    torch.testing.assert_close(guide.state_dict(), run.guide.state_dict())
    x, index = data.test.observations(), data.test.index
    with pytest.raises(SettingsError, match=rf"no parameters for the observation with index {int(index[0])}, which"):
        bv.elbo_terms(model, guide, x, 5, index=index)
    untouched = {name: weight.clone() for name, weight in model.state_dict().items()}
    prepare_guide(model, guide, x, index)
    terms = bv.elbo_terms(model, guide, x, 200, index=index).averages()
    amortized = bv.elbo_terms(model, guide, x, 200, index=data.train.index[: len(x)]).averages()
    assert terms["elbo"].value > amortized["elbo"].value  # fitted to these rows, not to others
    torch.testing.assert_close(model.state_dict(), untouched, rtol=0, atol=0)
    for other in (data.train.index, data.validation.index):
        torch.testing.assert_close(guide.free_loc[other], run.guide.free_loc[other], rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_epoch_later_validation_rows_are_as_good_as_fitted_from_the_start(data, run):
    """The few steps of a warm start, against many from the prior."""
    x, index = data.validation.observations(), data.validation.index
    fresh = LocalNormalGuide(2, len(run.guide.fitted)).eval()
    fresh.fit_to(run.model, x, index=index)
    warm, cold = (bv.elbo_terms(run.model, guide, x, 400, index=index).elbo for guide in (run.guide, fresh))
    assert (cold - warm).mean().item() == pytest.approx(0, abs=0.01)


def test_only_the_first_validation_fits_from_the_start(data, monkeypatch):
    asked, fit_to = [], LocalNormalGuide.fit_to

    def prepare(guide, model, x, index, *, again):
        asked.append((again, index.tolist()))
        fit_to(guide, model, x, index=index, num_steps=1)

    monkeypatch.setattr(LocalNormalGuide, "prepare", prepare)
    train(data, epochs=3)
    rows = data.validation.index.tolist()
    assert asked == [(False, rows), (True, rows), (True, rows)]
    steps = []
    monkeypatch.undo()
    monkeypatch.setattr(LocalNormalGuide, "_fit", lambda *given: steps.append(given[-2]))
    guide, index = LocalNormalGuide(2, 60), torch.arange(3)
    for again in (True, True, False):  # rows that are not known are fitted from the start all the same
        guide.prepare(build_pair(PairSettings(2, (6,)), data)[0], torch.zeros(3, 3, 4), index, again=again)
    assert steps == [400, 30, 400]


def test_resumed_training_is_the_uninterrupted_one(data, run, tmp_path, monkeypatch):
    whole = Training.step

    def step(self):
        if self.total_steps == 4:  # within the second epoch, after a validation
            raise RuntimeError("the power is cut")
        whole(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", step)
        with pytest.raises(RuntimeError, match="the power is cut"):
            train(data, out=tmp_path / "run")
    pair = build_pair(PairSettings(2, (6,), guide="local"), data)
    resumed = bv.fit(*pair, data, resume=tmp_path / "run", progress="none")
    torch.testing.assert_close(resumed.last_state, run.last_state, rtol=0, atol=0)


def test_diagnosis_and_report_fit_the_rows_that_they_measure(data, run, monkeypatch):
    """Held-out rows are; the diagnosis looks at training rows as training left them."""
    guide, few = copy.deepcopy(run.guide), {"num_steps": 2, "num_particles": 1}
    monkeypatch.setattr(guide, "prepare", lambda model, x, index, again: guide.fit_to(model, x, index=index, **few))
    subject = Subject(run.model, guide, data)
    _ = subject.train
    assert torch.equal(guide.free_loc, run.guide.free_loc)
    x, index = subject.test
    assert torch.isfinite(bv.elbo_terms(run.model, guide, x, 5, index=index).elbo).all()

    class MeasuringError(Exception):
        pass

    def comparison_of(opened, *_, **options):
        raise MeasuringError(guide.fitted[opened.index].all())

    guide.fitted[data.test.index] = False
    monkeypatch.setattr("bayes_vae.report.contents.comparison_of", comparison_of)
    with pytest.raises(MeasuringError, match="True"):
        report_contents(run.model, guide, data, ReportSettings(num_observations=4, num_encoded=6))


def test_an_objective_admits_its_batch_only_where_it_trains(data, clean_globals):
    model, guide = build_pair(PairSettings(2, (6,), guide="local"), data)
    x, index = data.test.observations(), data.test.index
    objective = bv.Elbo()(model, guide)
    message = r"in a training loop without bayes_vae's objectives, guide\.admit\(index\)"
    with pytest.raises(SettingsError, match=message):
        bv.elbo_terms(model, guide, x, 2, index=index)
    with torch.no_grad(), pytest.raises(SettingsError, match="has no parameters for the observation"):
        objective(x, index=index)
    objective(x[:3], index=index[:3])
    assert guide.fitted.nonzero().flatten().tolist() == index[:3].sort().values.tolist()


def test_fitting_leaves_the_random_state_alone(data):
    model, guide = build_pair(PairSettings(2, (6,), guide="local"), data)
    before = torch.get_rng_state()
    guide.fit_to(model, data.test.observations(), index=data.test.index, num_steps=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_are_fitted_alike_alone_and_in_any_company(data):
    model, guide = build_pair(PairSettings(2, (6,), guide="local"), data)
    x, index = data.test.observations(), data.test.index
    twin = LocalNormalGuide(2, len(guide.fitted))
    guide.fit_to(model, x, index=index, num_steps=20)
    for row in reversed(range(len(x))):
        twin.fit_to(model, x[row : row + 1], index=index[row : row + 1], num_steps=20)
    torch.testing.assert_close(guide.free_loc, twin.free_loc)
    torch.testing.assert_close(guide.free_scale, twin.free_scale)


def test_calibration_has_no_rows_for_it(data, run):
    with pytest.raises(NotDefinedError, match="this guide has parameters for each observation"):
        bv.calibrate_guide(run.model, run.guide, num_observations=20)


def test_guides_without_such_rows_are_not_asked():
    """A program from elsewhere may have a method of that name, for another purpose."""

    class Elsewhere:
        def prepare(self):
            raise AssertionError

        admit = prepare

    prepare_guide(None, Elsewhere(), torch.zeros(1), torch.zeros(1))
    admit_rows(Elsewhere(), torch.zeros(1))
