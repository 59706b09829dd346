"""Evaluations that one process and several do alike, and which observations each process looked at."""

import contextlib
import io

import torch
from processes.trainings import foreign, small_data

from bayes_vae.cli import main
from bayes_vae.data.split import Split
from bayes_vae.errors import ProcessesError
from bayes_vae.estimators.evaluation import evaluation_of
from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.settings import PairSettings
from bayes_vae.terms.at_draws import TermsAtDraws
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.world import join_world
from bayes_vae.training import build_pair


def every_row(data):
    return Split.joined([data.train, data.validation, data.test])


def images(latent_dim, **settings):
    """A pair in float64 and so many images, from the 501 of a data set."""

    def make(count):
        data = small_data(501)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            chosen = PairSettings(latent_dim=latent_dim, hidden_dims=(8,), **settings)
            model, guide = build_pair(chosen, data)
        return model.double(), guide.double(), every_row(data)[:count]

    return make


def exact(count):
    """A pair that knows its log p(x)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = LinearGaussianVAE(3, (4,)).double(), torch.randn(count, 4).double()
    return model, ExactLinearGaussianGuide(model), x


def program(count):
    """A pair of Pyro programs from elsewhere."""
    data = small_data(501)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, guide = foreign()(data)
    model.__self__.double()
    return model, guide, every_row(data)[:count]


CASES = {
    "annealed": (images(3), 64, 3, {"num_temperatures": 3}),
    "quadrature": (images(2), 40, 3, {"num_temperatures": 0}),
    "refined": (images(3), 40, 8, {"num_temperatures": 0, "proposal": "full_covariance"}),
    "exact": (exact, 41, 4, {"num_temperatures": 2}),
    "a program from elsewhere": (program, 40, 4, {"num_temperatures": 0}),
    "501": (images(3), 501, 5, {"num_temperatures": 0}),
}
"""Name → pair and observations, N, K, options."""


def evaluated(name):
    """Every column of an evaluation, its figures, and the indices that this process read."""
    make, count, num_particles, options = CASES[name]
    model, guide, x = make(count)
    drawn = TermsAtDraws(keep_latents=True)
    with open_pair(model, guide, x) as whole:
        pair = whole.divided(join_world(torch.device("cpu")))
        found = evaluation_of(pair, num_particles, drawn, **options)
        terms = drawn.result(pair)
    columns = {key: values.double().tolist() for key, (_, values) in found.columns().items()}
    figures = {key: (one.value, one.total_error, str(one.reading)) for key, one in found.averages().items()}
    draws = {key: value.tolist() for key, value in {**terms.latents, "log_likelihood": terms.log_likelihood}.items()}
    about = {"left out": found.left_out, "leading": found.leading.name, "provenance": str(found.provenance)}
    return {"columns": columns, "figures": figures, "draws": draws, "about": about}, pair.index.tolist()


def evaluations(names):
    return {name: evaluated(name) for name in names}


def command(*words):
    """A command in each process: its exit code, and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main([str(word) for word in words])
    return code, printed.getvalue()


def refused():
    """What is said of pairs and numbers of observations that cannot be shared."""
    data = small_data()
    labels = build_pair(PairSettings(latent_dim=2, hidden_dims=(8,), structure="semi-supervised"), data)
    found = []
    for pair, x in ((labels, data.test), (images(2)(2)[:2], images(2)(2)[2])):
        try:
            with open_pair(*pair, x) as whole:
                whole.divided(join_world(torch.device("cpu")))
        except ProcessesError as error:
            found.append(str(error))
    return found
