"""What every test shares: the guard of the process's globals, and the one statistical comparison.

A test that changes a global of torch, Pyro, numpy, Python's ``random`` or Matplotlib fails. What draws from
the global random state goes inside ``with isolated_globals(seed=0): ...``; a test whose very subject is
global (``pyro.infer.SVI`` and the param store, say) asks for ``clean_globals``.
"""

import functools
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pyro
import pytest
import torch
from browser import browser  # noqa: F401
from pyro.poutine.runtime import _PYRO_STACK

from bayes_vae.distributions import diagonal_normal
from bayes_vae.guides import AmortizedNormalGuide, SingleLatentGuide
from bayes_vae.models import VAE, LinearGaussianVAE

os.environ.setdefault("MPLBACKEND", "Agg")

FALSE_ALARM = 1e-6
"""Probability that one correct estimate fails ``within``, two-sided: the only such constant in the suite."""


class Global(NamedTuple):
    """How to read one global (None: nothing to compare yet) and how to put it back."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


class ParamStore(dict[str, tuple[torch.Tensor, torch.Tensor, object]]):
    """The param store by name: the unconstrained tensor, a copy of its value, and its constraint."""

    @classmethod
    def read(cls) -> "ParamStore":
        state = pyro.get_param_store().get_state()
        params, constraints = state["params"], state["constraints"]
        return cls({name: (p, p.detach().clone(), constraints[name]) for name, p in params.items()})

    def write(self) -> None:
        with torch.no_grad():
            for parameter, value, _ in self.values():
                parameter.copy_(value)
        store = pyro.get_param_store()
        store.clear()
        params = {name: parameter for name, (parameter, _, _) in self.items()}
        store.set_state({"params": params, "constraints": {name: c for name, (_, _, c) in self.items()}})

    def __eq__(self, other: object) -> bool:
        same_names = isinstance(other, ParamStore) and self.keys() == other.keys()
        return same_names and all(torch.equal(self[name][1], other[name][1]) for name in self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return f"<{len(self)} parameters: {', '.join(self) or 'none'}>"


def read_numpy_rng() -> tuple[Any, ...]:
    name, key, *rest = np.random.get_state()  # noqa: NPY002 - the legacy global state is what is guarded
    return (name, key.tobytes(), *rest)


def write_numpy_rng(state: tuple[Any, ...]) -> None:
    name, key, *rest = state
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002


def read_rc_params() -> Any:
    matplotlib = sys.modules.get("matplotlib")
    return matplotlib.rcParams.copy() if matplotlib else None


def write_effect_handlers(handlers: tuple[object, ...]) -> None:
    _PYRO_STACK[:] = handlers


GLOBALS = {
    "torch default dtype": Global(torch.get_default_dtype, torch.set_default_dtype),
    "torch default device": Global(
        lambda: str(torch.get_default_device()),
        lambda name: torch.set_default_device(None if name == "cpu" else name),
    ),
    "torch RNG state": Global(
        lambda: torch.get_rng_state().numpy().tobytes(),
        lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
    ),
    "torch grad mode": Global(torch.is_grad_enabled, torch.set_grad_enabled),
    "torch anomaly detection": Global(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch threads": Global(torch.get_num_threads, torch.set_num_threads),
    "torch matmul precision": Global(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch deterministic algorithms": Global(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "cuDNN flags": Global(
        lambda: {name: getattr(torch.backends.cudnn, name) for name in ("benchmark", "deterministic")},
        lambda flags: [setattr(torch.backends.cudnn, name, value) for name, value in flags.items()],
    ),
    "Pyro settings": Global(pyro.settings.get, lambda settings: pyro.settings.set(**settings)),
    "Pyro param store": Global(ParamStore.read, ParamStore.write),
    "Pyro effect handlers": Global(lambda: tuple(_PYRO_STACK), write_effect_handlers),
    "numpy RNG state": Global(read_numpy_rng, write_numpy_rng),
    "numpy error handling": Global(np.geterr, lambda settings: np.seterr(**settings)),
    "numpy print options": Global(np.get_printoptions, lambda options: np.set_printoptions(**options)),
    "random state": Global(random.getstate, random.setstate),
    "Matplotlib rcParams": Global(read_rc_params, lambda saved: sys.modules["matplotlib"].rcParams.update(saved)),
}
"""Every guarded global by name; ``Pyro settings`` holds Pyro's and torch's validation flags too."""


def read_globals() -> dict[str, Any]:
    """Return the present value of every guarded global."""
    return {name: entry.read() for name, entry in GLOBALS.items()}


def changed_globals(before: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return name → (value before, value now) of each global that is not as it was."""
    now = read_globals()
    return {name: (old, now[name]) for name, old in before.items() if old is not None and old != now[name]}


