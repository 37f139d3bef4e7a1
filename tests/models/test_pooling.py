import pytest
import torch
from torch import nn

from effbench.models.pooling import GlobalAveragePool


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 5)])
def test_means_and_gradients_are_those_of_adaptive_pooling(memory_format, size):
    maps = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
    ours, theirs = (maps.clone(memory_format=torch.preserve_format).requires_grad_() for _ in range(2))
    outputs, expected = GlobalAveragePool().train()(ours), nn.AdaptiveAvgPool2d(1)(theirs)
    assert outputs.shape == (2, 6, 1, 1)
    assert torch.allclose(outputs, expected, atol=1e-6)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_in_training_the_gradient_keeps_the_layout_of_the_maps():
    gradients = []
    maps = torch.randn(2, 6, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    doubled = 2 * maps
    doubled.register_hook(gradients.append)
    GlobalAveragePool().train()(doubled).sum().backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)
