"""What an activation confines: the encoder's heads and the decoder's reach, measured on networks that have one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bayes_vae.data import load_data
from bayes_vae.diagnosis.findings.judge import judge
from bayes_vae.diagnosis.measure.decoder_output import measure_pixel_scale, measure_reach
from bayes_vae.diagnosis.measure.encoder_heads import measure_heads
from bayes_vae.diagnosis.measure.splits import measure_splits
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import DoesNotApplyError
from bayes_vae.guides.network_guide import NetworkGuide
from bayes_vae.terms.program import undisturbed
from faults.pairs import PlainModel, SharedScale, bernoulli_pixels

LATENT, COLUMNS = 3, 8


class Head(nn.Module):
    """A linear layer whose halves, means and log variances, are changed."""

    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(COLUMNS, 2 * LATENT), change

    def forward(self, x):
        return torch.cat(self.change(*self.linear(x).chunk(2, -1)), -1)


@pytest.fixture
def subject_with(isolated_globals):
    """``subject_with(change=…, last=…, factor=…)``: an untrained pair for rows of a table."""

    def build(change=lambda m, v: (m, v), last=None, factor=1.0, likelihood=None, fixed=False):
        with isolated_globals(seed=0):
            values = torch.randn(300, COLUMNS)
            values[:, 0] *= factor
            data = load_data(values, kind="real", policy="none")
            decoder = nn.Sequential(nn.Linear(LATENT, COLUMNS), last or nn.Identity())
            scale = SharedScale((COLUMNS,), 0.5)
            scale.log_scale.requires_grad_(not fixed)
            model = PlainModel(decoder, likelihood or scale, LATENT, torch.Size([COLUMNS]))
            guide = NetworkGuide(Head(change), LATENT, (COLUMNS,), "loc-and-log-variance", split=True)
        return Subject(model, guide, data)

    return build


def found(subject, measure, examined):
    """Names of the findings where these numbers are measured and the others are healthy ones."""
    with undisturbed(subject.model, subject.guide):
        numbers = measure(subject)
    return {
        finding.name: finding for finding in judge(examined(**{name: n.value for name, n in numbers.items()})).findings
    }


CONFINED = {
    "relu-means": (lambda m, v: (m.relu(), v), "No mean of q lies below 0"),
    "relu-log-variance": (lambda m, v: (m, v.relu()), "deviation is 1 there"),
    "log-variance-always-zero": (lambda m, v: (m, (v - 99).relu()), "100% of q's deviations are exactly 1"),
    "dead-units": (lambda m, v: (torch.cat([m[:, :2], (m[:, 2:] - 99).relu()], -1), v), "1 of 2 means"),
    "clamped-below": (lambda m, v: (m, v.clamp(min=-0.3)), "No log variance of q lies below -0.3"),
    "clamped-above": (lambda m, v: (m, v.clamp(max=0.4)), "No log variance of q lies above 0.4"),
    "tanh-means": (lambda m, v: ((4 * m).tanh(), v), "an activation such as tanh or sigmoid"),
    "sigmoid-means": (lambda m, v: ((8 * m).sigmoid(), v), "an activation such as tanh or sigmoid"),
}


@pytest.mark.parametrize("name", CONFINED)
def test_heads_that_an_activation_confines(subject_with, examined, name):
    change, words = CONFINED[name]
    findings = found(subject_with(change), measure_heads, examined)
    assert words in findings["encoder-confined"].summary
    assert findings["encoder-confined"].sureness == "clear"


@pytest.mark.parametrize(
    "change", [lambda m, v: (m, v), lambda m, v: (0.2 * m, v), lambda m, v: (m, torch.zeros_like(v) - 1)]
)
def test_linear_heads_and_a_fixed_deviation_are_free(subject_with, examined, change):
    assert "encoder-confined" not in found(subject_with(change), measure_heads, examined)


def test_a_confined_head_explains_what_its_deviations_look_like(examined):
    numbers = {
        "share_of_unit_deviations": 0.6,
        "gain_of_scale_factor": 2.0,
        "best_scale_factor": 0.4,
        "kl_weight": 0.7,
        "kl_weight_of_scales": 0.4,
        "kl_weight_of_scales_as_variances": 1.0,
    }
    findings = judge(examined(**numbers)).findings
    assert findings[0].name == "encoder-confined"
    assert {finding.because for finding in findings[1:]} == {"encoder-confined"}


def test_a_log_variance_next_to_overflow(subject_with, examined):
    findings = found(subject_with(lambda m, v: (m, v + 40)), measure_heads, examined)
    assert "near-overflow" in findings
    assert "near-overflow" not in found(subject_with(), measure_heads, examined)


@pytest.mark.parametrize(
    ("last", "words"), [(nn.Sigmoid(), "of the values lie below"), (nn.Tanh(), "of the values lie below"), (None, "")]
)
def test_data_that_no_mean_of_the_decoder_reaches(subject_with, examined, last, words):
    findings = found(subject_with(last=last), measure_reach, examined)
    assert ("decoder-reach" in findings) == bool(words)
    if words:
        assert words in findings["decoder-reach"].summary


def test_columns_that_are_not_scaled(subject_with, examined):
    assert "unscaled-columns" in found(subject_with(factor=500.0), measure_reach, examined)
    assert "unscaled-columns" not in found(subject_with(factor=20.0), measure_reach, examined)


def test_test_rows_that_are_normalized_otherwise_or_were_trained_on(subject_with, examined):
    subject = subject_with()
    assert not found(subject, measure_splits, examined).keys() & {"splits-differ", "test-rows-in-train"}
    test = subject.data.test
    for change in (lambda x: 255 * x, lambda x: x + 2):
        other = replace(subject.data, test=replace(test, values=change(test.values)))
        assert "splits-differ" in found(Subject(subject.model, subject.guide, other), measure_splits, examined)
    values = test.values.clone()
    values[: len(values) // 4] = subject.data.train.values[: len(values) // 4]
    other = replace(subject.data, test=replace(test, values=values))
    repeated = found(Subject(subject.model, subject.guide, other), measure_splits, examined)["test-rows-in-train"]
    assert "test-rows-in-train" not in {
        kind.name
        for kind in judge(examined(share_of_test_rows_in_train=0.4, share_of_train_rows_repeated=0.35)).findings
    }
    assert repeated.summary.startswith(f"{len(values) // 4 / len(values):.0%} of the test rows")


def test_whether_the_deviation_is_learned(subject_with):
    for fixed in (True, False):
        subject = subject_with(fixed=fixed)
        with undisturbed(subject.model, subject.guide):
            assert measure_pixel_scale(subject)["pixel_scale_is_learned"].value == float(not fixed)


def test_a_bernoulli_has_no_deviation(subject_with):
    subject = subject_with(likelihood=bernoulli_pixels((COLUMNS,)))
    with undisturbed(subject.model, subject.guide):
        for measure in (measure_reach, measure_pixel_scale):
            with pytest.raises(DoesNotApplyError, match="the likelihood is Bernoulli, not a normal"):
                measure(subject)
