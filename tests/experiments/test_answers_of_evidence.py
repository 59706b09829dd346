"""The sentences of the experiments on autoencoders, the weight of the KL and the gap follow their numbers."""

import pytest
import torch

from bayes_vae.experiments import autoencoder_versus_vae, better_guides, elbo_versus_evidence, weight_of_the_kl
from bayes_vae.terms.averages import Average


def figure(value, error=0.1):
    return Average("elbo", value, error / 10, error, 10, 100)


def row(weight, elbo, evidence, active=4):
    rate, likelihood = figure(3.0), figure(elbo + 3.0)
    return weight_of_the_kl.Row(weight, rate, likelihood, figure(elbo), figure(evidence), active)


def test_the_best_weight_is_the_one_that_the_numbers_say():
    text = weight_of_the_kl.answer([row(0.1, -30, -25), row(1, -24, -23.5), row(10, -27, -26.9, 0)])
    assert "The ELBO is best at weight 1 (-24.00), log p(x) at weight 1 (-23.50)" in text
    assert "weight 0.1 costs 6.0 nats of ELBO and 1.5 of log p(x)" in text
    other = weight_of_the_kl.answer([row(0.1, -22, -21), row(1, -24, -23.5), row(10, -27, -26.9, 0)])
    assert "best at weight 0.1 (-22.00)" in other
    assert (
        weight_of_the_kl.answer([row(0.5, -24, -24), row(1, -24, -24)]) == "Over these weights the ELBO hardly changes."
    )


def test_what_was_maximized_is_compared_with_log_evidence():
    """With a KL of 3 nats the weight 0.1 adds 2.7 to the ELBO, and the weight 10 takes 27 from it."""
    found = weight_of_the_kl.bounds([row(0.1, -30, -29), row(1, -24, -23.5), row(10, -27, -26.9)])
    assert "lies above log p(x) at weight 0.1, so it is no bound there and lies below it at the others" in found
    assert found.endswith("the highest at weight 1 (-24.00).")
    assert "above" not in weight_of_the_kl.bounds([row(0.1, -30, -25), row(1, -24, -23.5)])


@pytest.mark.parametrize(("share", "whose"), [(0.2, "the family's;"), (0.9, "the encoder's;"), (0.5, "alike;")])
def test_whose_gap_it_is_follows_the_share(share, whose):
    assert whose in elbo_versus_evidence.answer(0.5, 0.01, share, (0.5, 0.05), (0.0, 0.05))


def test_which_images_follows_the_correlations():
    both = elbo_versus_evidence.answer(0.5, 0.01, 0.5, (0.5, 0.05), (0.4, 0.05))
    assert both.endswith("it is larger the less likely the image is and the more ink it has.")
    less = elbo_versus_evidence.answer(0.5, 0.01, 0.5, (-0.5, 0.05), (-0.4, 0.05))
    assert less.endswith("it is larger the more likely the image is and the less ink it has.")
    neither = elbo_versus_evidence.answer(0.5, 0.01, 0.5, (0.1, 0.05), (-0.1, 0.05))
    assert neither.endswith("neither likelihood nor ink tells where it is large.")
    assert "no gap to explain" in elbo_versus_evidence.answer(0.01, 0.01, 0.5, (0.5, 0.05), (0.4, 0.05))


def test_rank_correlation_of_ranks():
    values = torch.tensor([3.0, 1.0, 2.0, 10.0])
    assert elbo_versus_evidence.correlation(values, values.exp()) == pytest.approx((1.0, 0.0))
    assert elbo_versus_evidence.correlation(values, -values)[0] == pytest.approx(-1.0)
    r, error = elbo_versus_evidence.correlation(values, torch.tensor([3.0, 2.0, 1.0, 4.0]))
    assert (r, error) == pytest.approx((0.8, 0.36 / 3**0.5))


def test_equal_numbers_share_their_rank():
    values = torch.tensor([3.0, 1.0, 2.0, 10.0])
    assert elbo_versus_evidence.correlation(values, torch.ones(4)) == pytest.approx((0.0, 1 / 3**0.5))
    r, _ = elbo_versus_evidence.correlation(values, torch.tensor([1.0, 0.0, 0.0, 1.0]))
    assert r == pytest.approx(4 / 20**0.5)  # of the ranks 3, 1, 2, 4 with 3.5, 1.5, 1.5, 3.5


def test_the_gap_shrinks_only_where_it_does():
    def row(guide, gap, evidence=-24.0):
        return better_guides.Row(guide, figure(evidence - gap), figure(evidence), gap, 0.02)

    rows = [row("normal", 0.5), row("flow", 0.3)]
    found = better_guides.answer(rows, (0.2, 0.01))
    assert found.startswith("log p(x) stays")
    assert "shrinks from 0.500 ± 0.020 nats (normal) to 0.300 ± 0.020 (flow), by 0.200 ± 0.010" in found
    assert "no guide is clearly better than another: 0.500 ± 0.020" in better_guides.answer(rows, (0.2, 0.1))
    assert "differs by the guide" in better_guides.answer([row("normal", 0.5), row("flow", 0.3, -23.0)], (0.2, 0.1))


def test_draws_are_told_from_images_only_where_they_differ():
    x = torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    assert autoencoder_versus_vae.told_apart(x, 1 - x).tolist() == [1.0] * 4
    assert autoencoder_versus_vae.told_apart(x, x.clone()).tolist() == [0.0] * 4


def measured(likelihood, evidence, told):
    return autoencoder_versus_vae.Measured((likelihood, 0.1), figure(evidence), (told, 0.02), (0.5, 0.02))


def test_the_comparison_says_who_is_better():
    text = autoencoder_versus_vae.answer(measured(-16, -30, 0.8), measured(-20, -24, 0.6))
    assert "reconstructs better by 4.0 nats" in text
    assert "6.0 nats below the VAE's" in text
    assert "more easily (80.0 ± 2.0 % against 60.0 ± 2.0 %)" in text
    other = autoencoder_versus_vae.answer(measured(-21, -23, 0.6), measured(-20, -24, 0.6))
    assert "reconstructs worse by 1.0 nats" in other
    assert "1.0 nats above the VAE's" in other
    assert "as easily as the VAE's" in other
