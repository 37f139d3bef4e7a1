import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import decode, decode_on_grids, encode, encode_each
from effbench.codec.container import CODER_NUMBERS
from effbench.codec.streams import Coder
from effbench.compression.constraints.codebook import Codebook, share_tensor
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import bake, constrained_value, constraints_on, native_form, register
from effbench.compression.layers import weight_layers

SEEDED = settings(deadline=None, derandomize=True, max_examples=60)
CODERS = ["none", "huffman", "ans", "context"]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
COMPLEX = [torch.complex64, torch.complex128]

coders = st.sampled_from(CODERS)
shapes = st.lists(st.integers(0, 7), max_size=5).map(tuple)
seeds = st.integers(0, 2**32 - 1)


class Holder(nn.Module):
    """Holds tensors of any type."""

    def __init__(self, *tensors):
        super().__init__()
        for number, tensor in enumerate(tensors):
            self.register_buffer(f"tensor{number}", tensor)


def raw_bytes(tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def random_bits(dtype, shape, seed, density=1.0):
    """Return a tensor of random bit patterns: every kind of NaN, infinities, denormals, -0.0."""
    rng = np.random.default_rng(seed)
    n_entries = int(np.prod(shape, dtype=int))
    content = rng.integers(0, 256, (n_entries, dtype.itemsize), dtype=np.uint8)
    if dtype == torch.bool:
        content &= 1
    content[rng.random(n_entries) >= density] = 0
    flat = torch.from_numpy(content).reshape(-1).view(dtype) if n_entries else torch.empty(0, dtype=dtype)
    return flat.reshape(shape)


def assert_comes_back(model, *templates, coder="huffman"):
    """Check decode(encode(model)) against bake(model), bit by bit, with each template; return the bytes."""
    blob = encode(model, coder=coder)
    decoded = [decode(blob, template) for template in (model, *templates)]
    baked = bake(model)
    for network in decoded:
        assert not any(parametrize.is_parametrized(module) for module in network.modules())
        assert [type(module) for module in network.modules()] == [type(module) for module in baked.modules()]
        state, expected = network.state_dict(), baked.state_dict()
        assert set(state) == set(expected)
        for name, tensor in state.items():
            assert (tensor.dtype, tensor.shape, tensor.device.type) == (
                expected[name].dtype,
                expected[name].shape,
                "cpu",
            )
            assert raw_bytes(tensor) == raw_bytes(expected[name]), name
    return blob


def small_network(width=6):
    return nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 8, 3, groups=2, bias=False),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def constrain(model, *, density=1.0, bits=None, scheme="symmetric", granularity="channel"):
    for _, layer in weight_layers(model):
        if density < 1:
            mask = torch.rand(layer.weight.shape) < density
            parametrize.register_parametrization(layer, "weight", Mask(mask))
        if bits is not None:
            quantizer = UniformQuantizer(bits, scheme=scheme, granularity=granularity)
            parametrize.register_parametrization(layer, "weight", quantizer)
    return model


@SEEDED
@given(
    st.sampled_from([torch.bool, *FLOATS, *INTEGERS, *COMPLEX]),
    shapes,
    st.sampled_from([0, 0.1, 0.6, 1]),
    seeds,
    coders,
)
def test_every_bit_of_every_type_comes_back(dtype, shape, density, seed, coder):
    tensor = random_bits(dtype, shape, seed, density)
    assert_comes_back(Holder(tensor), Holder(torch.zeros_like(tensor)), coder=coder)


@pytest.mark.matrix(fast=6)
@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("dtype", FLOATS[:4])
def test_special_values_come_back(dtype, coder):
    special = torch.tensor(
        [0.0, -0.0, float("inf"), -float("inf"), float("nan"), -float("nan"), 1.0, -1.5], dtype=dtype
    )
    many = special.repeat(500)
    assert_comes_back(
        Holder(special, many, special[0], special[:0], many.reshape(2, 4, -1).permute(2, 0, 1)), coder=coder
    )


