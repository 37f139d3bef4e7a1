"""The energy model, against sums by hand."""

import pytest
import torch
from torch import nn

from effbench.compression.constraints.codebook import Codebook, share_tensor
from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.measure.energy import DRAM_PJ_PER_BIT, MAC_PJ, modelled_energy_uj


def energy(macs, bits, width="float32"):
    """Microjoules of so many multiply-adds of one width and so many bits from DRAM."""
    return 1e-6 * (macs * MAC_PJ[width] + bits * DRAM_PJ_PER_BIT)


def quantized(layer, bits, *, inputs=True):
    register(layer, "weight", UniformQuantizer(bits))
    if inputs:
        set_input(layer, InputGrid.between(-1, 1, bits=8))
    return layer


def test_the_table_is_the_published_one():
    assert MAC_PJ == pytest.approx({"int8": 0.23, "float16": 1.5, "float32": 4.6})
    assert 32 * DRAM_PJ_PER_BIT == 640


def test_a_layer_by_hand():
    # 60 weights, 5 biases, 12 inputs and 5 outputs of 32 bits.
    assert modelled_energy_uj(nn.Linear(12, 5), (12,)) == pytest.approx(1e-6 * (60 * 4.6 + (60 + 5 + 12 + 5) * 640))


def test_activations_between_layers_stay_on_the_chip_and_buffers_come_along():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    # Four values for each normalised channel; the counter of batches is not read.
    bits = 32 * (36 + 16 + 72 + 2 + 25 + 2)
    assert modelled_energy_uj(model, (1, 5, 5)) == pytest.approx(energy(36 * 9 + 72, bits))


def test_weights_that_are_zero_are_moved_and_not_multiplied():
    model = nn.Linear(12, 5, bias=False)
    register(model, "weight", Mask(torch.arange(60).reshape(5, 12) % 4 == 1))
    assert modelled_energy_uj(model, (12,)) == pytest.approx(energy(15, 32 * 77))


@pytest.mark.parametrize("bits", [8, 4])
def test_integers_where_weights_and_inputs_are_on_grids(bits):
    layer = quantized(nn.Linear(12, 5), bits)
    stored = 60 * bits + 32 * (5 + 12 + 5)
    macs = int((layer.weight != 0).sum())
    assert modelled_energy_uj(layer, (12,)) == pytest.approx(energy(macs, stored, "int8"))
    weights_only = quantized(nn.Linear(12, 5), bits, inputs=False)
    macs = int((weights_only.weight != 0).sum())
    assert modelled_energy_uj(weights_only, (12,)) == pytest.approx(energy(macs, stored))


def test_each_layer_has_its_own_width():
    first, second = nn.Linear(12, 5), quantized(nn.Linear(5, 7), 8)
    bits = 32 * (60 + 5 + 12 + 7 + 7) + 8 * 35
    macs = int((second.weight != 0).sum())
    expected = energy(60, bits) + energy(macs, 0, "int8")
    assert modelled_energy_uj(nn.Sequential(first, second), (12,)) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_and_moves_16_bits(dtype):
    model = nn.Linear(12, 5).to(dtype)
    assert modelled_energy_uj(model, (12,)) == pytest.approx(energy(60, 16 * (60 + 5 + 12 + 5), "float16"))


@pytest.mark.parametrize(("n_codes", "first", "width"), [(4, 1, 2), (5, 0, 3)])  # zero is one code more
def test_codes_of_a_codebook_are_moved_at_their_width(n_codes, first, width):
    model = nn.Linear(12, 5, bias=False)
    codes = torch.arange(60).reshape(5, 12) % n_codes + first
    with torch.no_grad():
        model.weight.copy_(codes)
    share_tensor(model, "weight", Codebook(codes, 4))
    macs = int((codes != 0).sum())
    assert modelled_energy_uj(model, (12,)) == pytest.approx(energy(macs, 60 * width + 32 * (12 + 5)))


def test_a_tied_weight_is_moved_once():
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    model[1].weight = model[0].weight
    assert modelled_energy_uj(model, (6,)) == pytest.approx(energy(72, 32 * (36 + 6 + 6)))


def test_attention_computes_in_the_networks_type_and_outputs_may_be_several():
    class Products(nn.Module):
        def forward(self, x):
            return {"scores": x @ x.transpose(1, 2), "same": x}

    assert modelled_energy_uj(Products(), (4, 3)) == pytest.approx(energy(48, 32 * (12 + 16 + 12)))


def test_what_cannot_be_counted_is_an_error():
    with pytest.raises(ValueError, match="can't be counted on one input of size"):
        modelled_energy_uj(nn.Linear(3, 2), (4,))
    with pytest.raises(ValueError, match="input_size must be the size of one input"):
        modelled_energy_uj(nn.Linear(3, 2), ())
