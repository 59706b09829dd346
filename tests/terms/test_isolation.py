"""What the caller has around a call changes no figure, and threads do not change each other's; seeds and observations.

Each function is called on a pair that exposes its distributions, and on Pyro programs, whose terms are traced.
"""

import copy
import threading
from contextlib import contextmanager

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import DataError, SettingsError, SupportError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.settings import DiagnoseSettings, EvaluateSettings, PairSettings, TrainingSettings
from bayes_vae.training import build_pair

NETWORKS = {"latent_dim": 2, "data_shape": (6,), "hidden_dims": (5,), "activation": "tanh"}


class Programs(torch.nn.Module):
    """A pair written for Pyro."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = torch.nn.Linear(2, 6), torch.nn.Linear(6, 2)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.decoder.bias.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z), validate_args=False).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


@pytest.fixture(scope="module")
def pairs(isolated_globals):
    """Name → model, guide."""
    with isolated_globals(seed=3):
        programs = Programs()
        return {
            "ours": (VAE(**NETWORKS), AmortizedNormalGuide(**NETWORKS)),
            "programs": (programs.model, programs.guide),
        }


@pytest.fixture(scope="module")
def x(isolated_globals):
    with isolated_globals(seed=4):
        return torch.bernoulli(torch.full((5, 6), 0.5))


FIGURES = {
    "log_terms": lambda pair, x, seed=0: bv.log_terms(*pair, x, 3, seed=seed).log_likelihood,
    "elbo_terms": lambda pair, x, seed=0: bv.elbo_terms(*pair, x, 3, seed=seed).elbo,
    "estimate_log_evidence": lambda pair, x, seed=0: bv.estimate_log_evidence(*pair, x, 8, seed=seed).log_evidence,
    "annealed_log_evidence": (
        lambda pair, x, seed=0: bv.annealed_log_evidence(*pair, x, num_temperatures=2, seed=seed).log_evidence
    ),
    "quadrature_log_evidence": lambda pair, x, seed=0: bv.quadrature_log_evidence(*pair, x, seed=seed).log_evidence,
    "compare": lambda pair, x, seed=0: bv.compare(*pair, x, (1, 5), num_temperatures=0, seed=seed).rungs[1].values,
    "evaluate": lambda pair, x, seed=0: bv.evaluate(*pair, x, 4, num_temperatures=0, seed=seed).bound.log_evidence,
    "posterior_draws": (
        lambda pair, x, seed=0: (
            bv.posterior_draws(*pair, x, num_draws=4, num_chains=2, num_warmup=2, seed=seed).log_joint
        )
    ),
    "nuts_draws": (
        lambda pair, x, seed=0: (
            bv.nuts_draws(pair[0], x[:1], num_draws=4, num_chains=2, num_warmup=2, seed=seed).log_joint
        )
    ),
    "encode": lambda pair, x, seed=0: bv.encode(*pair, x, 4, seed=seed).means["z"],
    "score": lambda pair, x, seed=0: bv.score(*pair, x, 4, reference=x, seed=seed).log_evidence,
    "rate_distortion": (
        lambda pair, x, seed=0: (
            bv.rate_distortion(*pair, x, [0.5, 1.0], num_temperatures=2, num_chains=2, seed=seed).rate
        )
    ),
    "compare_models": (
        lambda pair, x, seed=0: (
            bv.compare_models({"a": pair, "b": pair}, x, num_particles=4, num_temperatures=0, seed=seed)
            .contenders[0]
            .log_evidence
        )
    ),
}
OURS_ONLY = {
    "aggregate_posterior_terms": (
        lambda pair, x, seed=0: bv.aggregate_posterior_terms(*pair, x, 2, seed=seed).index_code_mutual_information
    ),
    "inference_gap": (
        lambda pair, x, seed=0: (
            bv.inference_gap(*pair, x, num_particles=8, num_temperatures=2, max_steps=3, seed=seed).approximation_gap
        )
    ),
    "reconstruct": lambda pair, x, seed=0: bv.reconstruct(*pair, x, seed=seed, mean=False),
    "sample": lambda pair, x, seed=0: bv.sample(pair[0], 5, seed=seed),
    "calibrate_guide": (
        lambda pair, x, seed=0: bv.calibrate_guide(*pair, num_observations=60, num_draws=99, seed=seed).ranks
    ),
    "bidirectional_bounds": (
        lambda pair, x, seed=0: bv.bidirectional_bounds(*pair, num_observations=4, num_temperatures=2, seed=seed).lower
    ),
}


@contextmanager
def float64_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


CONTEXTS = {
    "a mask": lambda: poutine.mask(mask=False),
    "a scale": lambda: poutine.scale(scale=3.0),
    "a block": poutine.block,
    "an outer plate": lambda: pyro.plate("outer", 5),
    "bf16 autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "float64": float64_default,
    "a default device": lambda: torch.device("meta"),
}

CASES = [("ours", name) for name in (FIGURES | OURS_ONLY)] + [("programs", name) for name in FIGURES]


@pytest.mark.parametrize(("which", "name"), CASES)
def test_nothing_of_the_callers_context_changes_a_figure(pairs, x, which, name):
    figure, pair = (FIGURES | OURS_ONLY)[name], pairs[which]
    plain = figure(pair, x)
    for around, context in CONTEXTS.items():
        if which == "programs" and around == "a default device":
            continue  # a program from elsewhere counts on it
        with context():
            modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
            handlers, dtype = list(poutine.runtime._PYRO_STACK), torch.get_default_dtype()
            found = figure(pair, x)
            assert handlers == poutine.runtime._PYRO_STACK, around
            assert torch.get_default_dtype() == dtype, around
            after = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
            assert after == modes, around
        assert torch.equal(found, plain), around


def test_observations_made_in_inference_mode_can_be_annealed(pairs, x):
    with torch.inference_mode():
        same = x.clone()
    figure = FIGURES["annealed_log_evidence"]
    for pair in pairs.values():
        assert torch.equal(figure(pair, same), figure(pair, x))


@pytest.fixture
def made_in_inference_mode(isolated_globals):
    """Copies of the pairs whose parameters are inference tensors, and their own."""
    with isolated_globals(seed=3), torch.inference_mode():
        programs = Programs()
        pairs = {
            "ours": (VAE(**NETWORKS), AmortizedNormalGuide(**NETWORKS)),
            "programs": (programs.model, programs.guide),
        }
    assert all(parameter.is_inference() for parameter in programs.parameters())
    return pairs


@pytest.mark.parametrize(("which", "name"), CASES)
def test_a_pair_that_was_built_in_inference_mode_gives_the_same_figures(pairs, made_in_inference_mode, x, which, name):
    figure, pair = (FIGURES | OURS_ONLY)[name], made_in_inference_mode[which]
    held = list(pair[0].parameters()) if which == "ours" else list(pair[0].__self__.parameters())
    assert torch.equal(figure(pair, x), figure(pairs[which], x))
    after = list(pair[0].parameters()) if which == "ours" else list(pair[0].__self__.parameters())
    assert all(one is other for one, other in zip(held, after, strict=True))


def test_a_pair_that_was_built_in_inference_mode_can_be_trained(pairs, made_in_inference_mode, x):
    data = bv.load_data(x.repeat(6, 1))
    for which, pair in made_in_inference_mode.items():
        plain = copy.deepcopy(pairs[which]) if which == "ours" else None
        state = bv.fit(*pair, data, epochs=1, batch_size=7, progress="none").last_state
        assert not any(value.is_inference() for value in state.values())
        if plain:
            expected = bv.fit(*plain, data, epochs=1, batch_size=7, progress="none").last_state
            assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_inside_vmap_a_plain_x_is_estimated_and_a_batched_one_refused(pairs, x):
    figure = FIGURES["elbo_terms"]
    plain = figure(pairs["ours"], x)

    def inside(one):
        assert torch.equal(figure(pairs["ours"], x), plain)
        return one

    torch.vmap(inside)(torch.zeros(1))
    with pytest.raises(DataError, match=r"got a tensor of torch.func, as inside vmap, .*outside torch.func.vmap"):
        torch.vmap(lambda one: figure(pairs["ours"], one))(x.unsqueeze(0))


def test_a_refitted_prior_is_not_changed_by_what_is_around_it(x):
    data = bv.load_data(x.repeat(40, 1))
    pair = build_pair(PairSettings(latent_dim=2, hidden_dims=(4,)), data)
    few = {"num_components": 2, "epochs": 1, "num_observations": 2, "num_particles": 2, "num_temperatures": 0}
    plain = None
    for context in (None, *CONTEXTS):
        if context in ("float64", "a default device"):
            continue
        with CONTEXTS[context]() if context else torch.enable_grad():
            state = bv.refit_prior(*pair, data, **few).run.best_state
        plain = plain or state
        assert all(torch.equal(state[key], plain[key]) for key in plain), context


def test_training_is_not_changed_by_what_is_around_it(x):
    data = bv.load_data(x.repeat(6, 1))

    def trained():
        return bv.fit(*pair, data, epochs=1, batch_size=7, progress="none").last_state

    plain = None
    for context in (None, *CONTEXTS):
        if context in ("float64", "a default device"):
            continue
        pair = build_pair(PairSettings(latent_dim=2, hidden_dims=(4,)), data)
        with CONTEXTS[context]() if context else torch.enable_grad():
            state = trained()
        plain = plain or state
        assert all(torch.equal(state[key], plain[key]) for key in plain), context


IN_THREADS = ("log_terms", "annealed_log_evidence", "nuts_draws", "encode", "score", "rate_distortion", "sample")


def test_threads_do_not_change_each_others_figures(pairs, x):
    cases = [(which, name) for which, name in CASES if name in IN_THREADS]
    expected = {case: (FIGURES | OURS_ONLY)[case[1]](pairs[case[0]], x) for case in cases}
    before = torch.get_rng_state()
    module = pairs["ours"][0].train()
    wrong = []

    def work(start):
        for number in range(2 * len(cases)):
            which, name = cases[(start + number) % len(cases)]
            try:
                if not torch.equal((FIGURES | OURS_ONLY)[name](pairs[which], x), expected[which, name]):
                    wrong.append((which, name))
                assert torch.is_grad_enabled()
            except Exception as error:
                wrong.append((which, name, repr(error)))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", FIGURES | OURS_ONLY)
def test_a_seed_is_its_number_whatever_its_type(pairs, x, name):
    figure, pair = (FIGURES | OURS_ONLY)[name], pairs["ours"]
    plain = figure(pair, x, seed=3)
    for seed in (np.int64(3), np.uint8(3), torch.tensor(3)):
        assert torch.equal(figure(pair, x, seed=seed), plain)
    for seed in (-(2**63), 2**63 - 1):
        assert figure(pair, x, seed=seed).shape == plain.shape


NO_SEEDS = [1.5, "3", True, None, 2**63, -(2**63) - 1, 2**64, [1], torch.tensor(1.5), torch.zeros(2).long()]


@pytest.mark.parametrize("seed", NO_SEEDS, ids=repr)
def test_what_is_no_seed_is_refused_by_every_function(pairs, x, seed):
    message = r"seed must be a whole number from -2\*\*63 to 2\*\*63 - 1, got "
    for figure in (FIGURES | OURS_ONLY).values():
        with pytest.raises(SettingsError, match=message):
            figure(pairs["ours"], x, seed=seed)
    data = bv.load_data(x.repeat(6, 1))
    with pytest.raises(SettingsError, match=message):
        bv.diagnose(*pairs["ours"], data, seed=seed)
    with pytest.raises(SettingsError, match=message):
        build_pair(PairSettings(), data, seed)
    with pytest.raises(SettingsError, match=message):
        data.test.seeded(seed)
    for settings in (TrainingSettings, EvaluateSettings, DiagnoseSettings):
        with pytest.raises(SettingsError, match="seed must be a whole number"):
            settings(seed=seed)
    if seed is not None:
        with pytest.raises(SettingsError, match=message):
            pairs["ours"][0].sample(2, seed=seed)
        with pytest.raises(SettingsError, match=message):
            pairs["ours"][0].reconstruct(x, pairs["ours"][1], seed=seed)


def test_a_seed_of_numpy_is_stored_as_a_number():
    assert type(TrainingSettings(seed=np.int64(3)).seed) is int


ON_X = {
    name: figure
    for name, figure in (FIGURES | OURS_ONLY).items()
    if name not in ("calibrate_guide", "bidirectional_bounds", "sample")
}


@pytest.mark.parametrize("value", [1e30, 0.5, -1.0, float("inf")])
@pytest.mark.parametrize("name", ON_X)
def test_no_function_takes_data_that_the_likelihood_has_no_density_for(pairs, x, name, value):
    wrong = x.clone()
    wrong[0, 2] = value
    for which in ("ours", "programs") if name in FIGURES else ("ours",):
        with pytest.raises(SupportError, match="Bernoulli likelihood takes zeros and ones"):
            ON_X[name](pairs[which], wrong)


STRANGE = {
    "complex": (lambda x: x.to(torch.complex64), "one of torch.complex64"),
    "sparse": (lambda x: x.to_sparse(), "one of layout torch.sparse_coo"),
    "meta": (lambda x: x.to("meta"), "one on the meta device, which holds no values"),
    "quantized": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), "one of torch.quint8"),
    "nested": (lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged), "one of layout torch.jagged"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", ON_X)
def test_tensors_that_cannot_be_read_are_refused_in_one_way(pairs, x, name, kind):
    make, words = STRANGE[kind]
    if kind in ("nested", "sparse") and name == "nuts_draws":
        return  # they cannot be sliced
    for which in ("ours", "programs") if name in FIGURES else ("ours",):
        with pytest.raises(DataError, match=f"x must be a dense tensor of real numbers, got {words}"):
            ON_X[name](pairs[which], make(x))


@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1), (1, 2, 0)])
def test_arguments_in_another_order_are_named(pairs, x, order):
    three = (*pairs["ours"], x)
    with pytest.raises(SettingsError, match=r"estimators take \(model, guide, x\) in this order, got \("):
        bv.elbo_terms(*(three[place] for place in order))
