"""Batch norm, pooling and ReLU in one pass over the maps, where a network runs on one thread of a processor.

PyTorch normalises channels-last maps pixel by pixel: with the 8 or 16 channels of a network for small devices most of
a register stays empty, and norm, pooling and ReLU each go over the whole map, forward and backward. Here the maps are
read as rows of many pixels, and once for all three. The network's own modules, with their names and parameters, stay
where they are: for a while `nn.Sequential` runs them in another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_DTYPES = (torch.float32, torch.bfloat16)
_Vector = NDArray[np.float32]
_Vectors = tuple[_Vector, _Vector, _Vector, _Vector]


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
                passes = _find_passes(module)
                if any(isinstance(part, _Pass) for part in passes):
                    module.forward = partial(_forward, passes)  # type: ignore[method-assign]
                    changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


class _Pass:
    """One pass over the maps for a batch norm and the modules after it.

    All of it but the loops is Python that runs between them, when the processor's caches hold maps: it is kept short.
    """

    def __init__(self, norm: nn.BatchNorm2d, *others: nn.Module) -> None:
        self.norm = norm
        self.modules = (norm, *others)
        self.pools = any(isinstance(module, nn.MaxPool2d) for module in others)
        self.floor = np.float32(0 if any(isinstance(module, nn.ReLU) for module in others) else -np.inf)
        self._addresses: tuple[int, ...] = ()
        self._shape: tuple[int, ...] = ()
        self._arrays: _Vectors | None = None

    def __call__(self, maps: Tensor) -> Tensor:
        vectors = self._vectors() if self._fits(maps) else None
        if vectors is None or len(vectors[0]) != maps.shape[1]:
            for module in self.modules:
                maps = module(maps)
            return maps
        if not self.norm.training:
            return self._evaluated(maps, vectors)
        output: Tensor = _NormPoolReLU.apply(maps, self.norm.weight, self.norm.bias, vectors, self)
        return output

    def _fits(self, maps: Tensor) -> bool:
        if not (type(maps) is Tensor and maps.ndim == 4 and maps.is_cpu and maps.dtype in _DTYPES):
            return False
        norm, (n_maps, _, height, width) = self.norm, maps.shape
        return (
            maps.is_contiguous(memory_format=torch.channels_last)
            and (height > 1 < width if self.pools else height > 0 < width)
            and n_maps * height * width > 1  # a norm that trains refuses a single value a channel
            and norm.momentum is not None
            and norm.eps > 0
            and (norm.training or not torch.is_grad_enabled())
            and torch.get_num_threads() == 1
            and not any(map(_has_hooks, self.modules))
        )

    def _vectors(self) -> _Vectors | None:
        """Return weight, bias, running mean and variance in the memory that they have; None where they don't fit."""
        norm = self.norm
        weight, bias, mean, variance = norm.weight, norm.bias, norm.running_mean, norm.running_var
        if weight is None or bias is None or mean is None or variance is None:
            return None
        addresses = (weight.data_ptr(), bias.data_ptr(), mean.data_ptr(), variance.data_ptr())
        if addresses != self._addresses or weight.shape != self._shape:
            tensors = (weight.detach(), bias.detach(), mean, variance)
            fit = all(t.dtype == torch.float32 and t.shape == weight.shape and t.is_contiguous() for t in tensors)
            # While the arrays are kept, so is their memory: no other tensor comes to these addresses.
            self._arrays = cast(_Vectors, tuple(tensor.numpy() for tensor in tensors)) if fit else None
            self._addresses, self._shape = addresses, weight.shape
        return self._arrays

    def _evaluated(self, maps: Tensor, vectors: _Vectors) -> Tensor:
        """Return what the running statistics make of the maps."""
        weight, bias, mean, variance = (vector.astype(np.float64) for vector in vectors)
        scale = weight / np.sqrt(variance + self.norm.eps)
        output = self.empty_output(maps)
        affine = np.stack([scale, bias - scale * mean])
        _kernels().apply(_pixels(maps), affine, self.floor, self.pools, _pixels(output))
        return output

    def empty_output(self, maps: Tensor) -> Tensor:
        """Return an output for maps, without values."""
        n_maps, channels, height, width = maps.shape
        return _empty(maps, (n_maps, channels, height // 2, width // 2) if self.pools else maps.shape)


@cache
def _kernels() -> ModuleType:
    """Return the loops, loaded when they are first wanted."""
    from effbench.compression.structure import fused_kernels

    return fused_kernels


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _runs_as_written(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether the module's forward is that of `kind`."""
    return type(module).forward is kind.forward and "forward" not in vars(module)


def _forward(passes: tuple[nn.Module | _Pass, ...], maps: Any) -> Any:
    for part in passes:
        maps = part(maps)
    return maps


def _find_passes(modules: nn.Sequential) -> tuple[nn.Module | _Pass, ...]:
    """Return the modules, each batch norm in one pass with those after it that can join."""
    passes: list[nn.Module | _Pass] = []
    for module in modules:
        last = passes[-1] if passes else None
        if isinstance(module, nn.BatchNorm2d) and _runs_as_written(module, nn.BatchNorm2d):
            passes.append(_Pass(module))
        elif isinstance(last, _Pass) and _can_join(module, last):
            passes[-1] = _Pass(last.norm, *last.modules[1:], module)
        else:
            passes.append(module)
    return tuple(passes)


def _can_join(module: nn.Module, fused_pass: _Pass) -> bool:
    """Whether a module can be run in one pass with the batch norm before it."""
    if any(type(other) is type(module) for other in fused_pass.modules):
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
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, vectors: _Vectors, fused_pass: _Pass) -> Tensor:
        norm, output = fused_pass.norm, fused_pass.empty_output(maps)
        assert norm.momentum is not None and norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        affine, running = vectors[:2], vectors[2:]
        ctx.normaliser = _kernels().forward(
            _pixels(maps), affine, running, norm.momentum, norm.eps, fused_pass.floor, fused_pass.pools, _pixels(output)
        )
        ctx.save_for_backward(maps)
        ctx.fused_pass = fused_pass
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (maps,), fused_pass = ctx.saved_tensors, ctx.fused_pass
        of_output = _pixels(gradient.contiguous(memory_format=torch.channels_last))
        of_maps = _empty(maps, maps.shape)
        gradients = _kernels().backward(
            _pixels(maps), of_output, ctx.normaliser, fused_pass.floor, fused_pass.pools, _pixels(of_maps)
        )
        of_affine = torch.from_numpy(gradients)
        return of_maps, of_affine[0], of_affine[1], None, None


def _pixels(maps: Tensor) -> NDArray[Any]:
    """Return the values as (N, H, W, C), in the same memory: float32, or bfloat16's bits. Call it under no_grad."""
    values = maps.permute(0, 2, 3, 1)
    return (values.view(torch.uint16) if maps.dtype == torch.bfloat16 else values).numpy()


def _empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="cpu", memory_format=torch.channels_last)
