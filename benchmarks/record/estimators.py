"""Every estimator on a pair, with few draws."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import torch
from entries import Entry, entries, read, refusal
from fields import FIELDS
from pairs import NETWORKS, Case

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError

K = 20

FEW = {"num_temperatures": 5, "num_chains": 3, "num_leapfrog": 2}
CHAINS = {"num_draws": 12, "num_chains": 2, "num_warmup": 8}


def call(function: Callable[..., Any], case: Case, *arguments: Any, **options: Any) -> Any:
    """Call an estimator with model, guide and x in the order of its signature, and those keywords that it takes."""
    known = names_of(function)
    values = {"model": case.model, "guide": case.guide, "x": case.x}
    shared = {key: value for key, value in case.options.items() if key in known}
    if options.get("start") == "prior" and "start" not in known:  # before the argument, no guide said the same
        del options["start"]
        values["guide"] = None
    return function(*(values[name] for name in known if name in values), *arguments, **{**shared, **options})


def names_of(function: Callable[..., Any]) -> list[str]:
    """The names of its arguments, with the keywords that every estimator takes where it takes them."""
    parameters = inspect.signature(function).parameters.values()
    shared = ["seed", "index", "source", "batch_size", "chunk_size", "data_policy", "progress"]
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    once_without = ["source"] if function is bv.aggregate_posterior_terms else []
    return [name for name in [*(p.name for p in parameters), *shared * takes_all] if name not in once_without]


def first(case: Case) -> Case:
    """The same with the first observation alone."""
    x = tuple(part[:1] for part in case.x) if isinstance(case.x, tuple) else case.x[:1]
    index = {"index": case.options["index"][:1]} if "index" in case.options else {}
    return Case(case.model, case.guide, x, {**case.options, **index}, case.data)


ESTIMATORS: dict[str, tuple[str, Callable[[Case], Any]]] = {
    "log_terms": ("log_terms", lambda c: call(bv.log_terms, c, K, keep_latents=True)),
    "log_terms, in chunks": (
        "log_terms",
        lambda c: call(bv.log_terms, c, K, keep_latents=True, batch_size=4, chunk_size=7, seed=3),
    ),
    "elbo_terms": ("elbo_terms", lambda c: call(bv.elbo_terms, c, K)),
    "elbo_terms, sampled": ("elbo_terms", lambda c: call(bv.elbo_terms, c, K, kl="sampled", batch_size=4)),
    "elbo_terms, analytic": ("elbo_terms", lambda c: call(bv.elbo_terms, c, K, kl="analytic")),
    "elbo_terms, K=1": ("elbo_terms", lambda c: call(bv.elbo_terms, c, 1, seed=1)),
    "estimate": ("estimate_log_evidence", lambda c: call(bv.estimate_log_evidence, c, 2 * K)),
    "estimate, in chunks": (
        "estimate_log_evidence",
        lambda c: call(bv.estimate_log_evidence, c, 2 * K, batch_size=4, chunk_size=7),
    ),
    "estimate, tolerance": (
        "estimate_log_evidence",
        lambda c: call(bv.estimate_log_evidence, c, 10 * K, tolerance=0.2),
    ),
    "estimate, normal": (
        "estimate_log_evidence",
        lambda c: call(bv.estimate_log_evidence, c, 2 * K, proposal="normal"),
    ),
    "estimate, full covariance": (
        "estimate_log_evidence",
        lambda c: call(bv.estimate_log_evidence, c, 2 * K, proposal="full_covariance"),
    ),
    "estimate, student t, tolerance": (
        "estimate_log_evidence",
        lambda c: call(bv.estimate_log_evidence, c, 2 * K, proposal="student_t", tolerance=0.2),
    ),
    "annealed": ("annealed_log_evidence", lambda c: call(bv.annealed_log_evidence, c, **FEW)),
    "annealed from the prior": (
        "annealed_log_evidence",
        lambda c: call(bv.annealed_log_evidence, c, start="prior", schedule="sigmoid", **FEW),
    ),
    "annealed, unrefined": (
        "annealed_log_evidence",
        lambda c: call(bv.annealed_log_evidence, c, refine=False, schedule="linear", seed=2, **FEW),
    ),
    "annealed, tolerance": (
        "annealed_log_evidence",
        lambda c: call(bv.annealed_log_evidence, first(c), tolerance=0.3, **FEW),
    ),
    "quadrature": (
        "quadrature_log_evidence",
        lambda c: call(bv.quadrature_log_evidence, c, num_points=6, tolerance=1e-2, max_nodes=2000),
    ),
    "quadrature, grid": (
        "quadrature_log_evidence",
        lambda c: call(bv.quadrature_log_evidence, c, method="grid", num_points=9, tolerance=1e-2, max_nodes=3000),
    ),
    "bayes_rule_on_grid": ("bayes_rule_on_grid", lambda c: call(bv.bayes_rule_on_grid, c, num_points=9)),
    "bidirectional_bounds": (
        "bidirectional_bounds",
        lambda c: call(bv.bidirectional_bounds, c, num_observations=6, **FEW),
    ),
    "inference_gap": (
        "inference_gap",
        lambda c: call(bv.inference_gap, c, 2 * K, tolerance=0.1, max_steps=40, num_temperatures=5, num_chains=3),
    ),
    "aggregate_posterior_terms": (
        "aggregate_posterior_terms",
        lambda c: call(bv.aggregate_posterior_terms, c, 5),
    ),
    "calibrate_guide": (
        "calibrate_guide",
        lambda c: call(bv.calibrate_guide, c, num_observations=20, num_draws=19),
    ),
    "calibrate_guide, like x": (
        "calibrate_guide",
        lambda c: call(bv.calibrate_guide, c, like=many(c), num_draws=19),
    ),
    "compare": ("compare", lambda c: call(bv.compare, c, (1, 5, K), num_temperatures=4)),
    "compare, tolerance": (
        "compare",
        lambda c: call(bv.compare, c, (1, 5, K), num_temperatures=4, tolerance=2.0, batch_size=4),
    ),
    "evaluate": ("evaluate", lambda c: call(bv.evaluate, c, K, num_temperatures=4)),
    "posterior_draws": ("draws", lambda c: call(bv.posterior_draws, c, num_leapfrog=3, **CHAINS)),
    "nuts_draws": ("draws", lambda c: call(bv.nuts_draws, first(c), max_tree_depth=3, **CHAINS)),
    "exact_posterior_draws": (
        "draws",
        lambda c: call(bv.exact_posterior_draws, c, num_draws=12, num_chains=2),
    ),
}
"""Name → whose fields are read, and the call."""


LENGTHY = (
    *("annealed, tolerance", "annealed, unrefined", "estimate, normal", "estimate, full covariance"),
    *("compare, tolerance", "quadrature, grid", "nuts_draws"),
)
"""Left out for pairs that differ from others in one part alone."""


def many(case: Case) -> Any:
    """The observations, repeated to 24 rows."""
    parts = case.x if isinstance(case.x, tuple) else (case.x,)
    repeated = tuple(part.repeat(4, *(1,) * (part.dim() - 1)) for part in parts)
    return repeated if isinstance(case.x, tuple) else repeated[0]


def estimates(case: Case, name: str) -> Iterator[tuple[str, Entry]]:
    """The numbers of an estimator on a pair, or its refusal."""
    fields, function = ESTIMATORS[name]
    try:
        result = function(case)
    except BayesVaeError as error:
        yield name, refusal(error)
        return
    yield from read(name, result, FIELDS[fields])
    for rung in getattr(result, "rungs", ()) if fields == "compare" else ():
        place = f"{name}/rung {rung.name} {rung.num_particles}"
        yield from read(place, rung, ("values", "standard_errors", "bias"))


def container(case: Case) -> Iterator[tuple[str, Entry]]:
    """The arrays of the file that ArviZ reads."""
    try:
        content = bv.netcdf_bytes(call(bv.to_arviz, case, num_draws=5))
    except BayesVaeError as error:
        yield "to_arviz", refusal(error)
        return
    yield from arrays("to_arviz", io.BytesIO(content))


def arrays(name: str, file: Any) -> Iterator[tuple[str, Entry]]:
    """Every array of numbers in a netCDF file."""
    found: dict[str, Any] = {}
    with h5py.File(file) as opened:
        opened.visititems(lambda key, value: found.update({key: value[()]}) if hasattr(value, "dtype") else None)
    for key in sorted(found):
        if found[key].dtype.kind in "biuf":
            yield f"{name}/{key}", entry_of(found[key])


def entry_of(values: Any) -> Entry:
    """The one entry of an array."""
    return dict(entries("", values))[""]


def distributions(case: Case) -> Iterator[tuple[str, Entry]]:
    """What models and guides of ours give directly: densities, draws and reconstructions."""
    model, guide = case.model, case.guide
    x, *labels = case.x if isinstance(case.x, tuple) else (case.x,)
    z = torch.linspace(-1, 1, len(x) * NETWORKS["latent_dim"]).reshape(len(x), -1).to(x.dtype)
    y = labels[0] if labels else torch.arange(len(x)) % 3
    index = case.options.get("index")
    calls: dict[str, Callable[[], Any]] = {
        "prior log_prob": lambda: model.prior().log_prob(z),
        "likelihood log_prob": lambda: by_name(model.likelihood, z=z, y=y, z1=z).log_prob(x),
        "likelihood mean": lambda: by_name(model.likelihood, z=z, y=y, z1=z).mean,
        "guide mean": lambda: by_name(guide.variational_posterior, x=x, y=y, index=index).mean,
        "guide log_prob": lambda: by_name(guide.variational_posterior, x=x, y=y, index=index).log_prob(z),
        "sample": lambda: model.sample(5, seed=1),
        "sample mean": lambda: model.sample(5, seed=1, mean=True),
        "reconstruct": lambda: model.reconstruct(case.x, guide, seed=1, index=index),
        "log_evidence": lambda: model.log_evidence(x),
        "bits_per_dimension": lambda: bv.bits_per_dimension(z.sum(-1), model),
        "classify": lambda: guide.classify(x),
        "exact mean": lambda: model.exact_posterior(x).mean,
    }
    with torch.no_grad():
        for name, give in calls.items():
            try:
                yield f"distributions/{name}", entry_of(give())
            except AttributeError:  # a program written elsewhere has none of these, and few of ours have them all
                continue
            except (BayesVaeError, NotImplementedError) as error:
                yield f"distributions/{name}", refusal(error)


def by_name(function: Callable[..., Any], **values: Any) -> Any:
    """Call with those arguments that the signature names."""
    known = names_of(function)
    return function(**{name: value for name, value in values.items() if name in known})
