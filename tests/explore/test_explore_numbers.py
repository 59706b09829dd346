"""The page's JavaScript under node: the same numbers as Python in float64 on the same nodes."""

import copy
import json
import math
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import bayes_vae as bv
import bayes_vae.models
from bayes_vae.estimators.importance.reliability import pareto_k
from bayes_vae.explore import collect, explore_page, script
from bayes_vae.explore.bundle import content_of, json_for_html, page_of
from bayes_vae.explore.contours import contours_of
from bayes_vae.explore.densities import Normals
from bayes_vae.explore.terms import expected_terms
from bayes_vae.guides import AmortizedNormalGuide, AutoregressiveFlowGuide, FullCovarianceGuide, SplineFlowGuide
from bayes_vae.models import VAE
from bayes_vae.parts.registry import names
from bayes_vae.settings import ExploreSettings

FEW = ExploreSettings(num_images=20, num_codes=30, num_particles=50, num_points=61)

RELATIVE = 1e-6

FAMILIES = {
    "bernoulli": "bernoulli",
    "continuous-bernoulli": "continuous-bernoulli",
    "normal": "normal",
    "normal, shared": {"name": "normal", "noise": "shared"},
    "normal, per pixel": {"name": "normal", "noise": "per-pixel"},
    "discretized-logistic": "discretized-logistic",
    "categorical": {"name": "categorical", "num_categories": 4},
    "negative-binomial": "negative-binomial",
    "laplace": "laplace",
    "laplace, shared": {"name": "laplace", "noise": "shared"},
    "laplace, per pixel": {"name": "laplace", "noise": "per-pixel"},
    "poisson": "poisson",
    "zero-inflated-negative-binomial": "zero-inflated-negative-binomial",
    "columns": {
        "name": "columns",
        "groups": ("a=normal:0-1", "b=bernoulli:11", "c=categorical:2+7", "d=negative-binomial:*", "e=poisson:5"),
        "noise": "shared",
        "largest": (3.0,) * 12,
    },
}

PRIORS = {
    "standard-normal": "standard-normal",
    "learned-normal": "learned-normal",
    "mixture": {"name": "mixture", "num_components": 5},
    "flow": "flow",
}
PRIORS["vamp"] = {"name": "vamp", "num_components": 4}


