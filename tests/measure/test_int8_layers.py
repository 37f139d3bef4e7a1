"""Which layers integers can compute: both their weights and their inputs are on grids of at most 8 bits."""

import pytest
import torch
from torch import nn

from effbench.codec import decode_on_grids, encode
from effbench.compression.constraints.layer_inputs import InputGrid, constraints_on_inputs, grid_on, set_input
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import constrained_value, constraints_on, register
from effbench.measure.int8_layers import int8_layers, without_grids
from effbench.stages.quantize import Quantize
from effbench.stages.quantize_inputs import QuantizeInputs

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


def exponents_of(scales):
    """Return the exponents of scales that are powers of two."""
    mantissas, exponents = torch.frexp(scales)
    assert (mantissas == 0.5).all()
    return (exponents - 1).long()


def shifted(numbers, places):
    """Return numbers · 2^places, rounded to the nearest integer, halves to the even one: additions and shifts alone."""
    right = (-places).clamp(min=0)
    half = torch.where(right > 0, (1 << (right - 1).clamp(min=0)) - 1, 0)
    odd = torch.where(right > 0, numbers >> right & 1, 0)
    return (numbers + half + odd >> right) << places.clamp(min=0)


def in_integers(network, images):
    """Return what a convolution, a ReLU, a convolution and a linear layer give: integers, and the exponents of two."""
    layers = int8_layers(network)
    numbers = torch.round(images / layers["0"].input_grid.scale).long()  # what the camera says
    places = exponents_of(torch.tensor(layers["0"].input_grid.scale))
    for name in ("0", "2", "5"):
        layer = layers[name]
        grid, weights = layer.input_grid, layer.codes.long().flatten(1)
        place = exponents_of(torch.tensor(grid.scale))
        steps = shifted(numbers, places - place).clamp(-grid.zero_point, 2**grid.bits - 1 - grid.zero_point)
        places = place + exponents_of(layer.scales)
        if name == "5":
            numbers = steps.flatten(1) @ weights.T
        else:
            windows = steps.unfold(2, 3, 1).unfold(3, 3, 1)  # (N, C, rows, columns, 3, 3)
            numbers = (windows.permute(0, 2, 3, 1, 4, 5).flatten(3) @ weights.T).permute(0, 3, 1, 2)
            places = places.reshape(-1, 1, 1)
        if name == "0":
            numbers = numbers.clamp(min=0)
    return numbers, places


@pytest.mark.parametrize(
    ("scheme", "granularity"), [("symmetric", "channel"), ("symmetric", "tensor"), ("affine", "channel")]
)
def test_with_powers_of_two_as_scales_a_file_is_computed_with_integers_and_shifts_alone(
    toy_data, make_context, scheme, granularity
):
    def make(seed=0):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 4, 3, bias=False),
            nn.Identity(), nn.Flatten(), nn.Linear(64, 5, bias=False),
        )  # fmt: skip

    context = make_context(toy_data)
    options = {"scheme": scheme, "granularity": granularity, "scale": "power_of_two"}
    bits = 7 if scheme == "affine" else 8  # codes counted from the zero point have 8
    made = Quantize(bits=bits, **options).apply(make(), context)
    made = QuantizeInputs(bits=8, scale="power_of_two").apply(made, context)
    restored = decode_on_grids(encode(made), make(seed=1)).eval()
    images = next(toy_data.batches("test", side=8, batch_size=20))[0]
    numbers, places = in_integers(restored, images)
    assert numbers.dtype == torch.int64 and numbers.abs().max() > 100
    with torch.no_grad():
        assert torch.equal(torch.ldexp(numbers.float(), places), restored(images))
        assert torch.allclose(restored(images), make()(images), atol=0.1)
