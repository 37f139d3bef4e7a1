"""Networks as programs for XNNPACK: what is computed in which form, and that it is what PyTorch simulates.

Programs are run by PyTorch, as they stand: ExecuTorch is not needed.
"""

from collections import Counter

import pytest
import torch
from torch import nn

from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.measure.xnnpack_graph import to_program


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def calls(program):
    """Count the operations of a program, by their names."""
    names = (node.target._schema.name for node in program.exported.graph.nodes if node.op == "call_function"
             and hasattr(node.target, "_schema"))  # fmt: skip
    return Counter(name.rpartition("::")[2] for name in names)


def outputs(program, values):
    with torch.no_grad():
        return program.exported.module()(values)


@pytest.mark.extended
@pytest.mark.parametrize("bits", [1, 5])
def test_inputs_of_fewer_bits_are_cut_off_at_their_ends(bits, put_on_grids):
    images = torch.randn(2, 3, 8, 8)
    network = put_on_grids(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1)), images, input_bits=bits)
    program = to_program(network, images)
    assert calls(program)["hardtanh"] == 2
    expected = network(9 * images).detach()
    # The last input is rounded once more, to 8 bits.
    torch.testing.assert_close(outputs(program, 9 * images), expected, rtol=0, atol=0.02 * float(expected.abs().max()))


@pytest.mark.extended
@pytest.mark.parametrize("gammas", [[1.5, -0.7], [0.0, 1.0]], ids=str)
def test_a_norm_is_in_the_codes_and_scales(gammas, put_on_grids, assert_a_step_away):
    images = torch.randn(2, 3, 8, 8)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor(gammas * 4))
        network[1].running_mean.normal_()
    network = put_on_grids(network, images)
    program = to_program(network, images)
    assert "batch_norm" not in calls(program) and len(program.int8) == 2
    assert_a_step_away(outputs(program, images), network, images)


class Twice(nn.Module):
    """Calls one layer two times; it has two names."""

    def __init__(self):
        super().__init__()
        self.layer = self.other = nn.Linear(6, 6)

    def forward(self, values):
        return self.other(self.layer(values).relu())


class Reads(Twice):
    """Reads the layer's weight, too."""

    def forward(self, values):
        return self.layer(values) + self.layer.weight.sum()


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("make", [Twice, Reads, lambda: nn.Linear(6, 4)])
def test_a_layer_is_found_wherever_it_is(make, put_on_grids, assert_a_step_away):
    values = torch.randn(3, 6)
    network = put_on_grids(make(), values)
    program = to_program(network, values)
    assert len(program.int8) == 1
    assert_a_step_away(outputs(program, values), network, values)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(4, 4, 3, groups=4),
        lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
        lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 3, 3)),
    ],
)
def test_what_has_no_kernel_of_integers_is_computed_in_floats_and_named(make, put_on_grids, assert_a_step_away):
    images = torch.randn(2, 4, 6, 6)
    network = put_on_grids(make(), images)
    program = to_program(network, images)
    assert not program.int8 and program.int8_weights == 0
    (note,) = program.notes
    assert note.startswith("computed in floats, as XNNPACK has no kernel of integers for them: ")
    assert all(tensor.dtype != torch.int8 for tensor in program.exported.state_dict.values())
    assert_a_step_away(outputs(program, images), network, images)


@pytest.mark.extended
def test_a_bias_too_large_for_its_steps_is_not_taken_as_integers(put_on_grids):
    values = torch.randn(3, 6)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    with torch.no_grad():
        network[0].bias[0] = 1e9
    program = to_program(put_on_grids(network, values), values)
    assert program.notes == ("inputs rounded once more in each run, as no grid follows: 0, 2",)


def test_a_code_whose_opposite_is_none_stays_float_behind_a_norm_below_zero():
    layer, norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([-128.0, 127.0]).reshape(2, 1, 1, 1))
        norm.weight.copy_(torch.tensor([-1.0, 1.0]))
    held = HeldGrid(torch.ones(2), torch.full((2,), 128, dtype=torch.int32), bits=8, scheme="affine")
    register(layer, "weight", held)
    set_input(layer, InputGrid(bits=8, scale=0.02, zero_point=128))
    network, images = nn.Sequential(layer, norm).eval(), torch.randn(2, 1, 4, 4)
    program = to_program(network, images)
    assert not program.int8
    torch.testing.assert_close(outputs(program, images), network(images).detach(), rtol=1e-4, atol=1e-3)


def test_layers_whose_weights_alone_are_on_a_grid_are_floats():
    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)).eval()
    register(network[0], "weight", UniformQuantizer(8))
    values = torch.randn(3, 6)
    program = to_program(network, values)
    assert not program.int8 and not program.notes and set(calls(program)) == {"linear"}
    torch.testing.assert_close(outputs(program, values), network(values).detach())


def test_the_network_is_left_alone(put_on_grids):
    values = torch.randn(3, 6)
    network = put_on_grids(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), values).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    to_program(network, values)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
