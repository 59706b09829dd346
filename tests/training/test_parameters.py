"""Training in a store of its own: what the caller holds stays as it was, and what was trained stays trained."""

import pyro
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal

from bayes_vae.models import LinearGaussianVAE
from bayes_vae.training.parameters import gather, own_store


def test_values_that_the_caller_holds_keep_their_link_to_the_store(clean_globals):
    held = pyro.param("held", torch.zeros(2))
    with own_store():
        pyro.param("held").unconstrained()
    assert held.unconstrained() is held


def test_what_is_trained_of_a_pyro_module_is_its_own(clean_globals):
    """Under a copy of the store's entry it would train the copy, and fall back at the next call of the program."""
    model, x = LinearGaussianVAE(2, (3,)), torch.zeros(5, 3)
    guide = AutoNormal(model)
    Trace_ELBO().loss(model, guide, x)
    assert "AutoNormal.locs.z" in pyro.get_param_store()
    with own_store(model, guide):
        trainable = gather(model, guide, (x,), torch.arange(5))
        with torch.no_grad():
            trainable.parameters["guide.locs.z_unconstrained"].fill_(3.0)
    Trace_ELBO().loss(model, guide, x)
    assert torch.equal(guide.locs.z, torch.full((5, 2), 3.0))
