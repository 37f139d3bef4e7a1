"""Bytes of a model as plain float32 numbers: what compressed ones are compared with."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.measure.size import float32_bytes, tensor_bytes
from effbench.models import lenet_300_100


def test_lenet_300_100_has_the_kilobytes_of_the_paper():
    # arXiv:1510.00149, table 1: 1070 KB.
    assert float32_bytes(lenet_300_100()) == 4 * 266_610


def test_float_buffers_count_and_counters_do_not():
    assert float32_bytes(nn.BatchNorm2d(8)) == 4 * (8 + 8 + 8 + 8)


def test_constraints_change_nothing():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    before = float32_bytes(model)
    parametrize.register_parametrization(model[0], "weight", Mask(torch.zeros(5, 6)))
    assert float32_bytes(model) == before == 4 * (35 + 20)


def test_a_model_of_half_precision_is_compared_with_the_same_bytes():
    assert float32_bytes(nn.Linear(6, 5).half()) == float32_bytes(nn.Linear(6, 5)) == 140


def test_bytes_in_use_are_those_of_plain_tensors_in_their_own_types():
    plain = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)).double()
    assert tensor_bytes(plain) == 8 * (8 * 4 + 4 + 2 * 4 + 2 * 4) + 8  # and a counter of batches
    tied = nn.ModuleList([plain[0], plain[0]])
    assert tensor_bytes(tied) == 8 * (8 * 4 + 4)


def test_constraints_count_as_what_they_make():
    layer = nn.Linear(8, 4)
    parametrize.register_parametrization(layer, "weight", Mask(torch.ones(4, 8, dtype=torch.bool)))
    assert tensor_bytes(layer) == tensor_bytes(nn.Linear(8, 4))
