"""Which layers integers can compute: both their weights and their inputs are on grids of at most 8 bits."""

import pytest
import torch
from torch import nn

from effbench.compression.constraints.layer_inputs import InputGrid, constraints_on_inputs, grid_on, set_input
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import constrained_value, constraints_on, register
from effbench.measure.int8_layers import int8_layers, without_grids

GRID = InputGrid(bits=8, scale=0.1, zero_point=3)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def on_grids(layer, quantizer=None, grid=GRID):
    register(layer, "weight", quantizer or UniformQuantizer(8))
    set_input(layer, grid)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 4),
        nn.Conv1d(2, 4, 3),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv3d(1, 4, 2),
    ],
    ids=lambda layer: f"{type(layer).__name__}-{getattr(layer, 'groups', 1)}",
)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize(
    ("bits", "scheme"), [(8, "symmetric"), (4, "symmetric"), (7, "affine"), (2, "ternary"), (1, "symmetric")]
)
def test_codes_times_scales_are_the_weights_to_the_bit(layer, granularity, bits, scheme):
    layer = on_grids(type(layer)(**sizes(layer)), UniformQuantizer(bits, scheme=scheme, granularity=granularity))
    (found,) = int8_layers(nn.Sequential(layer)).values()
    assert found.name == "0" and found.input_grid is GRID
    assert found.codes.dtype == torch.int8 and found.codes.shape == layer.weight.shape
    assert found.scales.dtype == torch.float32 and found.scales.shape == (4,)
    assert torch.equal(found.values, constrained_value(layer, "weight"))


def sizes(layer):
    if isinstance(layer, nn.Linear):
        return {"in_features": layer.in_features, "out_features": layer.out_features}
    names = ("in_channels", "out_channels", "kernel_size", "groups")
    return {name: getattr(layer, name) for name in names}


def test_what_a_mask_holds_at_zero_has_the_code_zero():
    layer = nn.Linear(5, 4)
    mask = torch.rand(4, 5) > 0.5
    register(layer, "weight", Mask(mask))
    (found,) = int8_layers(on_grids(layer)).values()
    assert found.name == "" and not found.codes[~mask].any() and found.codes[mask].any()


@pytest.mark.parametrize(
    ("layer", "quantizer", "grid"),
    [
        (nn.Linear(5, 4), UniformQuantizer(8), None),
        (nn.Linear(5, 4), None, GRID),
        (nn.Linear(5, 4), UniformQuantizer(9), GRID),
        (nn.Linear(5, 4), UniformQuantizer(8), InputGrid(bits=9, scale=0.1, zero_point=0)),
        (nn.Linear(5, 4), UniformQuantizer(4, scheme="power_of_two"), GRID),
        (nn.ConvTranspose2d(4, 4, 3), UniformQuantizer(8), GRID),
    ],
    ids=["inputs are floats", "weights are floats", "9-bit weights", "9-bit inputs", "powers of two", "transposed"],
)
def test_others_are_floats(layer, quantizer, grid):
    if quantizer is not None:
        register(layer, "weight", quantizer)
    if grid is not None:
        set_input(layer, grid)
    assert int8_layers(nn.Sequential(layer)) == {}


@pytest.mark.parametrize(("zero_point", "fits"), [(127, False), (128, True), (129, False)])
def test_steps_from_the_zero_point_must_be_8_bit_codes(zero_point, fits):
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-zero_point, 255 - zero_point]]) * 0.5)
    held = HeldGrid(torch.tensor([0.5]), torch.tensor([zero_point], dtype=torch.int32), bits=8, scheme="affine")
    found = int8_layers(on_grids(layer, held))
    assert bool(found) == fits
    if fits:
        assert found[""].codes.tolist() == [[-128, 127]]


def test_a_layer_in_another_floating_type_has_other_values_than_its_codes():
    layer = on_grids(nn.Linear(5, 4)).to(torch.bfloat16)
    assert int8_layers(layer) == {}


def test_their_names_are_in_the_order_of_the_network_and_a_shared_one_is_there_once():
    shared = on_grids(nn.Linear(5, 5))
    network = nn.Sequential(nn.Sequential(on_grids(nn.Linear(5, 5))), shared, nn.Linear(5, 5), shared)
    assert list(int8_layers(network)) == ["0.0", "1"]


def test_without_grids_is_a_plain_copy_in_evaluation_mode_that_keeps_the_grids_of_other_layers():
    network = nn.Sequential(on_grids(nn.Linear(5, 5)), nn.Dropout(), on_grids(nn.Linear(5, 5))).train()
    plain = without_grids(network, {"0"})
    assert not plain.training and not constraints_on(plain[0], "weight")
    assert [name for name, *_ in constraints_on_inputs(plain)] == ["2"]
    assert torch.equal(plain[0].weight, constrained_value(network[0], "weight"))
    assert network.training and grid_on(network[0]) is GRID and constraints_on(network[0], "weight")
