"""A small run without training, told apart by a number that its weights, history and checkpoint repeat."""

from dataclasses import replace

import torch

from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.runs import Checkpoint, Run, RunDirectory

NETWORKS = {"latent_dim": 2, "data_shape": (3, 3), "hidden_dims": (5,), "activation": "elu"}


def small_run(number: int) -> Run:
    """The run of this number, after so many epochs."""
    pair = {"model": VAE(**NETWORKS), "guide": AmortizedNormalGuide(**NETWORKS)}
    weights = {
        f"{role}.{key}": torch.full_like(value, number)
        for role, module in pair.items()
        for key, value in module.state_dict().items()
    }
    history = [
        {"epoch": epoch, "train_elbo": -1.0, "validation_elbo": float(epoch), "seconds": 1.0}
        for epoch in range(1, number + 1)
    ]
    checkpoint = Checkpoint(
        epochs_done=number,
        steps_done=0,
        seconds=0.5,
        best_epoch=number,
        weights=weights,
        best_weights=weights,
        optimizer={f"{name}/step": torch.tensor(float(number)) for name in weights},
        random={"torch": torch.get_rng_state(), "batches": torch.get_rng_state()},
        epoch={"order": torch.empty(0, dtype=torch.int64), "sums": torch.zeros(3, dtype=torch.float64)},
        history=history,
    )
    return Run(
        **pair,
        settings={"training": {"epochs": 9, "seed": 0}},
        data={"name": "digits", "policy": "stochastic", "digest": "0" * 64, "data_shape": [3, 3]},
        history=history,
        best_state=weights,
        last_state=weights,
        best_epoch=number,
        parameter_names=tuple(weights),
        checkpoint=checkpoint,
    )


def interrupted_run(number: int) -> Run:
    """The same, before its end."""
    return replace(small_run(number), ending="interrupted")


def number_of(path) -> int:
    """Which run is there, whole; every one of its files must say the same."""
    directory = RunDirectory(path)
    weights = [tensor for which in ("best", "last") for tensor in directory.weights(which).values()]
    found = {int(value) for tensor in weights for value in tensor.unique()}
    found |= {directory.checkpoint().epochs_done, len(directory.history)}
    directory.pair()
    (number,) = found
    return number
