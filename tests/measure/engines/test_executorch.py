"""ExecuTorch: what XNNPACK does not take is named; programs are there side by side, with threads of their own pool."""

import sys

import pytest
import torch
from torch import nn

from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.engines.executorch import ExecuTorchEngine

pytestmark = pytest.mark.waiting

pytest.importorskip("executorch", reason="executorch is not installed: pip install 'effbench[executorch]'")

VALUES = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5)).eval()


@pytest.fixture(scope="module")
def network():
    return make_network()


@pytest.fixture(scope="module")
def prepared(network):
    return ExecuTorchEngine().prepare(network, VALUES, threads=1)


def test_outputs_are_the_networks(prepared, network):
    expected = network(VALUES).detach()
    torch.testing.assert_close(prepared.outputs(VALUES), expected)
    torch.testing.assert_close(prepared.outputs(VALUES.T.contiguous().T), expected)
    assert prepared.int8_weights == 0 and not prepared.notes


def test_outputs_are_not_overwritten_by_the_next_ones(prepared):
    first = prepared.outputs(VALUES)
    kept = first.clone()
    prepared.outputs(torch.zeros_like(VALUES))
    prepared()
    assert torch.equal(first, kept)


class Residual(nn.Module):
    """Has layers of all forms that XNNPACK has kernels for, and one without: a grouped one that no grid follows."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32)
        self.wide, self.deep = nn.Conv2d(32, 64, 1), nn.Conv2d(64, 64, 3, groups=64, padding=1)
        self.narrow, self.grouped = nn.Conv2d(64, 32, 1), nn.Conv2d(32, 32, 3, groups=32)
        self.head = nn.Linear(32, 5)
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.0, -0.5] * 16))

    def forward(self, images):
        first = nn.functional.max_pool2d(self.norm(self.stem(images)), 2).relu()
        inner = nn.functional.relu6(self.wide(first))
        summed = first + self.narrow(nn.functional.relu6(self.deep(inner)))
        return self.head(nn.functional.adaptive_avg_pool2d(self.grouped(summed), 1).flatten(1))


IMAGES = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.extended
@pytest.mark.parametrize("input_bits", [8, 6])
def test_a_network_on_grids_gives_what_pytorch_simulates_and_is_small(input_bits, put_on_grids, assert_a_step_away):
    torch.manual_seed(0)
    network = put_on_grids(Residual(), IMAGES, input_bits=input_bits)
    prepared = ExecuTorchEngine().prepare(network, IMAGES, threads=1)
    assert_a_step_away(prepared.outputs(IMAGES), network, IMAGES)
    n_codes = sum(getattr(network, name).weight.numel() for name in ("wide", "deep", "narrow", "head", "stem"))
    assert prepared.int8_weights == n_codes
    assert len(prepared.notes) == 2
    assert "floats" in prepared.notes[1] and prepared.notes[1].endswith(": grouped")


@pytest.mark.extended
def test_codes_take_a_quarter_of_floats(put_on_grids):
    torch.manual_seed(0)
    make = lambda: nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256))  # noqa: E731
    values = torch.randn(4, 256)
    n_floats, n_codes = (
        ExecuTorchEngine().prepare(network, values, threads=1).n_bytes
        for network in (make(), put_on_grids(make(), values))
    )
    assert 3 < n_floats / n_codes < 4


class Summing(nn.Module):
    def forward(self, values):
        return values.relu().cumsum(1)


@pytest.mark.extended
def test_what_xnnpack_does_not_take_is_named():
    prepared = ExecuTorchEngine().prepare(Summing(), VALUES, threads=1)
    (note,) = prepared.notes
    assert note.startswith("not computed by XNNPACK: ") and "cumsum" in note and "relu" not in note
    torch.testing.assert_close(prepared.outputs(VALUES), VALUES.relu().cumsum(1))


class Sorting(nn.Module):
    def forward(self, values):
        return values.sort(1).values


@pytest.mark.extended
def test_what_it_has_no_kernel_for_is_an_error_in_a_line():
    with pytest.raises(ValueError, match=r"^ExecuTorch lacks kernels for some of its operations: [^\n]+$"):
        ExecuTorchEngine().prepare(Sorting(), VALUES, threads=1)


class Branching(nn.Module):
    def forward(self, values):
        return values if values.sum() > 0 else -values


def test_what_can_not_be_exported_is_an_error_in_a_line():
    with pytest.raises(ValueError, match=r"^it can't be written for ExecuTorch: [^\n]+$"):
        ExecuTorchEngine().prepare(Branching(), VALUES, threads=1)


@pytest.mark.extended
def test_the_pool_has_as_many_threads_as_are_asked_for(monkeypatch, network, tmp_path):
    from executorch.extension.pybindings import portable_lib

    exported = ExecuTorchEngine().export(network, VALUES, tmp_path)
    asked, reset = [], portable_lib._unsafe_reset_threadpool
    monkeypatch.setattr(portable_lib, "_unsafe_reset_threadpool", lambda n: (asked.append(n), reset(n)))
    prepared = ExecuTorchEngine().load(exported.path, VALUES, threads=2)
    exported.path.unlink()
    assert asked == [2]
    torch.testing.assert_close(prepared.outputs(VALUES), network(VALUES).detach())


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "executorch", None)
    with pytest.raises(ValueError, match=r"^engine=executorch.*executorch"):
        ExecuTorchEngine()


def test_the_quality_of_runs_is_not_its_own():
    assert not evaluates_as_runs_do(ExecuTorchEngine())