def restore_globals(before: dict[str, Any]) -> None:
    """Put back each global that is not as it was."""
    for name in changed_globals(before):
        GLOBALS[name].write(before[name])


def describe_change(name: str, old: Any, new: Any) -> str:
    """Say in one line what changed; of settings, only those that did."""
    if isinstance(old, dict) and not isinstance(old, ParamStore):
        return "; ".join(f"{name}: {key} {old.get(key)!r} -> {new[key]!r}" for key in new if old.get(key) != new[key])
    detail = f" {old!r} -> {new!r}"
    return name + (f":{detail}" if len(detail) < 200 else "")


@contextmanager
def isolate(seed: int | None = None) -> Iterator[None]:
    """Run a block, then put every guarded global back; ``seed`` seeds torch, numpy and ``random`` first."""
    before = read_globals()
    try:
        if seed is not None:
            pyro.set_rng_seed(seed)
        yield
    finally:
        restore_globals(before)


@pytest.fixture(autouse=True, scope="session")
def heard_interruptions():
    """Ctrl-C as at a terminal, where the tests run in the background of a shell that ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def globals_unchanged() -> Iterator[None]:
    """Fail the test that leaves a guarded global changed, and put it back for the next one."""
    before = read_globals()
    yield
    changes = changed_globals(before)
    restore_globals(before)
    if changes:
        lines = "\n".join("  " + describe_change(name, old, new) for name, (old, new) in changes.items())
        pytest.fail(
            f"the test changed globals of the process:\n{lines}\n"
            "Put what may change them inside `with isolated_globals(seed=0): ...`, or use `clean_globals`.",
            pytrace=False,
        )


@pytest.fixture
def clean_globals() -> Iterator[None]:
    """Let this test change globals: random states start from seed 0, and all is put back at its end."""
    with isolate(seed=0):
        yield


@pytest.fixture(scope="session")
def isolated_globals() -> Callable[..., AbstractContextManager[None]]:
    """``with isolated_globals(seed=0): ...``: what the block does to globals is undone at its end."""
    return isolate


@pytest.fixture(scope="session")
def within() -> Callable[..., None]:
    """``within(estimate, truth, standard_error)``: the difference is what chance allows, for every element.

    Chance allows z standard errors: one right estimate fails with probability ``FALSE_ALARM``.
    """
    z = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)

    def check(estimate: Any, truth: Any, standard_error: Any) -> None:
        values = [torch.as_tensor(v, dtype=torch.float64).detach() for v in (estimate, truth, standard_error)]
        estimates, truths, errors = torch.broadcast_tensors(*values)
        if not (torch.isfinite(errors) & (errors >= 0)).all():
            pytest.fail(f"standard errors must be finite and not negative: {errors}", pytrace=False)
        differences = (estimates - truths).abs()
        failed = ~(differences <= z * errors)
        if failed.any():
            in_errors = (differences / errors)[failed]
            pytest.fail(
                f"{int(failed.sum())} of {failed.numel()} estimates lie further from the truth than {z:.3f} "
                f"standard errors\n  estimate        {estimates[failed]}\n"
                f"  truth           {truths[failed]}\n  standard error  {errors[failed]}\n"
                f"  |difference| in standard errors  {in_errors}",
                pytrace=False,
            )

    return check


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """Return the folder that holds MNIST, or skip the test."""
    folder = os.environ.get("BAYES_VAE_DATA")
    if not folder:
        pytest.skip("set BAYES_VAE_DATA to a folder that holds MNIST in torchvision's layout")
    return Path(folder)


@pytest.fixture(scope="session")
def linear_gaussian() -> tuple[LinearGaussianVAE, torch.Tensor]:
    """A linear-Gaussian model in float64 with a correlated posterior, and seven observations."""
    with isolate(seed=0):
        model = LinearGaussianVAE(latent_dim=2, data_shape=(5,), noise_scale=0.7).double()
        return model, model.sample(7, seed=1)


class RescaledGuide(SingleLatentGuide):
    """The exact posterior's mean, its deviations times a factor, and no correlation."""

    def __init__(self, model: LinearGaussianVAE, factor: float) -> None:
        super().__init__()
        self._model, self.factor = (model,), factor

    def variational_posterior(self, x: torch.Tensor) -> Any:
        exact = self._model[0].exact_posterior(x)
        return diagonal_normal(exact.loc, exact.variance.sqrt() * self.factor)