@pytest.fixture(scope="module")
def node():
    """``node(body, content)``: what a function body returns in node, given the modules and some content."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node on the PATH: on Debian and Ubuntu, apt install nodejs")

    def run(body, content, first="terms.js"):
        source = f'"use strict";\n{script(first)}\nconst given = unpack({json_for_html(content)});\n'
        replacer = "(key, value) => typeof value === 'number' && !Number.isFinite(value) ? String(value) : value"
        plain = "(value) => ArrayBuffer.isView(value) ? Array.from(value) : value"
        source += f"const plain = {plain};\nconst found = (() => {{ {body} }})();\n"
        source += f"console.log(JSON.stringify(found, (key, value) => ({replacer})(key, plain(value))));"
        done = subprocess.run([found, "-"], input=source, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


def observations(name):
    """Rows that a family fits: of 12 numbers, as a picture of 3 × 4."""
    x = torch.rand(400, 3, 4, generator=torch.Generator().manual_seed(1))
    if name == "bernoulli":
        return bv.load_data((x > 0.5).float(), kind="binary")
    if name == "categorical":
        return bv.load_data((x * 4).floor(), kind="counts")
    if name in ("negative-binomial", "poisson", "zero-inflated-negative-binomial"):
        return bv.load_data((x * 9).floor(), kind="counts")
    if name == "columns":
        x = (x * 4).floor()
        x[:, :, 3] = (x[:, :, 3] > 1).float()
        return bv.load_data(x, kind="counts")
    if name == "discretized-logistic":
        return bv.load_data((x * 255).round() / 255, kind="gray", policy="none")
    return bv.load_data(x, kind="gray", policy="none")


def shaken(pair, size=0.4):
    """Weights moved away from where they start, so that every term depends on z."""
    with torch.no_grad():
        for part in pair:
            for weight in part.parameters():
                weight.add_(size * torch.randn_like(weight))
    return pair


@pytest.fixture(scope="module")
def pair_of(isolated_globals):
    def build(likelihood="bernoulli", prior="standard-normal", guide=AmortizedNormalGuide, **networks):
        shape = {"latent_dim": 2, "data_shape": (3, 4), "hidden_dims": (9, 7), **networks}
        with isolated_globals(seed=3):
            model, found = VAE(**shape, likelihood=likelihood, prior=prior), guide(**shape)
            model.attach_guide(found)
            return shaken((model, found))

    return build


GRID = """
const count = given.x.length / given.size, size = given.size, found = [];
for (let n = 0; n < count; n++) {
  const x = given.x.slice(n * size, (n + 1) * size), q = normalOf(given.run.q.loc, given.run.q.scale_tril, n, 2);
  const grid = termsOnGrid(given.run, x, given.first, given.second);
  const terms = elboTerms(given.run, x, q, given.points);
  const exact = { likelihood: grid.logLikelihood[777], prior: grid.logPrior[777], evidence: grid.logEvidence };
  found.push({ ...exact, gap: klOnGrid(grid, q), elbo: terms.elbo, kl: terms.klToPrior,
    expected: terms.expectedLogLikelihood, parts: terms.expectedLogJoint + terms.entropy });
}
return found;
"""


def close(found, expected):
    """Within one part in a million, and as near 0 where it is 0."""
    return np.testing.assert_allclose(found, expected.detach().numpy(), rtol=RELATIVE, atol=1e-9)


def compare(node, pair, name, **options):
    """Compare the page's terms for twenty observations with those of bayes_rule_on_grid."""
    data = observations(name)
    view = collect(*pair, data, FEW)
    model, guide = (part.double() for part in copy.deepcopy(pair))
    rows = data.test[:20].seeded(0)
    rule = bv.bayes_rule_on_grid(model, guide, rows, num_points=61, **options)
    x = rows.observations().double()
    content = {"run": view.content, "x": x.flatten(1), "size": 12, "first": rule.first_axis, "second": rule.second_axis}
    found = node(GRID, {**content, "points": 24})
    column = {key: np.array([row[key] for row in found], dtype=float) for key in found[0]}
    close(column["prior"], rule.log_prior.flatten()[777].expand(20))
    close(column["likelihood"], rule.log_likelihood.flatten(1)[:, 777])
    close(column["evidence"], rule.log_evidence)
    close(column["gap"], rule.inference_gap)
    q = view.content["q"]
    with torch.no_grad():
        expected, kl = expected_terms(model, x, type("q", (), q))
    close(column["expected"], expected)
    close(column["kl"], kl)
    close(column["elbo"], expected - kl)
    close(column["parts"], expected - kl)
    return view, rule


def test_every_likelihood_and_prior_of_the_table_is_among_those_compared():
    assert {name.partition(",")[0] for name in FAMILIES} == set(names("likelihood"))
    assert set(PRIORS) == set(names("prior"))


