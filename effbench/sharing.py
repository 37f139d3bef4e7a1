"""A layer's weights replaced by a few shared values: what weight sharing and non-uniform quantisation both do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.codebook import Codebook, share_tensor
from effbench.constraints import bake_tensor
from effbench.kmeans import Initial, kmeans


def share_weight(
    layer: nn.Module, n_values: int, /, *, name: str, initial: Initial, generator: torch.Generator
) -> None:
    """Tie the weights of a layer to at most `n_values` values beside zero, found by k-means, in place.

    The values are then the means of their weights. Constraints that the weight had are settled first; a layer of zeros
    has no value to find, and keeps them. ValueError, with the layer's `name`, for a weight that is not finite.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not bool(torch.isfinite(weight).all()):
        raise ValueError(f"{name}: a weight that is not finite can't be shared; a lower lr of training may help")
    if bool((weight == 0).all()):
        return
    weights = weight.detach().cpu().double().numpy()
    clusters = kmeans(weights[weights != 0], n_values, initial=initial, generator=generator)
    codes = torch.from_numpy((clusters.labels(weights) + 1) * (weights != 0))
    codebook = Codebook(codes.to(weight.device), len(clusters.centroids))
    if parametrize.is_parametrized(layer, "weight"):
        bake_tensor(layer, "weight")
    share_tensor(layer, "weight", codebook)
