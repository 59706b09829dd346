"""The diagnosis says whose split it used, takes rows as people hold them, and does with few."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.diagnosis.result import UNKNOWN_SPLIT
from bayes_vae.errors import DataError, ProgramError, UnscaledDataWarning

WINES = np.random.default_rng(0).normal(size=(178, 3)).astype(np.float32)


@pytest.fixture
def pair(isolated_globals):
    with isolated_globals(seed=0):
        encoder, decoder = torch.nn.Linear(3, 4), torch.nn.Linear(2, 3)
    about = {"encoder_output": "loc-and-log-scale", "split": True, "decoder_output": "mean"}
    return bv.pair_from_networks(
        encoder, decoder, latent_dim=2, data_shape=(3,), likelihood={"name": "normal", "noise": "shared"}, **about
    )


def test_178_rows_are_enough(pair):
    found = bv.diagnose(*pair, bv.load_data(WINES), seconds=float("inf"))
    assert (found.num_train, found.num_test, found.split_by) == (138, 20, "load_data")
    assert "elbo" in " ".join(found.measurements)
    assert UNKNOWN_SPLIT.split(".")[0] in " ".join(found.table().split())
    assert found.to_json()["split_by"] == "load_data"


def test_an_own_split_is_used_and_named(pair):
    found = bv.diagnose(*pair, bv.load_data(train=WINES[:150], test=WINES[150:]), seconds=float("inf"))
    assert (found.num_train, found.num_test, found.split_by) == (130, 28, "caller")
    assert "Split: training and test rows are those that you gave." in found.table()
    assert UNKNOWN_SPLIT not in found.sentence()


def test_nothing_wrong_is_not_said_of_rows_that_training_may_have_seen():
    about = {"measurements": {"a": 1.0}, "not_checked": (), "seed": 0, "data_policy": "none", "num_particles": 1}
    sentences = [
        bv.Diagnosis((), num_train=20, num_test=20, split_by=by, **about).sentence()
        for by in ("load_data", "caller", None)
    ]
    assert sentences[0] == f"{sentences[1]} {UNKNOWN_SPLIT}"
    assert all(said.startswith("Nothing was found to be wrong, by any of the") for said in sentences)
    assert UNKNOWN_SPLIT not in sentences[1] == sentences[2]


def test_too_few_rows_are_told_how_to_be_split(pair):
    found = bv.diagnose(*pair, bv.load_data(WINES[:60]), seconds=float("inf"))
    assert "there are only 6, and means need 20. Choose another split: load_data(x, test=0.4)" in found.sentence()
    assert bv.diagnose(*pair, bv.load_data(WINES[:60], test=0.4)).num_test == 24


class Labelled(torch.nn.Module):
    """p(x given z, y) as people write it in Pyro: programs of (x, y)."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(6, 2), torch.nn.Linear(5, 6)

    def model(self, x, y):
        pyro.module("labelled", self)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            there = torch.nn.functional.one_hot(y, 3).float().expand(*z.shape[:-1], 3)
            logits = self.decoder(torch.cat([z, there], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x, y):
        pyro.module("labelled", self)
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


@pytest.fixture
def labelled(isolated_globals):
    with isolated_globals(seed=0):
        return Labelled(), (torch.rand(120, 6) < 0.4).float(), torch.arange(120) % 3


@pytest.mark.usefixtures("clean_globals")
def test_programs_of_several_tensors_are_trained_and_diagnosed(labelled):
    programs, x, y = labelled
    run = bv.fit(programs.model, programs.guide, (x, y), epochs=2, progress="none")
    assert len(run.history) == 2
    found = bv.diagnose(programs.model, programs.guide, (x, y))
    assert found.num_test == 20
    data = bv.load_data((x, y), policy="none")
    terms = bv.elbo_terms(programs.model, programs.guide, data.test, seed=3)
    rows = data.test.index
    direct = bv.elbo_terms(programs.model, programs.guide, (x[rows], y[rows]), seed=3, index=rows)
    assert torch.equal(terms.elbo, direct.elbo)


def test_programs_that_are_not_given_what_they_take(labelled):
    programs, x, y = labelled
    data = bv.load_data(x, labels=y, policy="none")
    for use in (bv.diagnose, lambda *pair: bv.fit(*pair, epochs=1, progress="none")):
        with pytest.raises(ProgramError, match=r"model is called with 2 tensors, but the data give 1"):
            use(programs.model, programs.guide, data)
    with pytest.raises(DataError, match="fit takes data, not their name"):
        bv.fit(programs.model, programs.guide, "digits")


def test_loaders_frames_and_tensors_are_taken_as_they_are(pair, isolated_globals):
    rows = torch.from_numpy(WINES)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows), 32)
    with isolated_globals(seed=0):
        first, second = (
            bv.fit(*pair, data, epochs=1, progress="none").data for data in (loader, bv.load_data(WINES, kind="real"))
        )
    assert first["digest"] == second["digest"]
    assert first["kind"] == "real"


def test_unscaled_columns_are_named_before_training(pair):
    with pytest.warns(UnscaledDataWarning, match=r"0 \(mean .*standardize=True"):
        bv.fit(*pair, bv.load_data(WINES * [50, 1, 1]), epochs=1, progress="none")
