"""The device that a name stands for, and what is said of one that cannot be used."""

import pytest
import torch

from bayes_vae.errors import SettingsError
from bayes_vae.training import machine
from bayes_vae.training.machine import resolve_device


@pytest.mark.parametrize(("cuda", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_cuda_where_there_is_one(monkeypatch, cuda, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    assert resolve_device("auto") == torch.device(expected)
    assert resolve_device("cpu") == torch.device("cpu")


def test_a_device_that_torch_does_not_count_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(SettingsError, match="device 'cuda:2' is not here: torch sees 2 CUDA devices. Use device auto"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["abacus", "meta", "cuda:one", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(SettingsError, match=f"unknown device '{name}': use cpu, cuda, cuda:1 and so on, mps, or auto."):
        resolve_device(name)


def test_an_apple_gpu_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        SettingsError, match="device 'mps' is not here: torch sees no Apple GPU. Use device auto or cpu."
    ):
        resolve_device("mps")


@pytest.mark.parametrize("error", [TypeError("Cannot convert a MPS Tensor to float64 dtype"), RuntimeError(), None])
def test_an_apple_gpu_is_taken_where_it_holds_float64(monkeypatch, error):
    asked = []

    def ones(*_, dtype, device):
        asked.append((dtype, device))
        if error is not None:
            raise error

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(machine.torch, "ones", ones)
    if error is None:
        assert resolve_device("mps") == torch.device("mps")
    else:
        with pytest.raises(SettingsError, match="device 'mps' cannot be used: log densities are summed in float64"):
            resolve_device("mps")
    assert asked == [(torch.float64, torch.device("mps"))]
