"""What measurements feed to a network: sizes that are none are refused; the type is the network's."""

import pytest
import torch
from torch import nn

from effbench.measure.input_size import checked_size, input_dtype


@pytest.mark.parametrize("size", [(3, 8, 8), [5], torch.Size([1, 2])])
def test_a_size_is_a_tuple_of_whole_numbers(size):
    assert checked_size(size) == tuple(size)
    assert type(checked_size(size)) is tuple


@pytest.mark.parametrize("size", [(), (3, 0, 4), (3, -1), (3, 2.5), ("3",), (True,), (None,)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match=r"^input_size must be the size of one input, integers of at least 1 as in"):
        checked_size(size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_type_is_that_of_the_first_floating_parameter(dtype):
    model = nn.Module()
    model.codes = nn.Parameter(torch.zeros(2, dtype=torch.uint8), requires_grad=False)
    model.weight = nn.Parameter(torch.zeros(2, dtype=dtype))
    assert input_dtype(model) == dtype


def test_without_parameters_it_is_float32():
    assert input_dtype(nn.ReLU()) == torch.float32
