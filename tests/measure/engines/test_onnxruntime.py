"""ONNX Runtime: 8-bit layers are computed with integers, to what PyTorch simulates; options and missing packages."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.engines.onnxruntime import OnnxRuntimeEngine
from effbench.measure.onnx_engine import exact_type

for package in ("onnxruntime", "onnx", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'effbench[onnx]'")

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def make_cnn():
    """Return a network whose every layer's output goes to another layer's grid, with a norm of both signs."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
        nn.Conv2d(8, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([1.0, -0.5] * 4))
        network[1].running_mean.normal_()
    return network


@pytest.fixture(scope="module")
def network(put_on_grids):
    return put_on_grids(make_cnn(), IMAGES)


@pytest.mark.extended
@pytest.mark.parametrize("weights", ["int8", "uint8"])
def test_8_bit_layers_give_what_pytorch_simulates(network, assert_a_step_away, weights, tmp_path):
    """Signed weights only without ORT's own kernels, which may cut products off here: see `cuts_products_off`."""
    exported = OnnxRuntimeEngine(weights=weights).export(network, IMAGES, tmp_path)
    assert exported.int8_weights == 8 * 3 * 9 + 8 * 9 + 16 * 8 + 64 * 5 and not exported.notes
    for optimization in ("none", "basic", "all"):
        if (weights, optimization) != ("int8", "all") or exact_type(OnnxRuntimeEngine) == "int8":
            prepared = OnnxRuntimeEngine(optimization=optimization).load(exported.path, IMAGES, threads=1)
            assert_a_step_away(prepared.outputs(IMAGES), network, IMAGES)


@pytest.mark.extended
def test_the_kernels_that_it_chooses_itself_are_exact(network, assert_a_step_away):
    prepared = OnnxRuntimeEngine().prepare(network, IMAGES, threads=2)
    assert_a_step_away(prepared.outputs(IMAGES), network, IMAGES)


@pytest.mark.extended
def test_products_of_the_largest_codes_are_exact_with_the_type_that_it_chooses(tmp_path, put_on_grids):
    network = nn.Sequential(nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[2].weight.fill_(1.0)
    images = torch.full((1, 16, 5, 5), 2.0)
    network = put_on_grids(network, images)
    outputs = OnnxRuntimeEngine().prepare(network, images, threads=1).outputs(images)
    with torch.no_grad():
        torch.testing.assert_close(outputs, network(images), rtol=0.02, atol=0)


@pytest.mark.extended
def test_layers_are_fused_to_kernels_of_integers(network, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    exported = OnnxRuntimeEngine(weights="uint8").export(network, IMAGES, tmp_path)
    onnxruntime.InferenceSession(exported.path.read_bytes(), options, providers=["CPUExecutionProvider"])
    import onnx

    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2  # the sums of the third go to the pool, as floats
    assert kinds.count("BatchNormalization") == 0


@pytest.mark.extended
def test_a_file_of_codes_is_smaller_than_one_of_floats(put_on_grids):
    def make():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    values = torch.randn(4, 64)
    floats, codes = (
        OnnxRuntimeEngine().prepare(network, values, threads=1) for network in (make(), put_on_grids(make(), values))
    )
    assert floats.int8_weights == 0 and codes.int8_weights == 2 * 64 * 64
    assert codes.n_bytes < 0.4 * floats.n_bytes and codes.download_bytes < 0.4 * floats.download_bytes


@pytest.mark.extended
def test_outputs_are_not_overwritten_by_the_next_ones(network):
    prepared = OnnxRuntimeEngine(optimization="none").prepare(network, IMAGES, threads=1)
    first = prepared.outputs(IMAGES)
    kept = first.clone()
    prepared.outputs(torch.zeros_like(IMAGES))
    assert torch.equal(first, kept)


@pytest.mark.parametrize(("option", "value"), [("optimization", "most"), ("weights", "int4"), ("weights", None)])
def test_refuses_what_is_no_option(option, value):
    with pytest.raises(ValueError, match=option):
        OnnxRuntimeEngine(**{option: value})


@pytest.mark.parametrize("package", ["onnxruntime", "onnx", "onnxscript"])
def test_without_a_package_it_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"^engine=onnxruntime.*{package}"):
        OnnxRuntimeEngine()


def test_the_quality_of_runs_is_not_its_own():
    assert not evaluates_as_runs_do(OnnxRuntimeEngine())


@pytest.mark.extended
def test_the_number_of_threads_is_its_own(tmp_path, monkeypatch):
    import onnxruntime

    seen = []
    session = onnxruntime.InferenceSession

    def note(blob, options, **others):
        seen.append((options.intra_op_num_threads, options.inter_op_num_threads))
        return session(blob, options, **others)

    exported = OnnxRuntimeEngine(weights="int8").export(nn.Linear(3, 2), torch.ones(1, 3), tmp_path)
    monkeypatch.setattr(onnxruntime, "InferenceSession", note)
    prepared = OnnxRuntimeEngine().load(exported.path, torch.ones(1, 3), threads=2)
    assert seen == [(2, 1)]
    assert np.asarray(prepared()[0]).shape == (1, 2)