def test_extreme_integers_come_back():
    limits = torch.iinfo(torch.int64)
    assert_comes_back(
        Holder(torch.tensor([limits.min, 0, limits.max, -1, 1]), torch.tensor(limits.min), torch.tensor(469))
    )


@pytest.mark.extended
@SEEDED
@given(
    st.integers(1, 16),
    st.sampled_from(["symmetric", "affine"]),
    st.sampled_from(["tensor", "channel"]),
    st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    seeds,
    coders,
)
def test_quantised_networks_come_back(bits, scheme, granularity, density, seed, coder):
    torch.manual_seed(seed)
    model = constrain(small_network(), density=density, bits=bits, scheme=scheme, granularity=granularity)
    assert_comes_back(model, small_network(), coder=coder)


def share(model, n_values, density):
    for _, layer in weight_layers(model):
        codes = torch.randint(1, n_values + 1, layer.weight.shape)
        codes[torch.rand(layer.weight.shape) >= density] = 0
        share_tensor(layer, "weight", Codebook(codes, n_values))
    return model


@pytest.mark.extended
@SEEDED
@given(
    st.sampled_from([1, 2, 3, 7, 16, 100, 256, 300, 2**15]),
    st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.booleans(),
    seeds,
    coders,
)
def test_shared_networks_come_back(n_values, density, dtype, is_masked, seed, coder):
    torch.manual_seed(seed)
    model = share(small_network(), n_values, density).to(dtype)
    if is_masked:
        constrain(model, density=0.5)
    assert_comes_back(model, small_network().to(dtype), coder=coder)


def test_shared_values_come_back_bit_by_bit():
    special = torch.tensor([0.0, -0.0, float("inf"), float("nan"), -float("nan"), 1e-45, 1.0])
    model = share(nn.Sequential(nn.Linear(60, 50)), 7, 0.9)
    model[0].parametrizations["weight"].original.data = special
    blob = assert_comes_back(model, nn.Sequential(nn.Linear(60, 50)))
    assert len(blob) < 60 * 50 * 4 / 8 + 4 * 50 + 100


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_quantised_weights_of_other_types_come_back(dtype):
    torch.manual_seed(0)
    blob = assert_comes_back(constrain(small_network(), bits=4, density=0.5).to(dtype), small_network().to(dtype))
    assert len(blob) < 1200


def test_a_trained_batch_norm_comes_back():
    torch.manual_seed(0)
    model = small_network()
    for _ in range(3):
        model[:4](torch.randn(2, 3, 8, 8))
    assert_comes_back(model, small_network())
    assert decode(encode(model), small_network())[1].num_batches_tracked == 3


def test_a_quantiser_that_is_not_last_is_stored_as_what_comes_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 10))
    parametrize.register_parametrization(model[0], "weight", UniformQuantizer(4))
    parametrize.register_parametrization(model[0], "weight", Mask(torch.rand(10, 20) < 0.5))
    assert_comes_back(model, nn.Sequential(nn.Linear(20, 10)))


def test_a_module_that_is_itself_constrained_comes_back():
    layer = nn.Linear(6, 4)
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(3))
    assert_comes_back(layer, nn.Linear(6, 4))


def test_neither_model_nor_template_changes():
    torch.manual_seed(0)
    model, template = constrain(small_network(), bits=4), constrain(small_network(), density=0.5)
    before = [{name: raw_bytes(tensor) for name, tensor in m.state_dict().items()} for m in (model, template)]
    decoded = decode(encode(model), template)
    after = [{name: raw_bytes(tensor) for name, tensor in m.state_dict().items()} for m in (model, template)]
    assert before == after
    for constrained in (model, template):
        assert parametrize.is_parametrized(constrained[0], "weight")
        assert constrained[0].weight.shape == (6, 3, 3, 3)
    theirs = {tensor.data_ptr() for tensor in template.state_dict().values()}
    assert theirs.isdisjoint(tensor.data_ptr() for tensor in decoded.state_dict().values())
    assert all(parameter.requires_grad for parameter in decoded.parameters())


