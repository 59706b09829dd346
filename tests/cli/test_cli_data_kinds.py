"""Data that are no images, from a file to the figures; and data of a kind that the model has no likelihood for."""

import numpy as np
import pytest
import torch
from PIL import Image

from bayes_vae.cli.evaluate import evaluate
from bayes_vae.cli.loading import open_run
from bayes_vae.plots import prior_sample_figure, reconstruction_figure, save_figure
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import EvaluateSettings

SHAPES = [(), (1,), (7,), (3, 4, 5), (2, 3, 2, 2, 2), (5000,), (1, 400)]


@pytest.mark.parametrize("shape", [(), (2, 3, 4)])
def test_a_run_on_events_of_any_rank(command, tmp_path, tiny, shape):
    observations = np.random.default_rng(0).integers(0, 2, (60, *shape), dtype=np.uint8)
    np.save(tmp_path / "x.npy", observations)
    words = ["--data", tmp_path / "x.npy", "--policy", "none", "--out", tmp_path / "run", "--json"]
    outcome = command("train", *tiny, *words)
    assert outcome.code == 0
    assert outcome.json["data"]["data_shape"] == list(shape)
    assert outcome.json["data"]["kind"] == "binary"
    assert len(outcome.json["figures"]) >= 4
    opened = open_run(str(tmp_path / "run"), "cpu", None, None, None)
    terms = evaluate(opened, EvaluateSettings(num_particles=4, num_temperatures=0))["terms"]
    assert np.isfinite(terms["elbo"]["value"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values", ["counts", "real"])
def test_pictures_of_any_shape_and_range(shape, values):
    generator = np.random.default_rng(0)
    drawn = generator.poisson(100, (4, *shape)) if values == "counts" else generator.normal(size=(4, *shape))
    x = torch.from_numpy(drawn).float()
    for figure in (prior_sample_figure(x, data_policy="none"), reconstruction_figure(x, x, data_policy="none")):
        assert save_figure(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("array", "words", "message"),
    [
        (np.arange(60).reshape(20, 3), [], "integers in 0…59: as pixels they would stand for n/255"),
        (np.arange(60).reshape(20, 3), ["--kind", "counts"], "takes zeros and ones, but the observations of the data"),
        (np.ones((20, 3)) / 3, ["--kind", "real"], "'x.npy' are real values (kind 'real', data policy 'none')"),
        (np.eye(20), ["--kind", "counts", "--policy", "static"], "makes zeros and ones of pixels, but the kind"),
        (np.full((20, 3), np.nan), [], "of 20 row(s) every value is missing, the first is row 0"),
    ],
)
def test_what_the_model_cannot_take_is_one_line(command, tmp_path, array, words, message):
    np.save(tmp_path / "x.npy", array)
    outcome = command("train", "--data", tmp_path / "x.npy", *words, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert message in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_folder_of_images(command, tmp_path, tiny):
    generator = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"{number}.png")
    words = ["--data", tmp_path / "pets", "--image-size", "5", "--policy", "static", "--json"]
    outcome = command("train", *tiny, *words, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert (outcome.json["data"]["data_shape"], outcome.json["data"]["label_names"]) == ([3, 5, 5], ["cats", "dogs"])
    assert RunDirectory(tmp_path / "run").settings["data"]["image_size"] == 5
    assert "note:" not in command("evaluate", tmp_path / "run", "--num-temperatures", "0", "--num-particles", "4").err
