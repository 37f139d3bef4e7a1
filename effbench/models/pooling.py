"""Global average pooling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class GlobalAveragePool(nn.Module):
    """The mean of each channel's map: (N, C, H, W) to (N, C, 1, 1), for maps of any side.

    As nn.AdaptiveAvgPool2d(1), whose gradient comes in PyTorch's default layout whatever the input's is: the layers
    before it would then go backward through strided copies, in a channels-last network.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return the means."""
        return F.avg_pool2d(maps, maps.shape[-2:])
