"""Names in Pyro's store: one for each instance, so that a second pair in a process trains like the first."""

import copy

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule
from pyro.optim import Adam

from bayes_vae import Elbo
from bayes_vae.errors import ProgramError
from bayes_vae.terms.registration import register_parameters


def stored():
    return dict(pyro.get_param_store().named_parameters())


def train(model, guide, x, loss=None, steps=3):
    svi = SVI(model, guide, Adam({"lr": 0.05}), loss=loss or Elbo())
    for _ in range(steps):
        svi.step(x)


def trained(pair, x, parameters_of, **settings):
    """Whether each parameter of a pair moves in training."""
    before = [parameter.detach().clone() for parameter in parameters_of(*pair)]
    train(*pair, x, **settings)
    return [not torch.equal(old, new) for old, new in zip(before, parameters_of(*pair), strict=True)]


def test_each_instance_has_names_of_its_own(make_ours):
    (first, _), (second, _) = make_ours(), make_ours()
    copied = copy.deepcopy(first)
    for module in (first, second, copied, first):
        register_parameters(module)
    store = stored()
    assert len(store) == 3 * len(list(first.parameters()))
    assert all(name.startswith("bayes_vae.VAE.") for name in store)
    parameters = [parameter for module in (first, second, copied) for parameter in module.parameters()]
    assert {id(value) for value in store.values()} == {id(parameter) for parameter in parameters}


def test_a_name_is_never_given_twice(make_ours):
    for _ in range(3):
        register_parameters(make_ours()[0])
    assert len({name.split(".")[2] for name in stored()}) == 3


def test_a_parameter_that_was_put_in_anothers_place_takes_its_entry(make_ours):
    model, _ = make_ours()
    register_parameters(model)
    model.decoder[0].bias = torch.nn.Parameter(torch.ones_like(model.decoder[0].bias))
    register_parameters(model)
    assert {id(value) for value in stored().values()} == {id(parameter) for parameter in model.parameters()}


class Methods(PyroModule):
    """A PyroModule whose programs are plain methods: it does not declare its parameters when they run."""

    def __init__(self, pair):
        super().__init__()
        self.inner_model, self.inner_guide = pair

    def model(self, x):
        return self.inner_model(x)

    def guide(self, x):
        return self.inner_guide(x)


def test_methods_of_a_pyro_module_train(make_ours, x, parameters_of):
    pair = Methods(make_ours())
    assert all(trained((pair.model, pair.guide), x, parameters_of))


def test_a_second_guide_of_pyros_does_not_take_over_the_first_ones_parameters(make_ours, x, parameters_of):
    def automatic():
        model, _ = make_ours()
        guide = AutoNormal(model)
        guide(x)
        pyro.clear_param_store()
        return model, guide

    first, second = automatic(), automatic()
    assert all(trained(first, x, parameters_of))
    with pytest.raises(ProgramError, match=r"another tensor under the name 'AutoNormal\.locs\.z'.*bayes_vae\.fit"):
        train(*second, x)
    shared = {id(parameter) for parameter in first[1].parameters()} & {id(p) for p in second[1].parameters()}
    assert not shared
    pyro.clear_param_store()
    assert all(trained(second, x, parameters_of))


def test_two_pairs_in_turn_both_train(make_pair, x, parameters_of):
    for _ in range(2):
        assert all(trained(make_pair(), x, parameters_of))


def test_two_pairs_in_turn_under_stock_pyro_train_only_the_first(make_foreign, x, parameters_of):
    """The negative control of the test above."""
    assert all(trained(make_foreign(), x, parameters_of, loss=Trace_ELBO()))
    assert not any(trained(make_foreign(), x, parameters_of, loss=Trace_ELBO()))


def test_functions_that_would_train_an_earlier_pairs_weights_are_refused(make_foreign, x):
    def functions():
        model, guide = make_foreign()
        return (lambda x: model(x)), (lambda x: guide(x))

    train(*functions(), x)
    with pytest.raises(
        ProgramError, match=r"another tensor under the name 'encoder\$\$\$weight'.*clear_param_store\(\)"
    ):
        train(*functions(), x)
    pyro.clear_param_store()
    train(*functions(), x)


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceMeanField_ELBO])
def test_pyros_own_losses_train_what_is_registered(loss, make_ours, x, parameters_of):
    for _ in range(2):
        pair = make_ours()
        assert not any(trained(pair, x, parameters_of, loss=loss()))  # and nothing else; Pyro says nothing
        for _ in range(2):
            for program in pair:
                program.register()
        copied = copy.deepcopy(pair)
        assert all(trained(pair, x, parameters_of, loss=loss()))
        assert all(trained(copied, x, parameters_of, loss=loss()))


@pytest.mark.parametrize("registered_before", [False, True])
@pytest.mark.parametrize("loss", [Elbo, Trace_ELBO])
def test_frozen_parameters_stay_frozen(loss, registered_before, make_ours, x, parameters_of):
    model, guide = make_ours()
    if registered_before:
        model.register()
    model.decoder[0].requires_grad_(False)
    frozen = [not parameter.requires_grad for parameter in parameters_of(model, guide)]
    model.register(), guide.register()
    moved = trained((model, guide), x, parameters_of, loss=loss())
    assert moved == [not still for still in frozen]
    assert frozen == [not parameter.requires_grad for parameter in parameters_of(model, guide)]


def test_pyros_own_loss_trains_on_after_the_store_was_cleared(make_ours, x, parameters_of):
    """Registered once, a pair of ours declares its parameters whenever it runs."""
    pair = make_ours()
    for program in pair:
        program.register()
    svi = SVI(*pair, Adam({"lr": 0.05}), loss=Trace_ELBO())
    for _ in range(2):
        pyro.clear_param_store()
        before = [parameter.detach().clone() for parameter in parameters_of(*pair)]
        svi.step(x)
        assert not any(map(torch.equal, before, parameters_of(*pair)))


def test_training_goes_on_after_the_store_was_cleared(make_pair, x, parameters_of):
    pair = make_pair()
    svi = SVI(*pair, Adam({"lr": 0.05}), loss=Elbo())
    for _ in range(3):
        before = [parameter.detach().clone() for parameter in parameters_of(*pair)]
        svi.step(x)
        pyro.clear_param_store()
        assert not any(map(torch.equal, before, parameters_of(*pair)))
