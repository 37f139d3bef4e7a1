"""The names of devices, and waiting for them."""

import pytest
import torch

from effbench.measure.devices import check_device, wait_for


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:11", "mps"])
def test_devices_there_may_be(name):
    check_device(name)


@pytest.mark.parametrize("name", ["", "tpu", "cpu:0", "cuda:", "cuda:x", "cuda:1x", "mps:0", " cpu", "CPU"])
def test_what_is_none_is_refused_by_its_name(name):
    with pytest.raises(ValueError, match=rf"^device={name}: must be cpu, cuda, cuda:N or mps$"):
        check_device(name)


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", []), ("cuda", ["cuda"]), ("cuda:1", ["cuda:1"]), ("mps", ["mps"])],
)
def test_each_device_is_waited_for_in_its_own_way(device, expected, monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    wait_for(device)
    assert waited == expected
