"""Trainings that one process and several do alike, and what they come to, as plain values that can be compared."""

import os
import signal
import sys

import pyro
import pyro.distributions as dist
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError, NumericalError
from bayes_vae.process import rank_and_size
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training

SETTINGS = {"epochs": 1, "batch_size": 17, "precision": "64", "learning_rate": 1e-2, "progress": "none"}


class Foreign(nn.Module):
    """A pair of bound methods, whose guide draws with a plate of its own inside that of the data."""

    def __init__(self, inner=False, guide_fn=dist.Normal):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 4), nn.Linear(4, 2)
        self.dropout, self.inner, self.guide_fn = nn.Dropout(0.0), inner, guide_fn

    def latent(self, fn):
        if self.inner:
            with pyro.plate("dimensions", 2, dim=-2):
                return pyro.sample("z", fn).movedim(-2, -1)
        return pyro.sample("z", fn if fn.event_shape else fn.to_event(1))

    def model(self, x):
        shape = (2, 1) if self.inner else (2,)
        with pyro.plate("data", len(x)):
            z = self.latent(dist.Normal(x.new_zeros(shape), 1.0))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        loc = self.dropout(self.encoder(x))
        with pyro.plate("data", len(x)):
            self.latent(self.guide_fn(loc.T if self.inner else loc, 0.5))


def foreign(**options):
    def make(_):
        owner = Foreign(**options)
        return owner.model, owner.guide

    return make


def with_dropout(data):
    owner = Foreign()
    owner.dropout.p = 0.5
    return owner.model, owner.guide


def gamma(_):
    owner = Foreign(guide_fn=lambda loc, scale: dist.Gamma(loc.exp(), 1.0))

    def model(x):
        with pyro.plate("data", len(x)):
            z = owner.latent(dist.Gamma(x.new_ones(2), 1.0))
            pyro.sample("x", dist.Bernoulli(logits=owner.decoder(z)).to_event(1), obs=x)

    owner.model = model
    return owner.model, owner.guide


def built(**settings):
    return lambda data: build_pair(PairSettings(**{"latent_dim": 2, "hidden_dims": (8,), **settings}), data)


PAIRS = {
    "amortized normal": (built(), {"epochs": 2}),
    "three particles": (built(), {"num_particles": 3, "kl": "sampled", "clip_norm": 0.5}),
    "a last batch of one row": (built(), {"batch_size": 24}),
    "full covariance, importance-weighted": (
        built(guide="full-covariance"),
        {"objective": "importance-weighted", "num_particles": 4},
    ),
    "low rank": (built(guide="low-rank", latent_dim=3), {}),
    "autoregressive flow": (built(guide="autoregressive-flow"), {}),
    "local": (built(guide="local"), {}),
    "doubly reparameterized": (built(), {"objective": "doubly-reparameterized", "num_particles": 3}),
    "two layers": (built(structure="two-layer"), {"num_particles": 2}),
    "labels that are summed over": (built(structure="semi-supervised"), {}),
    "a program with a plate inside": (foreign(inner=True), {"num_particles": 2}),
}
"""Name → pair and settings of a training."""

REFUSED = {
    "dropout": (with_dropout, {}, "the pair draws something beside its latents, as dropout does"),
    "no normal": (gamma, {}, "latent 'z' is drawn from a Independent, but several processes share only normal draws"),
    "idle": (built(), {"batch_size": 1}, "2 processes share batches of 1 row, so that some would never have one"),
    "other networks": (
        lambda data: built(latent_dim=2 + rank_and_size()[0])(data),
        {},
        "the processes that work together have different networks",
    ),
}
"""Name → pair, settings and what is said in place of training."""


def small_data(count=61):
    """So many small gray images with labels, binarized anew at each use."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 4), generator=generator, dtype=torch.uint8)
    return bv.load_data(pixels, labels=torch.arange(count) % 3, policy="stochastic")


def trained(name, data=None, **options):
    make, settings = (PAIRS.get(name) or REFUSED[name][:2])[:2]
    data = data or small_data()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pair = make(data)
    return bv.fit(*pair, data, **{**SETTINGS, **settings, **options})


def come_to(run):
    """A training's end as plain lists: weights, optimizer, generators and history, without the seconds."""
    state = run.checkpoint
    parts = {"best": run.best_state, "last": run.last_state, "optimizer": state.optimizer, "random": state.random}
    numbers = {part: {key: value.double().tolist() for key, value in values.items()} for part, values in parts.items()}
    history = [{key: value for key, value in row.items() if "seconds" not in key} for row in run.history]
    return {**numbers, "history": history, "best_epoch": run.best_epoch}


def every_pair(names):
    return {name: come_to(trained(name)) for name in names}


def in_a_group_of_fabric(count):
    """A training in processes whose group Lightning Fabric opened; torchrun's variables are gone by then."""
    import lightning_fabric

    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=count, strategy="ddp")
    fabric.launch()
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)
    return come_to(trained("amortized normal"))


def said(work, *arguments, **options):
    """The error of some work, and else nothing."""
    try:
        work(*arguments, **options)
    except (BayesVaeError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def refusals():
    """What is said of each training that several processes refuse; after all of them, one that they do."""
    rank, found = rank_and_size()[0], {name: said(trained, name) for name in REFUSED}
    found["other data"] = said(trained, "amortized normal", small_data(61 + rank))
    found["other settings"] = said(trained, "amortized normal", seed=rank)
    found["one fails"] = said(failing_in_rank_1)
    return found, come_to(trained("amortized normal"))


def failing_in_rank_1():
    with ChangedStep(1, 2, _fail):
        trained("amortized normal")


def _fail():
    raise NumericalError("a row of this process")


class ChangedStep:
    """In one of the processes something happens before the given step of training."""

    def __init__(self, rank, number, act):
        self.whole, self.rank, self.number, self.act = Training._terms, rank, number, act

    def __enter__(self):
        def terms(training, *arguments):
            if rank_and_size()[0] == self.rank and training.total_steps + 1 == self.number:
                self.act()
            return self.whole(training, *arguments)

        Training._terms = terms

    def __exit__(self, *_):
        Training._terms = self.whole


def until(number, rank, how, folder):
    """A training in which one process is sent a signal in a step; what is said of it."""
    with ChangedStep(rank, number, lambda: os.kill(os.getpid(), getattr(signal, how))):
        return said(trained, "amortized normal", interruptible=False, out=folder)


def resumed(folder):
    """What the training in a folder comes to."""
    data = small_data()
    return come_to(bv.fit(*built()(data), data, resume=folder, progress="none"))


def touched(folder):
    """What a process of rank 1 does with files under a folder while it trains there."""
    seen = []
    if rank_and_size()[0] == 1:
        names = ("open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "os.scandir", "shutil.rmtree")

        def heard(event, arguments):
            if event in names and str(folder) in str(arguments[0]):
                seen.append((event, str(arguments[0])))

        sys.addaudithook(heard)
    trained("amortized normal", out=folder)
    return seen