def test_the_mode_and_the_frozen_parameters_are_the_templates():
    template = small_network().eval()
    template[0].weight.requires_grad_(False)
    decoded = decode(encode(small_network()), template)
    assert not decoded.training
    assert not decoded[0].weight.requires_grad
    assert decoded[3].weight.requires_grad


def test_the_numbers_of_coders_stand_in_files():
    assert CODER_NUMBERS == {"none": 0, "huffman": 1, "ans": 2, "context": 3}
    assert list(CODER_NUMBERS) == list(get_args(Coder)), "each coder has a number"
    assert [encode(nn.Linear(2, 2), coder=coder)[4] for coder in CODER_NUMBERS] == [0, 1, 2, 3]


def test_files_of_several_coders_are_those_of_each():
    torch.manual_seed(0)
    model = constrain(small_network(), density=0.5)
    assert [file.blob for file in encode_each(model, coders=CODERS)] == [encode(model, coder=coder) for coder in CODERS]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(30, 30, bias=False)
        self.second = nn.Linear(30, 30, bias=False)
        self.second.weight = self.first.weight


def test_the_number_of_threads_changes_no_byte(monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Linear(20, 20) for _ in range(6)))
    monkeypatch.setattr("effbench.codec.container._WORTH_THREADS", 1)
    files = []
    for n_threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n_threads=n_threads: n_threads)
        files.append([file.blob for file in encode_each(network, coders=CODERS)])
    assert files[0] == files[1]


def test_shared_weights_are_stored_once_and_stay_shared():
    tied = Tied()
    blob = assert_comes_back(tied)
    assert len(blob) < 30 * 30 * 4 + 40
    decoded = decode(blob, tied)
    assert decoded.first.weight is decoded.second.weight


def test_weights_that_are_shared_in_the_template_only_are_refused():
    untied = Tied()
    untied.second = nn.Linear(30, 30, bias=False)
    with pytest.raises(ValueError, match="shares memory"):
        decode(encode(untied), Tied())


def test_another_network_is_refused():
    blob = encode(small_network())
    renamed = nn.ModuleDict({"layer": nn.Linear(4, 2)})
    for other in (small_network(width=8), nn.Linear(4, 2), small_network().double()):
        with pytest.raises(ValueError, match="another network"):
            decode(blob, other)
    with pytest.raises(ValueError, match="another network"):
        decode(encode(nn.Linear(4, 2)), renamed)


def test_what_the_file_cannot_hold_is_refused():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(ValueError, match="dict, not a tensor"):
        encode(Extra(2, 2))
    with pytest.raises(ValueError, match="meta"):
        encode(nn.Linear(2, 2, device="meta"))
    with pytest.raises(ValueError, match="sparse"):
        encode(Holder(torch.eye(3).to_sparse()))
    with pytest.raises(ValueError, match="expanded"):
        encode(Holder(torch.zeros(1).expand(5)))
    with pytest.raises(ValueError, match="coder must be"):
        encode(nn.Linear(2, 2), coder="zip")


def test_a_network_without_state_comes_back():
    assert len(assert_comes_back(nn.ReLU())) == 14


@pytest.mark.extended
def test_importing_the_codec_imports_neither_numba_nor_constriction():
    code = "import sys, effbench.codec; sys.exit('numba' in sys.modules or 'constriction' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PROGRAM = """
