"""The fixtures of conftest.py: each guarded global is seen to change, and ``within`` fails when it should."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py")

CHANGES = {
    "torch default dtype": "torch.set_default_dtype(torch.float64)",
    "torch default device": "torch.set_default_device('meta')",
    "torch RNG state": "torch.nn.Linear(2, 2)",
    "torch grad mode": "torch.set_grad_enabled(False)",
    "torch anomaly detection": "torch.autograd.set_detect_anomaly(True)",
    "torch threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "torch matmul precision": "torch.set_float32_matmul_precision('medium')",
    "torch deterministic algorithms": "torch.use_deterministic_algorithms(True)",
    "cuDNN flags": "torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark",
    "Pyro settings": "torch.distributions.Distribution.set_default_validate_args(False)",
    "Pyro param store": "pyro.param('loc', torch.zeros(()))",
    "Pyro effect handlers": "pyro.poutine.block().__enter__()",
    "numpy RNG state": "np.random.normal()",
    "numpy error handling": "np.seterr(divide='raise')",
    "numpy print options": "np.set_printoptions(precision=3)",
    "random state": "random.random()",
    "Matplotlib rcParams": "matplotlib.rcParams['lines.linewidth'] = 7",
}

HEADER = "import random\nimport matplotlib, numpy as np, pyro, torch\n"


STORE_TEST = """
def test_store(isolated_globals):
    pyro.param("loc", torch.zeros(()))
    with isolated_globals():
        pyro.param("loc").data.add_(1)
        pyro.param("scale", torch.ones(()), constraint=torch.distributions.constraints.positive)
    assert list(pyro.get_param_store()) == ["loc"]
    assert pyro.param("loc").item() == 0
    pyro.clear_param_store()
"""

MNIST_TEST = "def test_mnist(mnist_root):\n    pass\n"

PLAIN_TEST = "def test_plain():\n    torch.randn(3, generator=torch.Generator().manual_seed(0))\n"


@pytest.fixture
def run(pytester):
    """Run test files under our conftest in a child process: torch does not survive being imported twice."""
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(browser=CONFTEST.with_name("browser.py").read_text())

    def run_sources(**sources):
        pytester.makepyfile(**{f"test_{name}": HEADER + source for name, source in sources.items()})
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")

    return run_sources


def source_of_changes(signature, block):
    """Return the source of a file with a test for each change, whose body is ``block`` around the change."""
    changes = enumerate(CHANGES.values())
    return "\n".join(f"def test_{i}({signature}):\n    {block.format(change)}\n" for i, change in changes)


def test_every_guarded_global_has_a_change_here():
    spec = importlib.util.spec_from_file_location("conftest_under_test", CONFTEST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(CHANGES) == set(module.GLOBALS)


def test_a_test_that_changes_a_global_fails_and_the_next_one_starts_clean(run):
    result = run(a_changes=source_of_changes("", "{}"), b_plain=PLAIN_TEST)
    result.assert_outcomes(passed=len(CHANGES) + 1, errors=len(CHANGES))
    result.stdout.fnmatch_lines_random([f"  {name}*" for name in CHANGES])
    for name in CHANGES:  # a summary at the end may name it once more
        assert f"the test changed globals of the process:\n  {name}" in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_the_fixtures_allow_changes_and_undo_them(run, monkeypatch):
    monkeypatch.delenv("BAYES_VAE_DATA", raising=False)
    result = run(
        clean=source_of_changes("clean_globals", "{}"),
        isolated=source_of_changes("isolated_globals", "with isolated_globals():\n        {}"),
        store=STORE_TEST,
        mnist=MNIST_TEST,
    )
    result.assert_outcomes(passed=2 * len(CHANGES) + 1, skipped=1)


def test_isolated_globals_seeds(isolated_globals):
    def draw():
        with isolated_globals(seed=3):
            return torch.randn(4)

    assert torch.equal(draw(), draw())


@pytest.mark.parametrize("difference", [0.0, 4.89, -4.89])
def test_within_lets_chance_pass(within, difference):
    within(2.0 + 0.1 * difference, 2.0, 0.1)


@pytest.mark.parametrize("difference", [4.9, -4.9, math.nan, math.inf])
def test_within_fails_beyond_chance(within, difference):
    with pytest.raises(pytest.fail.Exception, match=r"1 of 1 estimates lie further from the truth than 4\.892"):
        within(2.0 + 0.1 * difference, 2.0, 0.1)


def test_within_looks_at_every_element(within):
    with pytest.raises(pytest.fail.Exception, match="1 of 3 estimates"):
        within(torch.tensor([0.0, 1.0, 0.0]), 0.0, 0.1)


@pytest.mark.parametrize("standard_error", [math.nan, math.inf, -1.0])
def test_within_refuses_an_error_that_says_nothing(within, standard_error):
    with pytest.raises(pytest.fail.Exception, match="finite and not negative"):
        within(1.0, 1.0, standard_error)


def test_within_with_no_error_means_equal(within):
    within(1.0, 1.0, 0.0)
    with pytest.raises(pytest.fail.Exception, match="1 of 1"):
        within(1.0, 1.0 + 1e-12, 0.0)