@pytest.mark.filterwarnings("ignore::bayes_vae.errors.GridWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_every_likelihood_gives_the_numbers_of_python(node, pair_of, name):
    compare(node, pair_of(FAMILIES[name]), name.partition(",")[0])


@pytest.mark.filterwarnings("ignore::bayes_vae.errors.GridWarning")
@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_gives_the_numbers_of_python(node, pair_of, name):
    compare(node, pair_of(prior=PRIORS[name]), "bernoulli")


@pytest.mark.filterwarnings("ignore::bayes_vae.errors.GridWarning")
def test_correlations_and_convolutions_give_the_numbers_of_python(node, pair_of):
    compare(
        node, pair_of(guide=FullCovarianceGuide, network="conv", hidden_dims=(3, 4), activation="relu"), "bernoulli"
    )


def test_contours_of_a_normal_are_its_ellipses():
    loc = torch.tensor([[0.0, 1.0], [-3.0, 2.0]], dtype=torch.float64)
    tril = torch.tensor([[[1.0, 0.0], [0.7, 0.4]], [[0.02, 0.0], [0.0, 0.05]]], dtype=torch.float64)
    found = contours_of(torch.distributions.MultivariateNormal(loc, scale_tril=tril), Normals(loc, tril))
    assert len(found) == 2
    for row, levels in enumerate(found):
        for lines, deviations in zip(levels, (1, 2), strict=True):
            points = torch.tensor([point for line in lines for point in line], dtype=torch.float64)
            apart = torch.linalg.solve_triangular(tril[row], (points - loc[row]).T, upper=False).norm(dim=0)
            np.testing.assert_allclose(apart, deviations, atol=0.05)
            assert len(lines) == 1


@pytest.mark.parametrize("guide", [AutoregressiveFlowGuide, SplineFlowGuide])
def test_a_guide_that_is_no_normal_is_shown_by_its_contours(pair_of, guide):
    view = collect(*pair_of(guide=guide), observations("bernoulli"), FEW)
    assert [len(levels) for levels in view.content["contours"]] == [2] * 20
    assert "is not a normal" in view.notes[0]
    assert view.content["figures"]["guide_elbo"].shape == (20,)


def test_the_page_is_made_anew_from_its_content(pair_of):
    page = explore_page([collect(*pair_of(), observations("bernoulli"), FEW, name="<a> & b")])
    assert page_of(content_of(page)) == page
    with pytest.raises(bv.errors.SettingsError, match="not a page of bayes-vae explore"):
        content_of("<html></html>")


def test_pareto_k_and_the_bounds_are_those_of_python(node):
    log_weights = torch.randn(200, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    log_weights *= torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0, 9.0])
    body = """return [0, 1, 2, 3, 4, 5].map((n) => {
      const some = given.weights.slice(n * 200, (n + 1) * 200);
      return [paretoK(some), boundOf(some, 1), boundOf(some, 5), boundOf(some, 50), paretoKThreshold(200)];
    });"""
    found = np.array(node(body, {"weights": log_weights.T.contiguous()}))
    close(found[:, 0], pareto_k(log_weights))
    for column, k in ((1, 1), (2, 5), (3, 50)):
        groups = log_weights.reshape(-1, k, 6)
        close(found[:, column], (groups.logsumexp(1) - math.log(k)).mean(0))
    assert found[0, 4] == pytest.approx(bv.estimators.importance.reliability.pareto_k_threshold(200))


def test_tied_weights_have_no_tail(node):
    body = "return [paretoK(new Float64Array(20)), paretoK(new Float64Array(40))];"
    assert node(body, {}) == ["NaN", "Infinity"]


@pytest.mark.parametrize("points", [1, 2, 7, 24, 40])
def test_hermite_nodes_are_those_of_numpy(node, points):
    found = node(f"return hermiteRule({points});", {})
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    order = np.argsort(found["nodes"])
    np.testing.assert_allclose(np.array(found["nodes"])[order], nodes, atol=1e-12)
    np.testing.assert_allclose(np.array(found["weights"])[order], weights / math.sqrt(2 * math.pi), rtol=1e-9)


CLIMB = """
const q = { loc: Float64Array.of(2, -1), tril: Float64Array.of(0.3, 0, 0, 1.7) };
const steps = Array.from(climbing(given.run, given.x, q, given.correlated, 16));
const grid = termsOnGrid(given.run, given.x, evenly(-7, 7, 281), evenly(-7, 7, 281));
const last = steps[steps.length - 1], moments = momentsOnGrid(grid);
return { elbo: steps.map((step) => step.terms.elbo), evidence: grid.logEvidence, last: last.q, moments,
  gap: klOnGrid(grid, last.q) };
"""


