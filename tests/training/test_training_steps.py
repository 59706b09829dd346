"""What a step looks at once for the whole data set, and where training stands between two steps."""

from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.errors import ShapeError, SupportError
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.terms import exposed, traced
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training
from bayes_vae.training.parameters import own_store

pytestmark = pytest.mark.usefixtures("clean_globals")


@pytest.fixture(scope="module")
def data() -> Data:
    """Sixty small gray images with labels, binarized anew at each use."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8)
    return bv.load_data(pixels, labels=torch.arange(60) % 3, policy="stochastic")


class Foreign(nn.Module):
    """A pair of bound methods."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 4), nn.Linear(4, 2)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


def foreign(data):
    owner = Foreign()
    return owner.model, owner.guide


def built(**options):
    return lambda data: build_pair(PairSettings(latent_dim=2, hidden_dims=(4,), **options), data)


@pytest.mark.parametrize(
    "make",
    [built(), built(structure="two-layer"), built(structure="semi-supervised"), foreign],
    ids=["exposed", "traced", "enumerated", "foreign"],
)
def test_the_support_is_looked_at_once_for_each_row(data, make, monkeypatch):
    """In the first epoch, in which each row has its turn; not in the later ones."""
    looked = []

    def count(name, fn, value, mask, x, index):
        if torch.is_grad_enabled():  # not in the validation, nor where the pair is read
            looked.extend(index.tolist())

    for module in (exposed, traced):
        monkeypatch.setattr(module, "check_observed", count)
    bv.fit(*make(data), data, epochs=3, batch_size=17, progress="none")
    assert sorted(looked) == sorted(data.train.index.tolist())


def test_a_row_outside_the_support_is_refused_in_the_first_epoch():
    """Wherever it is: the last of the rows in the order of the epoch."""
    values = torch.ones(60, 4)
    values[torch.arange(4)] = 0.0
    data = bv.load_data(values, kind="real")
    order = torch.randperm(len(data.train), generator=_generator_of_batches())
    data.train.values[order[-1], 2] = 0.5
    epochs = []
    with pytest.raises(SupportError, match="a Bernoulli likelihood takes zeros and ones"):
        bv.fit(*foreign(data), data, epochs=2, batch_size=7, progress="none", callbacks=[epochs.append])
    assert epochs == []


def _generator_of_batches():
    with own_store():
        data = bv.load_data(torch.ones(60, 4), kind="real")
        return Training(*foreign(data), data, TrainingSettings(), torch.device("cpu")).batches


def test_an_index_that_names_two_rows_is_refused(data):
    twice = replace(data, train=replace(data.train, index=data.train.index.clone().fill_(3)))
    with pytest.raises(ShapeError, match="index must name each observation once"):
        bv.fit(*built()(data), twice, epochs=1, progress="none")


@pytest.mark.parametrize("structure", ["conditional", "semi-supervised"])
def test_a_step_has_the_labels_of_its_rows(data, structure, monkeypatch):
    """Those that the model sees: of a label that is a latent, the visible ones alone."""
    data = data.with_visible_labels(9) if structure == "semi-supervised" else data
    model, guide = built(structure=structure)(data)
    visible = torch.ones(len(data.train)).bool() if data.train.visible is None else data.train.visible
    expected = dict(zip(data.train.index.tolist(), torch.where(visible, data.train.labels, -1).tolist(), strict=True))
    with own_store(model, guide):
        training = Training(model, guide, data, TrainingSettings(batch_size=17), torch.device("cpu"))
        seen, whole = {}, training.loss.terms_of_rows

        def record(model, guide, x, index, **options):
            seen.update(zip(index.tolist(), x[1].tolist(), strict=True))
            return whole(model, guide, x, index, **options)

        monkeypatch.setattr(training.loss, "terms_of_rows", record)
        training.enter_epoch()
        for _ in range(training.steps_per_epoch):
            training.step()
    assert seen == expected


def test_the_norm_of_the_gradient_is_that_of_all_parameters(data):
    model, guide = built()(data)
    with own_store(model, guide):
        training = Training(model, guide, data, TrainingSettings(batch_size=17), torch.device("cpu"))
        training.enter_epoch()
        training.step()
    gradients = torch.cat([parameter.grad.flatten() for parameter in training.parameters])
    assert training.sums[2].item() == pytest.approx(gradients.norm().item(), rel=1e-5)


def test_the_best_epoch_starts_at_none_and_goes_back_with_a_checkpoint(data):
    """0 stands for the initial weights until an epoch has ended; one that is no better changes nothing."""
    model, guide = built()(data)
    with own_store(model, guide):
        training = Training(model, guide, data, TrainingSettings(batch_size=17, epochs=9), torch.device("cpu"))
        initial = training.trainable.state()

        def epoch():
            training.enter_epoch()
            while training.steps_done < training.steps_per_epoch:
                training.step()
            return training.end_epoch()

        training.enter_epoch()
        training.step()
        start = training.checkpoint()
        assert (start.best_epoch, training.best_epoch) == (0, 0)
        assert same(start.best_weights, initial)
        row = epoch()
        first = training.checkpoint()
        assert (first.best_epoch, training.best_epoch) == (1, 1)
        assert same(first.best_weights, training.trainable.state())
        row["validation_elbo"] = 0.0  # what no later epoch can exceed
        epoch()
        assert training.best_epoch == 1
        assert same(training.best_weights, first.best_weights)
        for past in training.history:
            past["validation_elbo"] = -1e9
        epoch()
        assert training.best_epoch == 3
        assert same(training.best_weights, training.trainable.state())
        training.restore(first)
        assert (training.best_epoch, training.epochs_done, len(training.history)) == (1, 1, 1)
        assert same(training.best_weights, first.best_weights)
        training.restore(start)
        assert (training.best_epoch, training.epochs_done, training.steps_done) == (0, 0, 1)
        epoch()
        assert training.best_epoch == 1


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
