"""A new part, rung or finding is one class or function and one row: toys of each, from a settings file to a report.

The toys are in their tables while this module's tests run. Nothing else knows of them.
"""

import json
import re

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import bayes_vae as bv
from bayes_vae.cli import main
from bayes_vae.diagnosis.findings import table
from bayes_vae.diagnosis.findings.kind import Case, note
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.guides.amortized import AmortizedGuide
from bayes_vae.models.likelihoods import Likelihood
from bayes_vae.models.priors import Prior
from bayes_vae.parts.part import Part
from bayes_vae.parts.registry import added


class LaplaceLikelihood(Likelihood):
    """Gray pixels: absolute error as a likelihood."""

    def __init__(self, data_shape, scale=0.2):
        super().__init__(data_shape, scale=scale)
        self.scale = scale

    def forward(self, parameters):
        pixels = dist.Laplace(self._only(parameters), self.scale, validate_args=False)
        return dist.Independent(pixels, len(self.data_shape), validate_args=False)

    def initial_outputs(self, mean):
        return mean.unsqueeze(0)


class LaplacePrior(Prior):
    """A Laplace distribution whose scale is learned."""

    def __init__(self, latent_dim):
        super().__init__(latent_dim)
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self):
        return dist.Laplace(torch.zeros_like(self.log_scale), self.log_scale.exp()).to_event(1)


class LaplaceGuide(AmortizedGuide):
    """Independent Laplace distributions from an encoder, their scales divided by ``rank``."""

    def __init__(self, latent_dim, data_shape, hidden_dims=(8,), activation="tanh", network="mlp", rank=2):
        numbers = 2 * latent_dim
        super().__init__(latent_dim, data_shape, hidden_dims, activation, network, num_outputs=numbers, rank=rank)
        self.rank = rank

    def variational_posterior(self, x):
        loc, raw = self.encode(x).chunk(2, -1)
        return dist.Laplace(loc, softplus(raw) / self.rank + 0.01).to_event(1)


def lowered_rung(climb):
    """L_K lowered by two of its standard errors: a rung from what the others share."""
    bound = climb.estimate
    values = bound.log_evidence - 2 / bound.effective_sample_size.sqrt()
    unknown = torch.full_like(values, torch.nan)
    return [Rung("toy-rung", climb.sizes[-1], values, unknown, seconds=0.5, estimator="a bound, lowered")]


@note("toy-finding", needs=("train_elbo",), why="A toy looks at it.", advice="Leave it as it is.")
def toy_finding(seen):
    """There is an ELBO."""
    yield Case("The toy has seen an ELBO.", [seen.above("train_elbo", -1e6)])


TOYS = (
    Part(
        "likelihood",
        "toy-laplace",
        f"{__name__}:LaplaceLikelihood",
        "gray, absolute error",
        options={"noise_scale": "scale"},
        data_kinds=("gray",),
    ),
    Part("prior", "toy-prior", f"{__name__}:LaplacePrior", "Laplace", offers=("reparameterized draws",)),
    Part("guide", "toy-guide", f"{__name__}:LaplaceGuide", "Laplace from an encoder", options={"rank": "rank"}),
    Part("rung", "toy-rung", f"{__name__}:lowered_rung", "the toy's log p(x)"),
)

SETTINGS = """
data:
  data: digits
pair:
  latent_dim: 2
  hidden_dims: [8]
  likelihood: toy-laplace
  noise_scale: 0.3
  prior: toy-prior
  rank: 3
training:
  epochs: 1
"""


