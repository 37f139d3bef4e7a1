import copy

import pytest
import torch
from torch import nn

from effbench.compression.structure.resizing import resize, silenced

KEPT = torch.tensor([0, 2, 3, 5])
OUTPUTS = {
    "convolution": (nn.Conv2d(3, 6, 3), (2, 3, 5, 5)),
    "transposed": (nn.ConvTranspose2d(3, 6, 3), (2, 3, 5, 5)),
    "volume": (nn.Conv3d(3, 6, 1), (2, 3, 2, 2, 2)),
    "linear": (nn.Linear(3, 6), (2, 3)),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_kept_outputs_are_those_of_before_and_all_come_back(kind):
    layer, shape = copy.deepcopy(OUTPUTS[kind][0]), OUTPUTS[kind][1]
    values, before = torch.randn(shape), OUTPUTS[kind][0](torch.zeros(shape)).shape
    whole = layer(values)
    undo = resize({(layer, "out"): KEPT})
    assert torch.allclose(layer(values), whole[:, KEPT], atol=1e-6)
    undo()
    assert torch.equal(layer(values), whole)
    assert whole.shape == before


INPUTS = {
    "convolution": (nn.Conv2d(6, 4, 3), (2, 6, 5, 5)),
    "in two groups": (nn.Conv2d(6, 4, 3, groups=2), (2, 6, 5, 5)),
    "transposed": (nn.ConvTranspose2d(6, 4, 3), (2, 6, 5, 5)),
    "linear": (nn.Linear(6, 4), (2, 6)),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_kept_inputs_are_all_that_is_read(kind):
    layer, values = copy.deepcopy(INPUTS[kind][0]), torch.randn(INPUTS[kind][1])
    whole, kept = layer(values), {(layer, "in"): KEPT}
    zeros = values.clone()
    zeros[:, [1, 4]] = 0
    with silenced(kept):
        assert torch.allclose(layer(values), layer(zeros), atol=1e-6)
        unread = layer(values)
    assert torch.equal(layer(values), whole)
    resize(kept)
    assert torch.allclose(layer(values[:, KEPT]), unread, atol=1e-6)


NORMS = {
    "batch": nn.BatchNorm2d(6),
    "instance": nn.InstanceNorm2d(6, affine=True),
    "all channels": nn.GroupNorm(1, 6),
    "two groups": nn.GroupNorm(2, 6),
    "each channel": nn.GroupNorm(6, 6),
    "neighbours": nn.LocalResponseNorm(3),
    "slopes": nn.PReLU(6),
}


@pytest.mark.parametrize("kind", NORMS)
def test_norms_take_their_statistics_over_what_is_kept(kind):
    norm, values = copy.deepcopy(NORMS[kind]).eval(), torch.randn(2, 6, 4, 4)
    whole, kept = norm(values), {(norm, "out"): KEPT}
    with silenced(kept):
        unread = norm(values)
    assert torch.equal(norm(values), whole)
    undo = resize(kept)
    assert torch.allclose(norm(values[:, KEPT]), unread[:, KEPT], atol=1e-6)
    undo()
    assert torch.equal(norm(values), whole)


def test_a_layer_norm_is_over_the_kept_ones():
    norm, values = nn.LayerNorm(6), torch.randn(2, 5, 6)
    kept = {(norm, "out"): KEPT}
    with silenced(kept):
        unread = norm(values)
    assert not unread[..., [1, 4]].any()
    resize(kept)
    assert norm.normalized_shape == (4,)
    assert torch.allclose(norm(values[..., KEPT]), unread[..., KEPT], atol=1e-6)
