"""Subnormal weights are counted and set to zero, in buffers, too; codes on a grid and 16-bit floats are none."""

import torch
from torch import nn

from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import native_form, register
from effbench.measure.subnormals import n_subnormal, without_subnormals

TINY = torch.finfo(torch.float32).tiny


def test_what_is_below_the_least_normal_number_is_subnormal():
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[TINY, -TINY / 2, 0.0, 1.0]]))
    assert n_subnormal(layer) == 1
    flushed = without_subnormals(layer)
    assert flushed.weight.tolist() == [[TINY, 0.0, 0.0, 1.0]]
    assert n_subnormal(flushed) == 0 and n_subnormal(layer) == 1


def test_buffers_count_and_codes_stay_codes():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        model[0].bias[0] = 1e-40
        model[1].running_var[0] = 1e-39
    register(model[0], "weight", UniformQuantizer(8))
    assert n_subnormal(model) == 2
    flushed = without_subnormals(model)
    assert n_subnormal(flushed) == 0
    codes, before = native_form(flushed[0], "weight").codes, native_form(model[0], "weight").codes
    assert torch.equal(codes, before)  # an engine of integers is given integers


def test_halves_are_computed_in_float32_and_do_not_count():
    layer = nn.Linear(64, 64).half()
    with torch.no_grad():
        layer.weight.fill_(1e-7)
    assert n_subnormal(layer) == 0


def test_a_network_without_any_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert n_subnormal(model) == 0
    before, after = model.state_dict(), without_subnormals(model).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