@pytest.mark.parametrize("correlated", [False, True])
def test_let_go_climbs_to_the_exact_posterior_of_a_linear_model(node, isolated_globals, correlated):
    """A linear decoder with normal noise has a normal posterior, so a correlated q reaches log p(x)."""
    with isolated_globals(seed=0):
        model = VAE(2, (3, 4), (), likelihood={"name": "normal", "scale": 0.5})
        with torch.no_grad():
            model.decoder[0].weight.copy_(torch.randn(12, 2) * 0.4)
    x = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    from bayes_vae.explore.densities import decoder_steps, likelihood_of, prior_of

    model = model.double()
    run = {"decoder": decoder_steps(model), "likelihood": likelihood_of(model), "prior": prior_of(model)}
    found = node(CLIMB, {"run": run, "x": x, "correlated": correlated})
    weight = model.decoder[0].weight.detach()
    precision = torch.eye(2, dtype=torch.float64) + weight.T @ weight / 0.25
    mean = torch.linalg.solve(precision, weight.T @ x / 0.25)
    covariance = torch.linalg.inv(precision)
    assert all(later > earlier for earlier, later in zip(found["elbo"], found["elbo"][1:], strict=False))
    np.testing.assert_allclose(found["last"]["loc"], mean, atol=1e-3)
    np.testing.assert_allclose(found["moments"]["loc"], mean, atol=1e-6)
    best = 0.0 if correlated else float(0.5 * torch.log(torch.det(covariance) * precision.diagonal().prod()))
    assert found["evidence"] - found["elbo"][-1] == pytest.approx(best, abs=1e-4)
    assert found["gap"] == pytest.approx(best, abs=1e-4)


CLIMB_BY_DRAWS = """
let here = { q: { loc: new Float64Array(3), tril: Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1) } };
const step = () => JOBS.step(given.run, { x: given.x, here, correlated: true, draws: [3, 64, Infinity] });
for (let next = here; next; next = step()) here = next;
return { elbo: here.terms.elbo, loc: here.q.loc, tril: here.q.tril };
"""


def test_let_go_by_draws_climbs_to_the_exact_posterior_of_a_linear_model(node, isolated_globals):
    """The mean from antithetic draws is nearly exact here; the covariance has the error of 128 draws."""
    with isolated_globals(seed=0):
        model = VAE(3, (3, 4), (), likelihood={"name": "normal", "scale": 0.5}).double()
        with torch.no_grad():
            model.decoder[0].weight.copy_(torch.randn(12, 3) * 0.4)
    x = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    from bayes_vae.explore.densities import decoder_steps, likelihood_of, prior_of

    run = {"decoder": decoder_steps(model), "likelihood": likelihood_of(model), "prior": prior_of(model)}
    found = node(CLIMB_BY_DRAWS, {"run": run, "x": x}, first="jobs.js")
    weight, bias = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    precision = torch.eye(3, dtype=torch.float64) + weight.T @ weight / 0.25
    np.testing.assert_allclose(found["loc"], torch.linalg.solve(precision, weight.T @ (x - bias) / 0.25), atol=0.02)
    tril = torch.tensor(found["tril"], dtype=torch.float64).reshape(3, 3)
    np.testing.assert_allclose(tril @ tril.T, torch.linalg.inv(precision), atol=0.1)


def test_a_layer_that_the_page_cannot_run_is_named(pair_of):
    model, guide = pair_of()
    model.decoder[1] = torch.nn.Hardtanh()
    with pytest.raises(bv.errors.NotDefinedError, match="the page cannot run a layer Hardtanh"):
        collect(model, guide, observations("bernoulli"), FEW)


def test_log_evidence_that_stands_beside_the_pages_own_is_that_of_the_grid(pair_of):
    pair, data = pair_of(), observations("bernoulli")
    view = collect(*pair, data, ExploreSettings(num_images=8, num_codes=8, num_particles=40, num_points=201))
    model, guide = (part.double() for part in copy.deepcopy(pair))
    rule = bv.bayes_rule_on_grid(model, guide, data.test[:8].seeded(0), num_points=201)
    close(view.content["figures"]["log_evidence"], rule.log_evidence)
    assert float(view.content["figures"]["refinement_error"].max()) < 1e-6


def test_the_first_grid_is_the_likelihood_on_its_nodes(node, pair_of):
    view = collect(*pair_of(), observations("bernoulli"), FEW)
    body = """
    const { plane, images } = given.run, [first, second] = [0, 1].map((i) => evenly(plane.low[i], plane.high[i], 31));
    return termsOnGrid(given.run, images.x.slice(12, 24), first, second).logLikelihood;"""
    found = node(body, {"run": view.content})
    np.testing.assert_allclose(view.content["first_grid"][1], found, rtol=1e-6)


