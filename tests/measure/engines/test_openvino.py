"""OpenVINO: 8-bit layers give what PyTorch simulates; what is computed otherwise than asked is told."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.engines import openvino as module
from effbench.measure.engines.openvino import OpenVinoEngine

for package in ("openvino", "onnx", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'effbench[openvino]'")

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def network(put_on_grids):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([1.0, -0.5] * 4))
    return put_on_grids(network, IMAGES)


@pytest.fixture(scope="module")
def prepared(network):
    return OpenVinoEngine().prepare(network, IMAGES, threads=1)


def test_8_bit_layers_give_what_pytorch_simulates(prepared, network, assert_a_step_away):
    assert prepared.int8_weights == 8 * 3 * 9 + 8 * 9 + 32 * 5 and not prepared.notes
    assert_a_step_away(prepared.outputs(IMAGES), network, IMAGES)
    assert_a_step_away(prepared.run()[0], network, IMAGES)


def test_outputs_are_not_overwritten_by_the_next_ones(prepared):
    first = prepared.outputs(IMAGES)
    kept = first.clone()
    prepared.outputs(torch.zeros_like(IMAGES))
    prepared()
    assert torch.equal(first, kept)


class Compiled:
    """What OpenVINO returns, for a processor that computes in something of its own choice."""

    def __init__(self, used):
        self.used = used

    def get_property(self, name):
        assert name == "INFERENCE_PRECISION_HINT"
        return self

    def to_string(self):
        return self.used

    def create_infer_request(self):
        return None


@pytest.mark.parametrize(
    ("precision", "used", "notes"),
    [
        ("float32", "f32", ()),
        ("bfloat16", "bf16", ()),
        ("bfloat16", "f32", ("computed in f32, not in bf16, on this processor",)),
        ("float16", "f32", ("computed in f32, not in f16, on this processor",)),
    ],
)
def test_another_precision_than_was_asked_for_is_told(monkeypatch, tmp_path, precision, used, notes):
    asked = []

    def compile_model(blob, *, threads, precision):
        asked.append((blob, threads, precision))
        return Compiled(used)

    monkeypatch.setattr(module, "_compiled", compile_model)
    (tmp_path / "network.onnx").write_bytes(b"file")
    prepared = OpenVinoEngine(precision=precision).load(tmp_path / "network.onnx", IMAGES, threads=3)
    assert tuple(prepared.notes) == notes
    assert asked == [(b"file", 3, {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[precision])]


@pytest.mark.parametrize(("option", "value"), [("precision", "f32"), ("precision", "int8"), ("weights", "int4")])
def test_refuses_what_is_no_option(option, value):
    with pytest.raises(ValueError, match=option):
        OpenVinoEngine(**{option: value})


@pytest.mark.parametrize("package", ["openvino", "onnx", "onnxscript"])
def test_without_a_package_it_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"^engine=openvino.*{package}"):
        OpenVinoEngine()


def test_the_quality_of_runs_is_not_its_own():
    assert not evaluates_as_runs_do(OpenVinoEngine())


@pytest.mark.extended
def test_signals_are_handled_when_some_networks_are_gone_and_others_not():
    code = (
        "import faulthandler, os, signal, torch\n"
        "from effbench.measure.engines.openvino import OpenVinoEngine\n"
        "faulthandler.enable()\n"  # has a stack of its own for handlers
        "handled = []\n"
        "signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))\n"
        "def one():\n"
        "    return OpenVinoEngine().prepare(torch.nn.Linear(4, 4), torch.zeros(1, 4), threads=1)\n"
        "first, second = one(), one()\n"
        "for gone in ('first', 'second'):\n"
        "    del globals()[gone]\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "assert len(handled) == 2\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.extended
def test_nobody_is_told_of_its_use(tmp_path):
    code = (
        "import multiprocessing, os, sys, time\n"
        "os.register_at_fork(before=lambda: sys.exit('forked'))\n"
        "from effbench.measure.engines.openvino import OpenVinoEngine\n"
        "OpenVinoEngine()\n"
        "import openvino.tools.ovc.convert_impl\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "time.sleep(0.2)  # a thread would send\n"
        "assert not multiprocessing.active_children()\n"
    )
    told = {name: value for name, value in os.environ.items() if name != "CI"}  # in which it keeps silent by itself
    done = subprocess.run(
        [sys.executable, "-c", code], env=told | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
