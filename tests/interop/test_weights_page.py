"""The examples of docs/weights_from_anywhere.md, run: `make interop` has the frameworks in an environment apart."""

import re
from pathlib import Path

import pytest
import torch

import bayes_vae as bv

PAGE = Path(__file__).resolve().parents[2] / "docs" / "weights_from_anywhere.md"

WEIGHT = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.0]]).double()


def example(title):
    """The code below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def run(*titles, **names):
    """Run examples one after another in one namespace, as a reader does."""
    for title in titles:
        exec(compile(example(title), title, "exec"), names)  # noqa: S102
    return names


def assert_exact(names):
    """Compare the estimate with log N(x; 0, W Wᵀ + 0.49 I)."""
    x = torch.as_tensor(names["x"].tolist()).double()
    covariance = WEIGHT @ WEIGHT.T + 0.49 * torch.eye(3)
    truth = torch.distributions.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x)
    estimate = names["estimate"]
    assert estimate.particles.unique().tolist() == [2000]
    assert bool(estimate.converged.all())
    assert bool((abs(estimate.log_evidence - truth) < 5 * estimate.standard_error).all())


@pytest.mark.usefixtures("clean_globals")
def test_a_loop_in_the_manner_of_scvi_tools():
    assert_exact(run("A loop in the manner of scvi-tools", bv=bv))


@pytest.mark.usefixtures("clean_globals")
def test_what_is_done_with_it(capsys):
    names = run("What is done with it", bv=bv)
    assert names["picture"].startswith(b"\x89PNG")
    assert "mine explains the observations better than theirs" in capsys.readouterr().out


@pytest.mark.usefixtures("clean_globals")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_numpyro():
    pytest.importorskip("numpyro", reason="make interop has it")
    assert_exact(run("NumPyro"))


@pytest.mark.usefixtures("clean_globals")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_key_for_every_draw_is_seen():
    jax = pytest.importorskip("jax", reason="make interop has it")
    pytest.importorskip("numpyro", reason="make interop has it")
    names = run("NumPyro")
    same = jax.numpy.broadcast_to(names["keys"][:1], names["keys"].shape)
    weights = jax.vmap(jax.vmap(names["log_weight"]), in_axes=(0, None))(same, names["x"])
    assert not bool(bv.log_evidence_from_weights(weights).converged.any())


@pytest.mark.usefixtures("clean_globals")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorflow_probability():
    pytest.importorskip("numpyro", reason="make interop has it")
    pytest.importorskip("tensorflow_probability.substrates.jax", reason="make interop has it")
    assert_exact(run("NumPyro", "TensorFlow Probability"))
