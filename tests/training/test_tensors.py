import pytest
import torch
from torch import nn

from effbench.training.tensors import copy_into, tensors_of


def network():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.register_buffer("passing", torch.zeros(3), persistent=False)
    return model


def test_all_tensors_come_back_those_that_no_state_dict_has_too():
    one, other = network(), network()
    one.passing.fill_(7)
    copy_into(tensors_of(other), {name: tensor.clone() for name, tensor in tensors_of(one).items()}, what="test")
    assert torch.equal(other[0].weight, one[0].weight)
    assert other.passing.tolist() == [7, 7, 7]


@pytest.mark.parametrize("change", [{"0.weight": torch.zeros(3, 2)}, {"0.weight": None}, {"more": torch.zeros(1)}])
def test_those_of_another_network_are_refused_and_nothing_is_copied(change):
    model = network()
    before = model[0].bias.detach().clone()
    kept = {name: torch.full_like(tensor, 9) for name, tensor in tensors_of(model).items()}
    with pytest.raises(ValueError, match="the test that was kept is of another network"):
        copy_into(tensors_of(model), {**kept, **change}, what="test")
    assert torch.equal(model[0].bias, before)
