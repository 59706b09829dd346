"""Pairs with each prior, in float64."""

import pytest
import torch

from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE

OPTIONS = {
    "standard-normal": {},
    "learned-normal": {},
    "mixture": {"num_components": 4},
    "vamp": {"num_components": 4},
    "flow": {"num_transforms": 2},
}

SPREAD = {"learned-normal": 0.4, "mixture": 0.4, "vamp": 2.0, "flow": 0.1}


@pytest.fixture(scope="session")
def pair_with_prior(isolated_globals):
    """``pair_with_prior(name, latent_dim=2, data_shape=(2, 3))``: a pair, its prior's parameters off their start."""

    def build(name, latent_dim=2, data_shape=(2, 3)):
        networks = {"latent_dim": latent_dim, "data_shape": data_shape, "hidden_dims": (6,)}
        with isolated_globals(seed=4):
            model = VAE(**networks, prior={"name": name, **OPTIONS[name]}).double()
            guide = AmortizedNormalGuide(**networks).double()
            with torch.no_grad():
                for parameter in model.prior_family.parameters():
                    parameter.add_(SPREAD[name] * torch.randn_like(parameter))
        model.attach_guide(guide)
        return model, guide

    return build
