"""A page of a small run, made once, and a browser to open pages in."""

import time

import pytest
import torch

import bayes_vae as bv
from bayes_vae.explore import collect, explore_page
from bayes_vae.guides import AmortizedNormalGuide, AutoregressiveFlowGuide
from bayes_vae.models import VAE
from bayes_vae.settings import ExploreSettings, PairSettings
from bayes_vae.training import build_pair

NAME = "<script>window.hacked = 1</script> & a run"


@pytest.fixture(scope="session")
def digits():
    return bv.load_data("digits")


@pytest.fixture(scope="session")
def pairs(digits, isolated_globals):
    """Two pairs of two latent numbers, trained for a few epochs with KL weights 1 and 4."""
    found = []
    for weight in (1.0, 4.0):
        with isolated_globals(seed=0):
            pair = build_pair(PairSettings(2, (32,)), digits)
            run = bv.fit(*pair, digits, epochs=8, kl_weight=weight, progress="none")
        found.append((run.model, run.guide))
    return found


@pytest.fixture(scope="session")
def views(pairs, digits):
    settings = ExploreSettings(num_images=20, num_codes=60, num_particles=60, num_points=121)
    return [
        collect(*pair, digits, settings, name=name, config={"settings": {"training": {"kl_weight": weight}}})
        for pair, name, weight in zip(pairs, (NAME, "heavier"), (1.0, 4.0), strict=True)
    ]


@pytest.fixture(scope="session")
def file(views, tmp_path_factory):
    """The page of one run, on disk."""
    return written(tmp_path_factory, explore_page(views[:1]))


@pytest.fixture(scope="session")
def file_of_two(views, tmp_path_factory):
    return written(tmp_path_factory, explore_page(views))


@pytest.fixture(scope="session")
def file_of_six_dimensions(digits, isolated_globals, tmp_path_factory):
    with isolated_globals(seed=0):
        pair = build_pair(PairSettings(6, (16,)), digits)
        run = bv.fit(*pair, digits, epochs=2, progress="none")
    settings = ExploreSettings(num_images=6, num_codes=20, num_particles=60, num_temperatures=10)
    return written(tmp_path_factory, explore_page([collect(run.model, run.guide, digits, settings)]))


@pytest.fixture(scope="session")
def file_of_a_flow(digits, isolated_globals, tmp_path_factory):
    networks = {"latent_dim": 2, "data_shape": (8, 8), "hidden_dims": (8,)}
    with isolated_globals(seed=0):
        pair = VAE(**networks), AutoregressiveFlowGuide(**networks)
    settings = ExploreSettings(num_images=4, num_codes=6, num_particles=30, num_points=21)
    return written(tmp_path_factory, explore_page([collect(*pair, digits, settings)]))


@pytest.fixture(scope="session")
def file_of_large_images(isolated_globals, tmp_path_factory):
    """784-200-200-2, untrained: how long the page takes does not depend on the weights."""
    x = (torch.rand(60, 28, 28, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    data = bv.load_data(x, kind="binary")
    networks = {"latent_dim": 2, "data_shape": (28, 28)}
    with isolated_globals(seed=0):
        pair = VAE(**networks), AmortizedNormalGuide(**networks)
    settings = ExploreSettings(num_images=6, num_codes=6, num_particles=30, num_points=11)
    return written(tmp_path_factory, explore_page([collect(*pair, data, settings)]))


def written(factory, page):
    path = factory.mktemp("explore") / "explore.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def until():
    """``until(tab, expression)``: wait for it to hold; Playwright's own wait evaluates text, which the page forbids."""

    def wait(tab, expression, seconds=60):
        end = time.monotonic() + seconds
        while not tab.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            tab.wait_for_timeout(30)

    return wait


@pytest.fixture
def opened(browser, until):
    """``opened(file, width)``: the page, what its console said, and what it asked for."""
    contexts = []

    loaded = "window.bayesVae && (bayesVae.engine.fine || bayesVae.engine.isSlice)"

    def open_page(file, width=1200, height=900, fragment="", script="", ready=loaded, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        tab, said, asked = context.new_page(), [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.add_init_script(script)
        tab.goto(file.as_uri() + fragment)
        until(tab, ready)
        return tab, said, asked

    yield open_page
    for context in contexts:
        context.close()
