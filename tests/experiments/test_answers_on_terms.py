"""The experiments on the terms, the KL, the two forces and neighbours: what they compute, and what they say of it."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.experiments import is_it_all_just_mean_zero_and_deviation_one as two_forces
from bayes_vae.experiments import (
    the_kl_term_by_term,
    what_the_kl_compares,
    where_are_the_classes,
    which_term_is_which,
    why_similar_inputs_are_neighbours,
)
from bayes_vae.experiments.is_it_all_just_mean_zero_and_deviation_one import Force, Weighed
from bayes_vae.experiments.what_the_kl_compares import Company
from bayes_vae.experiments.why_similar_inputs_are_neighbours import Neighbours
from bayes_vae.terms.averages import Average
from bayes_vae.training import build_pair

EVIDENCE = {"grid": (-22.0, 0.0), "quadrature": (-22.0, 1e-5), "annealed": (-22.01, 0.01)}
MASS = {"prior": 1.0, "likelihood": 1e-9, "posterior": 1.0, "guide": 0.999}


def test_the_rule_holds_or_fails_by_its_deviation():
    text = which_term_is_which.answer(3e-7, 100, EVIDENCE, MASS)
    assert "log prior + log likelihood − log evidence = log posterior" in text
    assert "at 100 nodes is 3e-07 nats" in text
    assert "agree within their errors" in text
    assert text.endswith("mass of one: prior, posterior, guide; not so: likelihood.")
    other = which_term_is_which.answer(0.5, 100, {**EVIDENCE, "annealed": (-23.0, 0.01)}, {**MASS, "guide": 0.5})
    assert "log evidence ≠ log posterior" in other
    assert "The estimates of log p(x) differ: annealed." in other
    assert other.endswith("not so: likelihood, guide.")


@pytest.mark.usefixtures("clean_globals")
def test_the_terms_of_the_script_obey_the_rule():
    figures = which_term_is_which.main(epochs=1, num_particles=100, num_temperatures=5, num_points=101, device="cpu")
    joint = figures["log_prior"] + figures["log_likelihood"]
    assert figures["largest_deviation"] < 1e-3
    assert figures["log_posterior"] == pytest.approx(joint - figures["log_evidence_quadrature"], abs=1e-3)


def test_an_image_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="image must be one of the 300 test images, from 0 on, got 300"):
        which_term_is_which.main(image=300)


def test_the_integral_of_a_kl_is_its_closed_form():
    loc, scale = torch.tensor([[0.0, 1.5], [-2.0, 0.3]]).double(), torch.tensor([[1.0, 0.2], [0.5, 2.0]]).double()
    closed = kl_divergence(Normal(loc, scale), Normal(0.0, 1.0))
    torch.testing.assert_close(what_the_kl_compares.integrated_kl(loc, scale, 2001), closed, rtol=1e-6, atol=1e-9)


def test_the_mistake_is_of_the_batch():
    codes = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 3.0], [-1.0, 3.0]]).double()
    deviations = torch.tensor([4 / 3, 3.0]).double().sqrt()
    wanted = kl_divergence(Normal(torch.tensor([0.0, 1.5]).double(), deviations), Normal(0.0, 1.0))
    torch.testing.assert_close(what_the_kl_compares.along_the_batch(codes), wanted)


def test_what_the_kl_compares_follows_the_numbers():
    companies = [Company("alone", 1, 2.7, float("nan")), Company("zeros", 30, 2.7, 2.1), Company("all", 300, 2.7, 0.1)]
    text = what_the_kl_compares.answer(2.0, 1e-7, 1e-6, companies)
    assert "agree (by at most 2.0 standard errors" in text
    assert "changes nothing (at most 1e-06 nats): the KL is of one observation and the prior" in text
    assert "another number in every company, from 0.10 to 2.10 nats, where the image's own is 2.70" in text
    other = what_the_kl_compares.answer(9.0, 1e-7, 0.5, [*companies[:2], companies[1]])
    assert "integral differ" in other
    assert "changes the KL (at most 5e-01 nats): the KL is of an observation and its batch" in other
    assert "the same in every company" in other


def test_the_forces_cancel_on_the_best_normal(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.3), x[:1], num_points=161)
    exact = model.exact_posterior(x[:1])
    forces = two_forces.balance(rule, torch.zeros(2).double(), torch.ones(2).double())
    best = forces[-1]
    torch.testing.assert_close(best.loc, exact.loc[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(best.scale, exact.precision_matrix[0].diagonal().rsqrt(), rtol=1e-4, atol=0)
    assert best.sum_norm < 1e-4
    torch.testing.assert_close(best.kl, torch.cat([-best.loc, 1 - best.scale.square()]), rtol=1e-6, atol=1e-6)
    assert float(best.kl.norm()) > 0.5
    assert forces[0].sum_norm > 0.5
    at_prior = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    model.likelihood(at_prior).log_prob(x[0]).backward()  # log p(x|z) is quadratic: its mean slope is that at the mean
    torch.testing.assert_close(forces[0].likelihood[:2], at_prior.grad, rtol=1e-4, atol=1e-4)


def weighed(weight, kl, mixture, deviation, spread):
    parts = {"kl_to_prior": kl, "index_code_mutual_information": kl - mixture, "marginal_kl_to_prior": mixture}
    averages = {name: Average(name, value, 0.001, 0.01, 10, 100) for name, value in parts.items()}
    loc, scale = torch.full((4, 2), spread).double(), torch.full((4, 2), deviation).double()
    return Weighed(weight, loc, scale, SimpleNamespace(averages=lambda: averages))


def force(likelihood, kl):
    return Force("the best q", torch.zeros(2), torch.ones(2), torch.tensor(likelihood), torch.tensor(kl))


def test_whether_all_are_the_same_follows_the_numbers():
    rows = [weighed(0.0, 27, 20, 1e-5, 3.2), weighed(1.0, 1.9, 0.03, 0.4, 0.9), weighed(1000.0, 0.0, 0.0, 1.0, 0.0)]
    balanced = force([0.8, 0.0, -0.6, 0.0], [-0.8, 0.0, 0.6, 0.0])
    text = two_forces.answer(rows, [balanced])
    assert text.startswith(
        "No: with weight 1 a single q is 1.900 ± 0.010 nats from the prior, but the mixture only 0.030"
    )
    assert "with 1000 each q is the prior (0.000 nats)" in text
    assert "deviations shrink (1e-05, from 0.40) and means spread (3.2, from 0.9)" in text
    assert "of 1.00 each, cancel" in text
    rows = [weighed(0.0, 1, 1, 0.9, 0.5), weighed(1.0, 0.01, 0.01, 0.4, 0.9), weighed(1000.0, 2.0, 1.0, 0.5, 1.0)]
    other = two_forces.answer(rows, [force([0.5, 0.0, 0.0, 0.0], [-0.8, 0.0, 0.6, 0.0])])
    assert other.startswith(
        "Yes: with weight 1 a single q is 0.010 ± 0.010 nats from the prior; with 1000 each q is not the"
    )
    assert "deviations do not shrink" in other
    assert "means do not spread" in other
    assert "do not cancel" in other
    apart = two_forces.answer([rows[0], weighed(1.0, 2.0, 1.5, 0.4, 0.9), rows[2]], [balanced])
    assert "and the mixture 1.500" in apart


def test_overlap_is_the_integral_of_the_root():
    loc, scale = torch.tensor([[0.0], [1.0], [9.0]]).double(), torch.tensor([[1.0], [0.5], [0.5]]).double()
    z = torch.linspace(-20, 20, 20_001).double()[:, None]
    density = Normal(loc[:, 0], scale[:, 0]).log_prob(z).exp()
    wanted = torch.trapezoid((density[:, :, None] * density[:, None]).sqrt(), z[:, 0], dim=0)
    found = why_similar_inputs_are_neighbours.overlaps(loc, scale)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)
    two = why_similar_inputs_are_neighbours.overlaps(loc.expand(3, 2), scale.expand(3, 2))
    torch.testing.assert_close(two, found.square())


def test_a_swap_costs_what_the_other_code_draws_worse(small_vae):
    model, guide, x = small_vae
    z = guide.variational_posterior(x).mean.detach() + torch.tensor([-0.5, 0.5, 1.0]).double()[:, None, None]
    found = why_similar_inputs_are_neighbours.swap_costs(model, x, z).detach()
    for i in range(len(x)):
        for j in range(len(x)):
            own, other = (model.likelihood(z[:, n]).log_prob(x[i]).mean() for n in (i, j))
            assert float(found[i, j]) == pytest.approx(float((own - other).detach()), abs=1e-12)


def test_purity_counts_the_nearest_but_not_oneself(monkeypatch):
    monkeypatch.setattr(why_similar_inputs_are_neighbours, "NUM_NEIGHBOURS", 2)
    place = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.5]])
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    value, error = why_similar_inputs_are_neighbours.purity(torch.cdist(place, place), labels)
    shares = torch.tensor([0.5, 0.5, 0.0, 1.0, 1.0, 1.0])
    assert (value, error) == pytest.approx((float(shares.mean()), float(shares.std()) / 6**0.5))


def test_tenths_go_from_the_first_to_the_last():
    values = torch.arange(20.0).expand(3, 20) + torch.tensor([0.0, 1.0, 2.0])[:, None]
    means, errors = why_similar_inputs_are_neighbours.by_likeness(values)
    torch.testing.assert_close(means, torch.arange(10).double() * 2 + 1.5)
    torch.testing.assert_close(errors, torch.full((10,), 1 / 3**0.5).double())


def neighbours(name, purity, step, like, unlike, overlap=(0.4, 0.05)):
    swap, shared = (torch.tensor([ends, (0.1, 0.1)]).double() for ends in ((like, unlike), overlap))
    return Neighbours(name, torch.zeros(3, 2), (purity, 0.02), (step, 0.05), swap, shared)


def test_why_they_are_neighbours_follows_the_numbers():
    found = [neighbours("VAE", 0.6, 1.4, 4.0, 19.0), neighbours("autoencoder", 0.62, 2.4, 7.0, 29.0)]
    free = {"VAE": (0.5, 0.02), "autoencoder": (0.56, 0.02)}
    text = why_similar_inputs_are_neighbours.answer(found, True, 0.1, free)
    assert "Shuffled labels change no bit of the training" in text
    assert "more often than by chance (VAE 60.0 ± 2.0 %, chance 10.0 %), as well as in an autoencoder" in text
    assert "It takes no encoder: with a code of its own for each training image 50.0 ± 2.0 % and 56.0 ± 2.0 %" in text
    assert "changes more evenly" in text
    assert "overlap is cheaper between like images, and q overlap by 0.40 for those and 0.05 for these" in text
    found = [neighbours("VAE", 0.12, 2.4, 9.0, 9.1), neighbours("autoencoder", 0.62, 1.4, 7.0, 29.0)]
    other = why_similar_inputs_are_neighbours.answer(found, False, 0.1, free | {"VAE": (0.12, 0.02)})
    assert "Shuffled labels change the training" in other
    assert "no more than by chance" in other
    assert "worse than in an autoencoder" in other
    assert "It takes an encoder" in other
    assert "changes less evenly" in other
    assert "overlap is as cheap between unlike images" in other


def test_codes_without_an_encoder_start_anywhere_and_come_to_share_what_the_decoder_draws():
    """Two kinds of images in equal numbers: their codes are mixed at the start, and parted at the end."""
    model, _ = build_pair(why_similar_inputs_are_neighbours.NETWORKS, bv.load_data("digits", policy="static"), 0)
    x = torch.zeros(60, 8, 8)
    x[::2, :4] = 1.0
    start = why_similar_inputs_are_neighbours.without_encoder(model, x, True, 1.0, 0, 3)
    torch.testing.assert_close(start, torch.randn(60, 2, generator=torch.Generator().manual_seed(3)))
    kinds = (torch.arange(60) + 1) % 2
    before = why_similar_inputs_are_neighbours.purity(torch.cdist(start, start), kinds)[0]
    end = why_similar_inputs_are_neighbours.without_encoder(model, x, True, 1.0, 150, 3)
    after = why_similar_inputs_are_neighbours.purity(torch.cdist(end, end), kinds)[0]
    assert before < 0.6
    assert after > 0.9


@pytest.mark.usefixtures("clean_globals")
def test_labels_change_nothing_and_the_figure_is_written(tmp_path):
    figures = why_similar_inputs_are_neighbours.main(
        epochs=1, num_observations=30, num_particles=2, device="cpu", out=str(tmp_path / "here.png")
    )
    assert figures["labels_change_nothing"] == 1.0
    assert (tmp_path / "here.png").read_bytes().startswith(b"\x89PNG")


def test_the_parts_of_the_kl_and_their_pulls():
    """Against the KL of torch and the derivatives by hand, −m and 1/s − s; the KL alone leads to the prior."""
    m, s = (torch.tensor(value, dtype=torch.float64) for value in (1.5, 0.3))
    parts = the_kl_term_by_term.kl_parts(m, s)
    assert float(sum(parts.values())) == pytest.approx(1.125 + 0.045 - math.log(0.3) - 0.5)
    assert [float(part) for part in parts.values()] == pytest.approx([1.125, 0.045, -math.log(0.3), -0.5])
    assert the_kl_term_by_term.pulls_of(m, s) == pytest.approx((-1.5, 1 / 0.3 - 0.3))
    path = the_kl_term_by_term.descend_kl(torch.stack([m, s]))
    torch.testing.assert_close(path[-1], torch.tensor([0.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-3)


def test_the_sentence_on_the_parts_of_the_kl_follows_the_numbers():
    there, away = (torch.tensor(ends, dtype=torch.float64) for ends in ([0.0, 1.0], [0.5, 1.0]))
    fine = the_kl_term_by_term.answer(1e-16, 2.0, there)
    assert "The parts add up to the KL, and the means over draws agree" in fine
    assert fine.endswith("m = 0.000, s = 1.000: it is the prior.")
    wrong = the_kl_term_by_term.answer(0.1, 9.0, away)
    assert "do not add up to the KL, and the means over draws do not agree" in wrong
    assert wrong.endswith("it is not yet the prior.")


def test_what_the_codes_know_of_classes_follows_the_shares():
    named = {"chance": 0.13, "pixels": 0.66, "vae_means": 0.67, "classifier_alone": 0.82, "label_posterior": 0.83}
    found = where_are_the_classes.answer({**named, "style_means": 0.18}, 300)
    assert "know as much as the pixels about the class: 67 % against 66 %" in found
    assert "names it more often than they do, 83 %, no better than a classifier alone (82 %)" in found
    assert found.endswith("names it hardly more often than chance, 18 % (chance: 13 %).")
    other = {**named, "vae_means": 0.9, "label_posterior": 0.5, "style_means": 0.6}
    found = where_are_the_classes.answer(other, 300)
    assert "know more than the pixels" in found
    assert "names it less often than they do, 50 %, worse than a classifier alone" in found
    assert "well above chance, 60 %" in found