def test_what_is_kept_of_the_decoder_gives_the_same_likelihood(node, pair_of):
    """The first picture is from kept outputs and normalizers, in place of every term of the likelihood."""
    for name in ("bernoulli", "continuous-bernoulli"):
        view = collect(*pair_of(FAMILIES[name]), observations(name), FEW)
        body = """
        const z = nodesOf(evenly(-3, 3, 9), evenly(-3, 3, 9)), outputs = runNetwork(given.run.decoder, z, 81);
        const x = given.run.images.x.slice(0, 12), normalizers = normalizersOf(given.run.likelihood, outputs, 81);
        return [logLikelihoodsKept(outputs, normalizers, x), logLikelihoodAt(given.run, x, z, 81)];"""
        kept, whole = node(body, {"run": view.content})
        np.testing.assert_allclose(kept, whole, rtol=1e-12, atol=1e-12)


class OwnVAE(nn.Module):
    """As in many tutorials: functions between the layers, two heads, probabilities out."""

    def __init__(self, skip=False):
        super().__init__()
        self.first, self.mean, self.log_variance = nn.Linear(12, 8), nn.Linear(8, 2), nn.Linear(8, 2)
        self.up, self.out, self.skip = nn.Linear(2, 8), nn.Linear(8, 12), skip

    def encode(self, x):
        h = functional.relu(self.first(x.view(-1, 12)))
        return self.mean(h), self.log_variance(h)

    def decode(self, z):
        h = torch.tanh(self.up(z))
        h = h + self.up(z) if self.skip else h
        return torch.sigmoid(self.out(h))


def own_pair(vae):
    return bv.pair_from_networks(
        vae.encode,
        vae.decode,
        latent_dim=2,
        data_shape=(3, 4),
        encoder_output="loc-and-log-variance",
        decoder_output="probabilities",
    )


@pytest.mark.filterwarnings("ignore::bayes_vae.errors.GridWarning")
def test_networks_of_ones_own_give_the_numbers_of_python(node, isolated_globals):
    with isolated_globals(seed=1):
        pair = own_pair(OwnVAE())
    view, _ = compare(node, pair, "bernoulli")
    body = """const found = encode(given.run.encoder, given.run.images.x.slice(0, 12), 2);
    return { loc: found.loc, tril: found.tril };"""
    found, q = node(body, {"run": view.content}), view.content["q"]
    close(found["loc"], q["loc"][0])
    close(found["tril"], q["scale_tril"][0].flatten())


def test_a_network_that_is_no_sequence_is_refused(isolated_globals):
    with isolated_globals(seed=1):
        pair = own_pair(OwnVAE(skip=True))
    with pytest.raises(bv.errors.NotDefinedError, match="is not a plain sequence of layers"):
        collect(*pair, observations("bernoulli"), FEW)


def test_what_the_page_does_not_know_is_refused_by_name(isolated_globals):
    from bayes_vae.explore.densities import likelihood_of

    with isolated_globals(seed=0):
        two_layers = bv.models.TwoLayerVAE(2, 2, (3, 4))
    with pytest.raises(bv.errors.NotDefinedError, match="one latent z and one decoder .* this one is TwoLayer"):
        likelihood_of(two_layers)


def test_missing_values_are_refused(pair_of):
    x = (torch.rand(400, 3, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    x[:, 0, 0] = torch.where(torch.arange(400) % 2 == 0, torch.nan, x[:, 0, 0])
    gaps = bv.load_data(x, kind="binary")
    with pytest.raises(bv.errors.NotDefinedError, match="some of these have missing values"):
        collect(*pair_of(), gaps, ExploreSettings(num_images=4, num_codes=4, num_particles=40, num_points=21))


def test_runs_on_different_data_have_no_common_page(pair_of):
    few = ExploreSettings(num_images=4, num_codes=4, num_particles=40, num_points=21)
    views = [collect(*pair_of(), observations("bernoulli"), few, name=name) for name in ("one", "two")]
    views[1] = replace(views[1], digest="another")
    with pytest.raises(bv.errors.SettingsError, match="the same observations, and those of two are not"):
        explore_page(views)
    with pytest.raises(bv.errors.SettingsError, match="needs at least one run"):
        explore_page([])


def test_no_text_ends_the_element_that_it_stands_in():
    assert "<" not in json_for_html({"</script><script>": ["<!--", {"a": "</script>"}]})
