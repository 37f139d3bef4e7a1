"""What the file is for: fewer bytes."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import encode
from effbench.constraints import Mask, UniformQuantizer

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
