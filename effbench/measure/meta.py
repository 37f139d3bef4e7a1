"""A model's double on the meta device, where tensors have a shape and no memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.duplicate import duplicate


def meta_double(model: nn.Module, constrained: dict[tuple[str, str], Tensor], /) -> nn.Module:
    """Return a copy of `model` in eval mode whose tensors are on the meta device; `model` is left alone.

    No weight is copied: tensors are replaced while the structure is. `constrained` has the meta tensors that stand for
    constrained ones, by the names of module and tensor: constraints look at values, so the double has none.
    """
    replaced: dict[int, object] = {}
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
            if isinstance(tensor, Tensor):
                replaced[id(tensor)] = _on_meta(tensor)
    double = duplicate(model, replaced)
    _drop_constraints(double)
    for (layer, tensor_name), stand_in in constrained.items():
        setattr(double.get_submodule(layer), tensor_name, nn.Parameter(stand_in, requires_grad=False))
    return double.eval()


def _on_meta(tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape, dtype and layout without values; a parameter stays a parameter."""
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def _drop_constraints(model: nn.Module) -> None:
    """Give every parametrized module its own class back, without the tensors that were parametrized."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
