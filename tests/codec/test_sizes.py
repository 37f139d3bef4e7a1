"""What the file is for: fewer bytes."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import encode
from effbench.codec.forms import TensorForm
from effbench.codec.tensor_record import RecordKind, write_record
from effbench.compression.constraints.codebook import Codebook, SharedTensor, share_tensor
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import native_form

N_WEIGHTS = 400 * 300
N_OTHER = 400 * 4


def layer(*, density=1.0, bits=None, granularity="tensor"):
    torch.manual_seed(0)
    linear = nn.Linear(300, 400)
    nn.init.normal_(linear.weight)
    if density < 1:
        parametrize.register_parametrization(linear, "weight", Mask(torch.rand(400, 300) < density))
    if bits is not None:
        parametrize.register_parametrization(linear, "weight", UniformQuantizer(bits, granularity=granularity))
    return linear


def shared_layer(n_values, *, density=1.0):
    linear = layer()
    codes = torch.randint(1, n_values + 1, (400, 300))
    codes[torch.rand(400, 300) >= density] = 0
    share_tensor(linear, "weight", Codebook(codes, n_values))
    nn.init.normal_(linear.parametrizations["weight"].original)
    return linear


def rate(n_weights, n_values, bits=32):
    """The compression rate of weight sharing (Han et al. 2015, arXiv:1510.00149, section 3, equation 1)."""
    return n_weights * bits / (n_weights * math.log2(n_values) + n_values * bits)


def size(model, coder="huffman"):
    return len(encode(model, coder=coder))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_codes_take_their_width(bits):
    assert size(layer(bits=bits), "none") <= N_WEIGHTS * bits / 8 + N_OTHER + 60
    assert size(layer(bits=bits)) <= size(layer(bits=bits), "none")


def test_four_bits_are_eight_times_smaller():
    assert 7.5 < (4 * N_WEIGHTS + N_OTHER) / size(layer(bits=4), "none") < 8.1
    assert (4 * N_WEIGHTS + N_OTHER) / size(layer(bits=4)) > 9


def test_one_bit_is_one_bit():
    assert size(layer(bits=1), "none") <= N_WEIGHTS / 8 + N_OTHER + 60


def test_wide_codes_take_their_width():
    for bits in (9, 10, 12, 16):
        assert size(layer(bits=bits), "none") <= N_WEIGHTS * bits / 8 + N_OTHER + 60


def test_ninety_percent_zeros_are_really_smaller():
    dense, sparse = size(layer()), size(layer(density=0.1))
    assert sparse < 0.14 * dense
    # 32 bits a weight that is left, and the entropy of where it is (0.469 bits an entry), within 2 %.
    assert size(layer(density=0.1), "none") < (0.1 * 32 + 0.6) / 8 * N_WEIGHTS + N_OTHER + 60
    assert sparse < 1.02 * (0.1 * 32 + 0.469) / 8 * N_WEIGHTS + N_OTHER


def test_pruned_and_quantised_is_smaller_than_either():
    both = size(layer(density=0.1, bits=4))
    assert both < size(layer(density=0.1)) / 3
    assert both < size(layer(bits=4)) / 3


def test_a_float_is_never_much_larger_than_itself():
    noise = nn.Linear(300, 400)
    noise.weight.data = torch.randint(-(2**31), 2**31 - 1, (400, 300), dtype=torch.int32).view(torch.float32)
    assert size(noise) <= 4 * N_WEIGHTS + N_OTHER + 40


def test_the_frame_is_small():
    assert size(nn.Linear(1, 1)) <= 14 + 8 + 3 + 3 + 3


def test_one_grid_per_channel_costs_about_its_scales():
    assert 0 < size(layer(bits=8, granularity="channel"), "none") - size(layer(bits=8), "none") <= 4 * 400


def test_sixteen_weights_of_four_values_are_3_2_times_smaller():
    # The example of the paper's figure 3: 16 weights of 32 bits, 4 values.
    values = torch.tensor([2.00, 1.50, 0.1, -1.0])
    codes = torch.tensor([[1, 4, 2, 3], [4, 3, 4, 1], [4, 1, 2, 4], [1, 2, 3, 2]])
    record = write_record(SharedTensor(codes=codes, values=values), TensorForm(torch.float32, (4, 4)), coder="none")
    # Beside the payload a byte each: the kind, the type, two dimensions, the number of values, their form, the lowest
    # code, the width of the codes, their form.
    assert record[0] == RecordKind.SHARED
    assert rate(16, 4) == 3.2
    assert 16 * 4 / len(record[9:]) == 3.2


@pytest.mark.parametrize("n_values", [2, 3, 4, 5, 8, 16, 32, 100, 256, 1024])
def test_shared_weights_take_the_bits_of_their_codes_and_the_values(n_values):
    form = native_form(shared_layer(n_values), "weight")
    stored = len(write_record(form, TensorForm(torch.float32, (400, 300)), coder="none"))
    codes = N_WEIGHTS * math.ceil(math.log2(n_values)) / 8
    assert codes < stored <= codes + 4 * n_values + 16
    if math.log2(n_values).is_integer():
        assert 4 * N_WEIGHTS / stored == pytest.approx(rate(N_WEIGHTS, n_values), rel=0.002)


@pytest.mark.parametrize("n_values", [2, 3, 5, 32])
def test_zeros_cost_the_index_only(n_values):
    # The entropy of where the tenth is, and the codes, within 3 %: zero is none of the values.
    expected = (0.469 + 0.1 * math.ceil(math.log2(n_values))) / 8 * N_WEIGHTS + 4 * n_values + N_OTHER
    assert size(shared_layer(n_values, density=0.1)) < 1.03 * expected


def test_values_of_uneven_use_are_coded_below_their_width():
    torch.manual_seed(0)
    linear = nn.Linear(300, 400)
    weights = torch.randn(400, 300)
    codes = torch.bucketize(weights, torch.linspace(-4, 4, 31)) + 1
    share_tensor(linear, "weight", Codebook(codes, 32))
    shares = np.bincount(codes.flatten()) / N_WEIGHTS
    entropy = -sum(share * math.log2(share) for share in shares if share)
    stored = size(linear) - N_OTHER
    assert stored < 1.01 * entropy / 8 * N_WEIGHTS + 4 * 32 + 60
    assert stored < 0.8 * size(linear, "none")  # the paper: Huffman coding saves 20 to 30 %


def test_values_that_nobody_has_are_left_out():
    few, many = nn.Linear(300, 400), nn.Linear(300, 400)
    codes = torch.randint(1, 5, (400, 300))
    share_tensor(few, "weight", Codebook(codes, 4))
    share_tensor(many, "weight", Codebook(codes * 1000, 4000))
    assert size(many) <= size(few) + 8


def test_a_value_for_nearly_every_weight_is_stored_as_floats():
    torch.manual_seed(0)
    linear = nn.Linear(30, 40)
    plain = size(linear)
    share_tensor(linear, "weight", Codebook(torch.arange(1, 1201).view(40, 30), 1200))
    assert size(linear) == plain
