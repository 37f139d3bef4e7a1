"""Where training runs: the names of devices, and those that are not there."""

import pytest
import torch

from effbench.training.device import processor_name, resolve_device


def test_resolves_devices_and_names_those_that_are_not_there():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "meta", "xpu"):
        with pytest.raises(ValueError, match=f"device={name}: must be auto, cpu, cuda, cuda:N or mps"):
            resolve_device(name)
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=rf"device={absent}: this machine has \d+ CUDA devices; device=auto"):
        resolve_device(absent)


def test_auto_takes_the_fastest_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device=cuda:2: this machine has 2 CUDA devices"):
        resolve_device("cuda:2")


def test_apples_device_is_refused_elsewhere(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device=mps: not available on this machine; use device=auto$"):
        resolve_device("mps")


def test_the_processor_has_a_name():
    assert processor_name() and processor_name() == processor_name().strip()
