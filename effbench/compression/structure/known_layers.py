"""Layers that can be followed as a whole: as modules, or by the operation that takes their weight.

A layer whose class does what torch's does is known by its call. Others (a convolution that pads first, a batch norm
with its activation, a forward that was replaced) are known where an operation of their kind takes their own weight;
what they do around it is followed as any other operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from effbench.compression.structure.edits import own_tensors

MAKERS = (_ConvNd, nn.Linear)
OVER_CHANNELS = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
"""These normalise over channels: what they give changes when a channel goes, even one that nothing reads."""
_PASSING = (_BatchNorm, _InstanceNorm, nn.PReLU, *OVER_CHANNELS)
_FORWARDS = tuple(kind.forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
                  nn.ConvTranspose3d, nn.Linear, _BatchNorm, _InstanceNorm, *_PASSING[2:]))  # fmt: skip

# The operations, in the forms that torch and its functional module have: where their weight stands, and whose it is.
_OPERATIONS: dict[Any, tuple[int, tuple[type[nn.Module], ...]]] = {
    **{getattr(torch, f"conv{n}d"): (1, (_ConvNd,)) for n in (1, 2, 3)},
    **{getattr(torch, f"conv_transpose{n}d"): (1, (_ConvNd,)) for n in (1, 2, 3)},
    F.linear: (1, (nn.Linear,)),
    F.batch_norm: (3, (_BatchNorm,)),
    torch.batch_norm: (1, (_BatchNorm,)),
    F.instance_norm: (3, (_InstanceNorm,)),
    torch.instance_norm: (1, (_InstanceNorm,)),
    F.layer_norm: (2, (nn.LayerNorm,)),
    torch.layer_norm: (2, (nn.LayerNorm,)),
    F.group_norm: (2, (nn.GroupNorm,)),
    torch.group_norm: (2, (nn.GroupNorm,)),
    torch.prelu: (1, (nn.PReLU,)),
}
_OWN = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}

Run = Callable[[str, nn.Module, Tensor, Callable[[], Tensor]], Tensor]
"""run(name, layer, its input, operation) -> the operation's result."""


def is_known(module: nn.Module, /) -> bool:
    """Whether a module is a layer that can be resized, and does what its class says."""
    if type(module).forward not in _FORWARDS or "forward" in vars(module):
        return False
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        return False
    return not isinstance(module, MAKERS) or isinstance(module._parameters.get("weight"), nn.Parameter)


class OperationsOfLayers(TorchFunctionMode):
    """While entered, `run` runs the operations that take the weight of a layer that is not known as a module."""

    def __init__(self, network: nn.Module, run: Run) -> None:
        super().__init__()
        self._run = run
        self._layers: dict[int, tuple[str, nn.Module]] = {
            id(module._parameters["weight"]): (name, module)
            for name, module in network.named_modules()
            if _has_weight(module) and not is_known(module)
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or let it be run as a layer's."""
        kwargs = kwargs or {}
        position, kinds = _OPERATIONS.get(func, (0, ()))
        if kinds and self._layers:
            weight = kwargs.get("weight", args[position] if len(args) > position else None)
            name, layer = self._layers.get(id(weight), ("", None))
            if isinstance(layer, kinds) and _groups(func, args, kwargs) in (None, getattr(layer, "groups", None)):
                given = args[0] if args else kwargs["input"]
                return self._run(name, layer, given, lambda: func(*args, **kwargs))
        return func(*args, **kwargs)


def _has_weight(module: nn.Module) -> bool:
    """Whether a module is a layer that has a weight, and no tensors that torch's class has not."""
    if not isinstance(module, (*MAKERS, *_PASSING)) or module._parameters.get("weight") is None:
        return False
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        return False
    return {name for name, _ in own_tensors(module)} <= _OWN


def _groups(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    """Return into how many groups a convolution divides its channels, None of another operation."""
    if _OPERATIONS[func][1] != (_ConvNd,):
        return None
    return int(kwargs.get("groups", args[6] if len(args) > 6 else 1))


def channel_dim(layer: nn.Module, given: Tensor, /) -> int:
    """Return which dimension of its input a layer, or its operation, takes for its channels."""
    if isinstance(layer, nn.Linear | nn.LayerNorm):
        return given.ndim - 1
    if isinstance(layer, _ConvNd):
        return given.ndim - 1 - len(layer.kernel_size)
    return min(1, given.ndim - 1)
