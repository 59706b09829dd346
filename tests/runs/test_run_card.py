"""The model card: what was trained on what, how well, and how to use it."""

import pytest

from bayes_vae.errors import RunError
from bayes_vae.runs import RunDirectory, save

ROWS = [
    {"epoch": epoch, "validation_elbo": -20.0 - epoch, "validation_elbo_error": 0.25}
    | {"validation_expected_log_likelihood": -17.5 - epoch, "validation_kl_to_prior": 2.5}
    for epoch in (1, 2)
]


@pytest.fixture
def card(make_run, tmp_path):
    """``card(history=...)``: the text of the card of a run with these fields."""

    def write(**fields):
        save(make_run(**fields), tmp_path / "run")
        return RunDirectory(tmp_path / "run").read_file("MODEL_CARD.md").decode()

    return write


def test_figures_are_those_of_the_best_epoch_with_their_conditions(card):
    data = {"name": "digits", "policy": "static", "digest": "0" * 64, "sizes": {"validation": 40}}
    text = card(history=ROWS, best_epoch=1, data=data, ending="patience")
    assert "| ELBO | −21.000 | ± 0.250 |" in text
    assert "| E\\_q log p(x\\|z) | −18.500 |  |" in text
    assert "K = 2 · N = 40 validation observations · data policy: static" in text
    assert "2 epochs, the best was number 1; the validation ELBO had stopped rising." in text


def test_it_says_what_how_and_for_what(card):
    text = card()
    assert text.startswith("# VAE with AmortizedNormalGuide, trained on digits\n")
    for words in (
        "| digest | 0000",
        "| seed | 0 |",
        "| latent\\_dim | 2 |",
        "| torch | ",
        "## Use and limits",
        "bv.load(",
    ):
        assert words in text
    assert "bayes-vae train --config RUN/config.json" in text
    assert "None were measured" in text


def test_a_pair_from_elsewhere_is_loaded_otherwise(card):
    text = card(model=lambda x: None, best_state={})
    assert '`model, guide = bv.load("RUN", model=..., guide=...)`' in text
    assert "bayes-vae evaluate RUN" not in text


def test_names_cannot_write_markdown_of_their_own(card):
    text = card(data={"name": "a`|\n# b <script>", "policy": "none"})
    assert "trained on a\\`\\| \\# b \\<script\\>\n" in text
    assert "\n# b" not in text


def test_nobody_else_replaces_it(saved):
    with pytest.raises(RunError, match=r"MODEL_CARD.md of .* belongs to the training and is never replaced"):
        RunDirectory(saved).add_file("MODEL_CARD.md", b"x")