@pytest.fixture(scope="session")
def rescaled_guide() -> Callable[[LinearGaussianVAE, float], RescaledGuide]:
    """``rescaled_guide(model, factor)``: wider than the posterior for a factor well above one."""
    return RescaledGuide


@pytest.fixture(scope="session")
def small_vae() -> tuple[VAE, AmortizedNormalGuide, torch.Tensor]:
    """A Bernoulli VAE with one latent and its guide in float64, untrained, and five binary observations."""
    with isolate(seed=3):
        settings: dict[str, Any] = {"latent_dim": 1, "data_shape": (2, 3), "hidden_dims": (4,)}
        model, guide = VAE(**settings).double(), AmortizedNormalGuide(**settings).double()
        return model, guide, model.sample(5, seed=2)


NOISE = 0.5
"""Deviation of x given z in :func:`masked_pairs`."""


def unit_normals(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """log p(x) where each number of z is standard normal and x is z plus noise; of numbers that are not masked."""
    scale = x.new_tensor((1 + NOISE**2) ** 0.5)
    each: torch.Tensor = torch.distributions.Normal(torch.zeros_like(scale), scale).log_prob(x)
    return (each * mask).sum(-1)


def markov_chain(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """log p(x) where z_t is 0.8 z_{t-1} plus unit noise and x_t is z_t plus noise, up to each row's length."""
    steps = torch.arange(x.shape[1], dtype=x.dtype)
    innovations = torch.where(steps[:, None] >= steps, 0.8 ** (steps[:, None] - steps).clamp(min=0), 0.0).to(x)
    covariance = innovations @ innovations.T + NOISE**2 * torch.eye(x.shape[1]).to(x)
    found = []
    for row, length in zip(x, mask.sum(-1).tolist(), strict=True):
        part = torch.distributions.MultivariateNormal(torch.zeros(length).to(x), covariance[:length, :length])
        found.append(part.log_prob(row[:length]))
    return torch.stack(found)


class MaskedPair(NamedTuple):
    """A pair whose latents are masked by row, its arguments, and log p(x) of each row in closed form."""

    model: Any
    guide: Any
    x: tuple[torch.Tensor, ...]
    log_evidence: torch.Tensor


class ByRow:
    """The masks of :func:`masked_pairs`, each (N, 2) or (N, T), and how they reach the sites."""

    def __init__(self, style: str) -> None:
        self.style = style

    def two_sites(self, x: torch.Tensor, mask: torch.Tensor, *, guide: bool) -> None:
        """z1, x1 always, z2, x2 where they are seen: ``poutine.mask``, shape (N,)."""
        shrunk, scale = x / (1 + NOISE**2), NOISE / (1 + NOISE**2) ** 0.5
        with pyro.plate("data", len(x)):
            for d in range(2):
                with pyro.poutine.mask(mask=mask[:, d]):
                    loc, spread = (shrunk[:, d], 1.3 * scale) if guide else (x.new_zeros(()), 1.0)
                    z = pyro.sample(f"z{d + 1}", pyro.distributions.Normal(loc, spread))
                    if not guide:
                        pyro.sample(f"x{d + 1}", pyro.distributions.Normal(z, NOISE), obs=x[:, d])

    def event_dims(self, x: torch.Tensor, mask: torch.Tensor, *, guide: bool) -> None:
        """One site whose event dims are partly masked: ``.mask`` within ``to_event``, shape (N, 2)."""
        shrunk, scale = x / (1 + NOISE**2), NOISE / (1 + NOISE**2) ** 0.5
        loc, spread = (shrunk, 1.3 * scale) if guide else (torch.zeros_like(x), 1.0)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(loc, spread).mask(mask).to_event(1))
            if not guide:
                pyro.sample("x", pyro.distributions.Normal(z, NOISE).mask(mask).to_event(1), obs=x)

    def plate_dim(self, x: torch.Tensor, mask: torch.Tensor, *, guide: bool) -> None:
        """Time as a plate of its own within the data's: ``poutine.mask``, shape (N, T)."""
        shrunk, scale = x / (1 + NOISE**2), NOISE / (1 + NOISE**2) ** 0.5
        loc, spread = (shrunk, 1.3 * scale) if guide else (x.new_zeros(()), 1.0)
        with pyro.plate("data", len(x), dim=-2), pyro.plate("time", x.shape[1], dim=-1), pyro.poutine.mask(mask=mask):
            z = pyro.sample("z", pyro.distributions.Normal(loc, spread))
            if not guide:
                pyro.sample("x", pyro.distributions.Normal(z, NOISE), obs=x)

    def markov(self, x: torch.Tensor, mask: torch.Tensor, *, guide: bool) -> None:
        """The idiom of Pyro's deep Markov model: a site a time step, ``.mask(mask[:, t : t + 1]).to_event(1)``."""
        before = x.new_zeros(len(x), 1)
        scale = NOISE / (1 + NOISE**2) ** 0.5
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                seen, now = mask[:, t : t + 1], x[:, t : t + 1]
                loc = 0.8 * before + (now - 0.8 * before) / (1 + NOISE**2) if guide else 0.8 * before
                spread = 1.2 * scale if guide else 1.0
                z = pyro.sample(f"z_{t}", pyro.distributions.Normal(loc, spread).mask(seen).to_event(1))
                if not guide:
                    pyro.sample(f"x_{t}", pyro.distributions.Normal(z, NOISE).mask(seen).to_event(1), obs=now)
                before = z

    def pair(self, x: torch.Tensor, mask: torch.Tensor) -> MaskedPair:
        """The pair with its arguments and its truth."""
        program = getattr(self, self.style)
        truth = markov_chain if self.style == "markov" else unit_normals
        model, guide = (functools.partial(program, guide=which) for which in (False, True))
        return MaskedPair(model, guide, (x, mask), truth(x, mask))


@pytest.fixture(scope="session")
def masked_pair() -> Callable[..., MaskedPair]:
    """``masked_pair(style, num_rows)``: x in float64; rows with one, two (and three) numbers in turn."""

    def make(style: str, num_rows: int) -> MaskedPair:
        size = 3 if style == "markov" else 2
        lengths = 1 + torch.arange(num_rows) % size
        x = torch.randn(num_rows, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return ByRow(style).pair(x, torch.arange(size) < lengths[:, None])

    return make


@pytest.fixture(params=["two_sites", "event_dims", "plate_dim", "markov"])
def masked_style(request: pytest.FixtureRequest) -> str:
    """How latents are masked."""
    return str(request.param)
