"""Batch norm, pooling and ReLU in one pass over the maps, where a network runs on one thread of a processor.

PyTorch normalises channels-last maps pixel by pixel: with the 8 or 16 channels of a network for small devices most of
a register stays empty, and norm, pooling and ReLU each go over the whole map, forward and backward. Here the maps are
read as rows of many pixels, and once for all three. The network's own modules, with their names and parameters, stay
where they are: for a while `nn.Sequential` runs them in another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_DTYPES = (torch.float32, torch.bfloat16)


@contextmanager
def fused(model: nn.Module, /) -> Iterator[None]:
    """While entered, every `nn.Sequential` of `model` runs its batch norms with what follows them in one pass.

    What follows may be a ReLU, a max-pooling of 2, or both in either order. The results are those of the modules, but
    for rounding (nothing is rounded to bfloat16 between them) and for which of several equal values in a pooling's
    window gets the gradient; they can be differentiated once. The modules run as they are where that is not possible:
    on several threads, on another device, in another layout or dtype than channels-last float32 and bfloat16, in
    evaluation mode where a gradient is wanted, and where a module has hooks or a forward of its own. Modules are not
    to be exchanged or copied meanwhile.
    """
    changed = []
    try:
        for module in model.modules():
            # Within another `fused` it has a forward of its own already.
            if isinstance(module, nn.Sequential) and _runs_as_written(module, nn.Sequential):
                runs = _runs_of(module)
                if any(isinstance(run, _Run) for run in runs):
                    module.forward = partial(_forward, runs)  # type: ignore[method-assign]
                    changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


@dataclass(frozen=True)
class _Run:
    """A batch norm and the modules after it that are run with it."""

    norm: nn.BatchNorm2d
    others: tuple[nn.Module, ...]

    @property
    def pools(self) -> bool:
        return any(isinstance(module, nn.MaxPool2d) for module in self.others)

    @property
    def floor(self) -> float:
        return 0.0 if any(isinstance(module, nn.ReLU) for module in self.others) else -math.inf

    def __call__(self, maps: Tensor) -> Tensor:
        if self._fits(maps):
            if not self.norm.training:
                return self._evaluated(maps)
            output: Tensor = _NormPoolReLU.apply(maps, self.norm.weight, self.norm.bias, self)
            return output
        for module in (self.norm, *self.others):
            maps = module(maps)
        return maps

    def _fits(self, maps: Tensor) -> bool:
        norm = self.norm
        state = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        return (
            type(maps) is Tensor
            and maps.device.type == "cpu"
            and maps.dtype in _DTYPES
            and maps.ndim == 4
            and maps.is_contiguous(memory_format=torch.channels_last)
            and min(maps.shape[2:]) >= (2 if self.pools else 1)
            and maps.numel() > maps.shape[1]  # a norm that trains refuses a single value a channel
            and all(isinstance(t, Tensor) and t.dtype == torch.float32 and len(t) == maps.shape[1] for t in state)
            and norm.momentum is not None
            and norm.eps > 0
            and (norm.training or not torch.is_grad_enabled())
            and torch.get_num_threads() == 1
            and not any(_is_heard(module) for module in (norm, *self.others))
        )

    def _evaluated(self, maps: Tensor) -> Tensor:
        """Return what the running statistics make of the maps."""
        from effbench.training import fused_kernels as kernels

        norm, output = self.norm, self.room(maps)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - scale * norm.running_mean.double()
        vectors = torch.stack([scale, shift]).numpy()
        kernels.apply(_pixels(maps), vectors, np.float32(self.floor), self.pools, _pixels(output))
        return output

    def room(self, maps: Tensor) -> Tensor:
        """Return room for what comes out."""
        return _empty(maps, *(side // 2 if self.pools else side for side in maps.shape[2:]))


def _is_heard(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _runs_as_written(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether the module's forward is that of `kind`."""
    return type(module).forward is kind.forward and "forward" not in vars(module)


def _forward(runs: tuple[nn.Module | _Run, ...], input: Any) -> Any:
    for run in runs:
        input = run(input)
    return input


def _runs_of(modules: nn.Sequential) -> tuple[nn.Module | _Run, ...]:
    """Return the modules, each batch norm together with those after it that can be run with it."""
    found: list[nn.Module | _Run] = []
    for module in modules:
        last = found[-1] if found else None
        if isinstance(module, nn.BatchNorm2d) and _runs_as_written(module, nn.BatchNorm2d):
            found.append(_Run(module, ()))
        elif isinstance(last, _Run) and _goes_along(module, last):
            found[-1] = _Run(last.norm, (*last.others, module))
        else:
            found.append(module)
    return tuple(found)


def _goes_along(module: nn.Module, run: _Run) -> bool:
    if any(type(other) is type(module) for other in run.others):
        return False
    if isinstance(module, nn.ReLU):
        return _runs_as_written(module, nn.ReLU)
    if not isinstance(module, nn.MaxPool2d) or module.return_indices or module.ceil_mode:
        return False
    sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
    is_of_2 = sizes in ((2, 2, 0, 1), ((2, 2), (2, 2), (0, 0), (1, 1)))
    return is_of_2 and _runs_as_written(module, nn.MaxPool2d)


class _NormPoolReLU(torch.autograd.Function):
    """Batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1 and the gradients of section 3) and what follows.

    The maps are (N, C, H, W), channels-last; what comes out is as large, or half as large on each side.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, run: _Run) -> Tensor:
        from effbench.training import fused_kernels as kernels

        norm, pools, floor = run.norm, run.pools, np.float32(run.floor)
        assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        output = run.room(maps)
        affine = weight.detach().numpy(), bias.detach().numpy()
        running = norm.running_mean.numpy(), norm.running_var.numpy()
        found = kernels.forward(_pixels(maps), affine, running, norm.momentum, norm.eps, floor, pools, _pixels(output))
        ctx.save_for_backward(maps)
        ctx.found, ctx.floor, ctx.pools = found, floor, pools
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        from effbench.training import fused_kernels as kernels

        (maps,) = ctx.saved_tensors
        of_output = _pixels(gradient.contiguous(memory_format=torch.channels_last))
        of_maps = _empty(maps, *maps.shape[2:])
        of_affine = kernels.backward(_pixels(maps), of_output, ctx.found, ctx.floor, ctx.pools, _pixels(of_maps))
        of_weight, of_bias = torch.from_numpy(of_affine)
        return of_maps, of_weight, of_bias, None


def _pixels(maps: Tensor) -> NDArray[Any]:
    """Return the values as (N, H, W, C), in the same memory: float32, or bfloat16's bits as uint16."""
    values = maps.detach().permute(0, 2, 3, 1)
    if maps.dtype == torch.bfloat16:
        return values.view(torch.int16).numpy().view(np.uint16)
    return values.numpy()


def _empty(like: Tensor, height: int, width: int) -> Tensor:
    shape = (*like.shape[:2], height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
