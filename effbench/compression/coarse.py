"""Small parameters, of normalisations and biases, with as few bits as they need: plain floats that end in zeros.

An entropy coder pays for what a float says: one with few bits below its leading one takes few.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from effbench.compression.constraints.stack import constraints_on, parameter_behind
from effbench.compression.layers import parameter_names

_LEAST = 2.0**-100


def rounded_to(values: Tensor, sizes: Tensor, share: float, /) -> Tensor:
    """Return values rounded to multiples of a power of two near `share * sizes`, in their type; share 0: as they are.

    sizes: broadcasts to the values: what an error is measured by.

    >>> rounded_to(torch.tensor([0.3, 1.3]), torch.tensor(1.0), 0.25)
    tensor([0.2500, 1.2500])
    """
    if share == 0:
        return values
    quantum = torch.exp2(torch.round(torch.log2((share * sizes.abs().double()).clamp(min=_LEAST))))
    return (torch.round(values.double() / quantum) * quantum).to(values.dtype)


def store_coarsely(network: nn.Module, share: float, /) -> nn.Module:
    """Return the network, in place, with small parameters that take few bits; share 0: as it is.

    Batch norms become scale and shift (`settle_norm`); biases and other small parameters are rounded to `share` of
    their root mean square.
    """
    if share == 0:
        return network
    for parameter in small_parameters(network):
        values = parameter.detach()
        with torch.no_grad():
            parameter.copy_(rounded_to(values, values.double().square().mean().sqrt(), share))
    for norm in network.modules():
        if can_settle(norm):
            settle_norm(norm, share)
    return network


def settle_norm(norm: _NormBase, share: float, /) -> None:
    """Give a norm mean 0 and variance 1, in place: its scale and shift alone are the same function, in evaluation.

    Both are rounded, the scale to `share` of itself, the shift to `share` of what its outputs vary by. What trains
    afterwards would divide by a variance twice: it is for networks that are done.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    deviation = torch.sqrt(norm.running_var.double() + norm.eps)
    mean = norm.running_mean.double()
    own = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    scale = rounded_to(own / deviation, own / deviation, share).float()
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    with torch.no_grad():
        norm.weight.copy_(scale)
        norm.bias.copy_(rounded_to(shift, own, share))
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)


def can_settle(norm: nn.Module, /) -> TypeGuard[_NormBase]:
    """Whether a module is a norm with running statistics, and scale and shift of its own under no constraint."""
    if not isinstance(norm, _NormBase) or norm.running_mean is None or norm.weight is None or norm.bias is None:
        return False
    return not constraints_on(norm, "weight") and not constraints_on(norm, "bias")


def small_parameters(network: nn.Module, /) -> list[Tensor]:
    """Return the parameters of at most one dimension that are floats and under no constraint, each once, but norms'."""
    found: dict[int, Tensor] = {}
    for module in network.modules():
        if can_settle(module):
            continue
        for name in parameter_names(module):
            if not constraints_on(module, name):
                tensor = parameter_behind(module, name)
                if tensor.ndim < 2 and tensor.is_floating_point():
                    found[id(tensor)] = tensor
    return list(found.values())
