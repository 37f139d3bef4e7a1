"""Global average pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlobalAveragePool(nn.Module):
    """The mean of each channel's map: (N, C, H, W) to (N, C, 1, 1), for maps of any side.

    As nn.AdaptiveAvgPool2d(1), whose gradient comes in PyTorch's default layout whatever the input's is: the layers
    before it would then go backward through strided copies, in a channels-last network.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return the means."""
        if self.training and maps.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):
            # Over the pixels of (N, H × W, C): the gradient is made in the layout of the maps.
            return maps.permute(0, 2, 3, 1).flatten(1, 2).mean(1)[:, :, None, None]
        return maps.mean((2, 3), keepdim=True)
