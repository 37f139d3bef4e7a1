"""A network under constraints, for the tests of what constraints do together."""

import pytest
import torch
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.layers import weight_layers


@pytest.fixture(params=["mask", "uniform", "both", "one bit after a mask"])
def constrained(request, toy_network):
    """A network whose weights carry constraints."""
    network = toy_network()
    for _, layer in weight_layers(network):
        if request.param != "uniform":
            mask = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
            parametrize.register_parametrization(layer, "weight", Mask(mask))
        if request.param != "mask":
            bits = 1 if request.param.startswith("one") else 3
            parametrize.register_parametrization(layer, "weight", UniformQuantizer(bits, scheme="affine"))
    return network.eval()
