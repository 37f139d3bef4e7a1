"""Subnormal weights are counted and set to zero, in every floating type, behind constraints, in buffers."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.measure.subnormals import n_subnormal, without_subnormals


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_is_below_the_least_normal_number_is_subnormal(dtype):
    layer = nn.Linear(4, 1, bias=False, dtype=dtype)
    tiny = torch.finfo(dtype).tiny
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[tiny, -tiny / 2, 0.0, 1.0]], dtype=dtype))
    assert n_subnormal(layer) == 1
    flushed = without_subnormals(layer)
    assert flushed.weight.tolist() == [[tiny, 0.0, 0.0, 1.0]]
    assert n_subnormal(flushed) == 0 and n_subnormal(layer) == 1


def test_what_a_mask_holds_at_zero_does_not_count_and_buffers_do():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        model[0].weight.fill_(1e-40)
        model[1].running_var[0] = 1e-39
    parametrize.register_parametrization(model[0], "weight", Mask(torch.tensor([[True, False], [False, False]])))
    assert n_subnormal(model) == 2
    assert n_subnormal(without_subnormals(model)) == 0


def test_a_network_without_any_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert n_subnormal(model) == 0
    before, after = model.state_dict(), without_subnormals(model).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
