"""Lucas et al. (2019): with the exact guide the ELBO is log p(x), and its maximum is probabilistic PCA's."""

import math

import pytest
import torch

from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.objectives import Elbo


def test_training_reaches_the_closed_form_maximum(isolated_globals):
    size, latent_dim, count = 6, 2, 400
    with isolated_globals(seed=0):
        truth = LinearGaussianVAE(latent_dim, (size,), noise_scale=0.6).double()
        x = truth.sample(count, seed=1)
        model = LinearGaussianVAE(latent_dim, (size,)).double()
        objective = Elbo(kl="sampled")(model, ExactLinearGaussianGuide(model))
        optimizer = torch.optim.LBFGS(objective.parameters(), max_iter=300, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = objective(x) / count
            loss.backward()
            return loss

        optimizer.step(closure)
        reached = -closure().item()
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    noise = values[latent_dim:].mean()
    log_det = values[:latent_dim].log().sum() + (size - latent_dim) * noise.log()
    maximum = -0.5 * (size * math.log(2 * math.pi) + log_det + size)
    assert reached == pytest.approx(maximum.item(), abs=1e-5)
    assert (2 * model.log_scale).exp().item() == pytest.approx(noise.item(), rel=1e-3)