import hashlib, torch
from torch import nn
from torch.nn.utils import parametrize
from effbench.codec import encode
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
torch.set_num_threads(1)
torch.manual_seed(7)
model = nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 10))
parametrize.register_parametrization(model[0], "weight", Mask(torch.rand(200, 300) < 0.2))
parametrize.register_parametrization(model[0], "weight", UniformQuantizer(5, scheme="affine"))
blobs = [encode(model, coder=coder) for coder in ("none", "huffman", "ans", "context")]
digest = hashlib.sha256(b"".join(blobs)).hexdigest()
"""


@pytest.mark.extended
def test_the_same_network_gives_the_same_bytes_here_and_in_a_fresh_process():
    digests = []
    for _ in range(2):
        names = {}
        exec(PROGRAM, names)
        digests.append(names["digest"])
    fresh = subprocess.run(
        [sys.executable, "-c", PROGRAM + "print(digest)"], check=True, capture_output=True, text=True
    )
    assert {*digests, fresh.stdout.strip()} == {digests[0]}


def layer_on(constraint, *, zeros=0.0):
    """Return a linear layer under a constraint, some of whose weights are zero."""
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    with torch.no_grad():
        layer.weight += 0.03  # more above zero than below
        layer.weight *= torch.rand(30, 40) >= zeros
    register(layer, "weight", constraint)
    return layer


def steps_of(layer):
    """Return the whole steps from zero of a layer's weights, and the steps' sizes."""
    stored = native_form(layer, "weight")
    zero_points = stored.zero_point.reshape(-1, 1) if stored.zero_point.ndim else stored.zero_point
    return stored.codes - zero_points, stored.scale


@pytest.mark.matrix(fast=22)
@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("zeros", [0.0, 0.9])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize(
    ("bits", "scheme"),
    [
        (8, "symmetric"),
        (8, "affine"),
        (4, "symmetric"),
        (4, "affine"),
        (2, "ternary"),
        (1, "symmetric"),
        (12, "affine"),
    ],
)
def test_weights_come_back_on_the_grids_that_the_file_holds(bits, scheme, granularity, zeros, coder):
    layer = layer_on(UniformQuantizer(bits, scheme=scheme, granularity=granularity), zeros=zeros)
    blob = encode(layer, coder=coder)
    found, plain = decode_on_grids(blob, nn.Linear(40, 30)), decode(blob, nn.Linear(40, 30))
    assert not constraints_on(plain, "weight") and constraints_on(found, "weight")
    assert raw_bytes(constrained_value(found, "weight")) == raw_bytes(plain.weight)
    assert torch.equal(found.bias, layer.bias)
    steps, scales = steps_of(found)
    expected, of_layer = steps_of(layer)
    assert torch.equal(steps, expected) and torch.equal(scales, of_layer)
    assert raw_bytes(bake(found).weight) == raw_bytes(plain.weight)


def test_what_has_no_even_grid_comes_back_plain():
    powers, shared = layer_on(UniformQuantizer(4, scheme="power_of_two")), nn.Linear(40, 30)
    share_tensor(shared, "weight", Codebook(torch.randint(0, 5, (30, 40)), 4))
    for layer in (powers, shared, nn.Linear(40, 30)):
        found = decode_on_grids(encode(layer), nn.Linear(40, 30))
        assert not constraints_on(found, "weight") and isinstance(found.weight, nn.Parameter)
        assert torch.equal(found.weight, constrained_value(layer, "weight"))


def test_of_a_network_each_weight_is_on_its_grid_and_what_is_tied_is_plain_and_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.other = nn.Linear(6, 6), nn.Linear(6, 6), nn.Conv2d(2, 3, 3)
            self.second.weight = self.first.weight
            self.norm = nn.BatchNorm2d(3)

    network, quantizer = Tied(), UniformQuantizer(4)
    for layer in (network.first, network.second):
        register(layer, "weight", quantizer)
    register(network.other, "weight", UniformQuantizer(3))
    found = decode_on_grids(encode(network), Tied())
    assert native_form(found.other, "weight").bits == 3
    assert found.first.weight is found.second.weight
    assert not constraints_on(found.first, "weight")
    expected = bake(network).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in bake(found).state_dict().items())


def test_an_equal_tensor_that_the_file_repeats_has_its_codes_too():
    layers = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    layers[1].load_state_dict(layers[0].state_dict())
    for layer in layers:
        register(layer, "weight", UniformQuantizer(4))
    found = decode_on_grids(encode(layers), nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)))
    first, second = (native_form(layer, "weight") for layer in found)
    assert torch.equal(first.codes, second.codes) and first.bits == second.bits == 4
