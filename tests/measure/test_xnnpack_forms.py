"""The forms in which XNNPACK has kernels: what a graph is rewritten to, and that its values stay."""

import pytest
import torch
from torch import nn

from effbench.measure.xnnpack_graph import to_program

Q, DQ = "quantize_per_tensor", "dequantize_per_tensor"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def order(program):
    """Return the names of a program's operations, in order, without those on weights."""
    nodes = (node for node in program.exported.graph.nodes if hasattr(node.target, "_schema"))
    names = (node.target._schema.name.rpartition("::")[2] for node in nodes)
    return [name for name in names if name != "dequantize_per_channel"]


def outputs(program, values):
    with torch.no_grad():
        return program.exported.module()(values)


def test_a_grid_behind_a_pooling_and_a_relu_is_set_before_them(put_on_grids, assert_a_step_away):
    images = torch.randn(2, 3, 8, 8)
    network = put_on_grids(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4)), images
    )
    program = to_program(network, images)
    assert order(program)[:9] == [Q, DQ, "conv2d", Q, DQ, "max_pool2d", Q, DQ, "relu"]
    assert program.notes == ("inputs rounded once more in each run, as no grid follows: 4",)
    assert list(program.int8) == ["0", "4"] and program.int8_weights == 8 * 27 + 72 * 4
    assert_a_step_away(outputs(program, images), network, images)


def test_an_activation_stays_with_its_layer(put_on_grids):
    images = torch.randn(2, 3, 8, 8)
    network = put_on_grids(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.Conv2d(8, 4, 1)), images)
    assert order(to_program(network, images))[:7] == [Q, DQ, "conv2d", "hardtanh", Q, DQ, "choose_qparams"]


def test_a_layer_that_something_else_reads_is_rounded_again(put_on_grids, assert_a_step_away):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, values):
            hidden = self.first(values)
            return self.second(hidden) + hidden[:, :3]

    values = torch.randn(2, 6)
    network = put_on_grids(Both(), values)
    program = to_program(network, values)
    assert order(program).count("choose_qparams") == 2
    assert_a_step_away(outputs(program, values), network, values)
