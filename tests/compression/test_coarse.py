import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from effbench.codec import encode
from effbench.compression.coarse import can_settle, rounded_to, settle_norm, small_parameters


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.floats(-1e5, 1e5, width=32), min_size=1, max_size=20), st.floats(0.001, 1), st.floats(0.01, 100))
def test_an_error_is_a_share_of_the_size(values, share, size):
    values = torch.tensor(values)
    rounded = rounded_to(values, torch.tensor(size), share)
    assert float((rounded.double() - values.double()).abs().max()) <= 0.71 * share * size + 1e-2
    assert torch.equal(rounded_to(rounded, torch.tensor(size), share), rounded)
    assert torch.equal(rounded_to(values, torch.tensor(size), 0), values)


def trained(norm):
    torch.manual_seed(0)
    norm.train()
    for _ in range(3):
        norm(torch.randn(50, norm.num_features, *[4] * (norm.weight.ndim)) * 3 + 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.eval()


@pytest.mark.parametrize(("share", "allowed"), [(0.0, 1e-4), (0.01, 0.15), (0.1, 1.5)])
def test_a_settled_norm_is_the_same_function(share, allowed):
    norm, images = trained(nn.BatchNorm1d(24)), torch.randn(30, 24, 5) * 3 + 2
    before, size = norm(images).detach(), len(encode(norm, coder="context"))
    settle_norm(norm, share)
    assert float((norm(images).detach() - before).abs().max()) < allowed
    assert not norm.running_mean.any()
    if share:
        assert len(encode(norm, coder="context")) < size / 2


def test_what_can_be_settled_has_statistics_and_tensors_of_its_own():
    assert can_settle(nn.BatchNorm2d(3))
    assert not can_settle(nn.BatchNorm2d(3, affine=False))
    assert not can_settle(nn.BatchNorm2d(3, track_running_stats=False))
    assert not can_settle(nn.LayerNorm(3))


def test_small_parameters_are_biases_and_norms_that_are_not_settled():
    bias = nn.Linear(3, 3)
    network = nn.Sequential(bias, nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Conv1d(1, 2, 3, bias=False))
    found = small_parameters(network)
    assert [tensor.shape for tensor in found] == [(3,), (3,), (3,)]
    assert found[0] is bias.bias