@pytest.fixture(scope="module", autouse=True)
def toys():
    with added(*TOYS), pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "KINDS", (*table.KINDS, toy_finding))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, toys, isolated_globals):
    """A run of one epoch: likelihood and prior from a settings file, the guide by its flag."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toys.yaml").write_text(SETTINGS)
    words = ["train", "--config", str(folder / "toys.yaml"), "--guide", "toy-guide", "--out", str(folder / "run")]
    with isolated_globals():
        assert main(words) == 0
    return folder / "run"


@pytest.fixture
def command(run, capsys):
    """``command("evaluate", "--num-particles", "8")``: the JSON that a command on the run prints."""

    def call(name, *words):
        code = main([name, str(run), *words, "--json"])
        captured = capsys.readouterr()
        assert code in ((0, 1, 3) if name == "diagnose" else (0,)), captured.err  # 1 and 3 say what was found
        return json.loads(captured.out)

    return call


def test_the_help_shows_them(capsys):
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "toy-laplace (gray, absolute error)" in shown
    assert "toy-prior (Laplace)" in shown
    assert "(guide low-rank or toy-guide)" in shown


def test_a_run_stores_them_and_brings_them_back(run):
    config = json.loads((run / "config.json").read_text())
    assert config["guide"] == {"class": "LaplaceGuide", "settings": {**config["guide"]["settings"], "rank": 3}}
    assert config["model"]["settings"]["likelihood"] == {"name": "toy-laplace", "scale": 0.3}
    assert config["model"]["settings"]["prior"] == "toy-prior"
    assert config["data"]["policy"] == "none"
    model, guide = bv.load(run)
    parts = (model.likelihood_family, model.prior_family, guide)
    assert list(map(type, parts)) == [LaplaceLikelihood, LaplacePrior, LaplaceGuide]
    assert (model.likelihood_family.scale, guide.rank) == (0.3, 3)
    assert model.prior_family.log_scale.abs().max() > 0, "it was trained"


def test_they_are_evaluated(run, command):
    found = command("evaluate", "--num-particles", "8", "--num-temperatures", "3", "--num-observations", "6")
    data = bv.load_data("digits", policy="none")
    x, index = data.test.observations(torch.arange(6)), data.test.index[:6]
    elbo = bv.elbo_terms(*bv.load(run), x, num_particles=8, index=index).averages()["elbo"].value
    assert found["terms"]["elbo"]["value"] == pytest.approx(elbo, rel=1e-5)
    assert found["terms"]["log_evidence"]["estimator"] != "a bound, lowered", "the toy does not lead"


def test_the_rung_is_on_the_ladder(run, command, capsys):
    words = ["--rungs", "1", "5", "20", "--num-temperatures", "3", "--num-observations", "6"]
    found = command("compare", *words)
    names = ["ELBO", "L_5", "L_20", "annealed", "quadrature", "toy-rung"]
    assert [rung["name"] for rung in found["rungs"]] == names
    toy = found["rungs"][-1]
    assert (toy["estimator"], toy["seconds"], toy["num_particles"]) == ("a bound, lowered", 0.5, 20)
    data = bv.load_data("digits", policy="none")
    ladder = bv.compare(*bv.load(run), data.test[:6], (1, 5, 20), num_temperatures=3)
    assert [rung.name for rung in ladder.rungs] == names
    assert (ladder.rungs[-1].values < ladder.rungs[2].values).all()
    assert toy["value"] == pytest.approx(ladder.rungs[-1].average.value, rel=1e-5)
    assert ladder.leading.name in ("annealed", "quadrature")
    assert "toy-rung" in str(ladder)
    assert "toy-rung" in ladder.to_pandas().columns
    assert main(["compare", str(run), *words]) == 0
    assert re.search(r"^ *toy-rung .* 0\.5 +lower bound$", capsys.readouterr().out, re.MULTILINE)


def test_they_are_diagnosed(command):
    found = command("diagnose", "--num-observations", "40")
    assert {"findings", "not_checked"} <= set(found)
    (toy,) = (finding for finding in found["findings"] if finding["name"] == "toy-finding")
    assert (toy["severity"], toy["summary"]) == ("note", "The toy has seen an ELBO.")


def test_they_are_reported(run, command):
    few = {"observations": 20, "particles": 8, "temperatures": 3, "gap-observations": 2, "encoded": 30, "simulated": 40}
    command("report", *(word for name, n in few.items() for word in (f"--num-{name}", str(n))), "--num-diagnosed", "40")
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("toy-laplace", "toy-finding", "The toy has seen an ELBO.", "toy-rung", "a bound, lowered"):
        assert words in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prior", "vamp"], "prior 'vamp' does not go with guide 'toy-guide': .* Choose guide 'normal', 'full-cov"),
        (["--structure", "two-layer"], "structure 'two-layer' does not go with prior 'toy-prior'"),
        (["--kl", "analytic"], "kl 'analytic' needs a closed form .* guide 'toy-guide' and prior 'toy-prior' lacks"),
        (["--noise", "shared"], "noise 'shared' goes with likelihood 'normal' only: 'toy-laplace' does not take it"),
        (["--policy", "static"], r"a toy-laplace likelihood takes gray pixels, but .* data policy 'static'"),
    ],
)
def test_what_does_not_fit_them_is_refused(words, message, tmp_path, capsys):
    chosen = ["--likelihood", "toy-laplace", "--prior", "toy-prior", "--guide", "toy-guide"]
    assert main(["train", "--latent-dim", "2", *chosen, *words, "--out", str(tmp_path / "run")]) == 2
    assert re.search(message, capsys.readouterr().err)
