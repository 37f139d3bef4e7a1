"""Masks that no training moves act after each step of the optimiser, instead of in every forward pass.

As a parametrization such a mask takes two products and some Python for every layer and step. What it makes of the
weight is the same when the weight itself is masked whenever it has changed: what the optimiser does with a weight
depends on that weight alone, and a masked one is zero again before anything reads it.

The same but for rounding, that is: the product of a 1 x 1 weight and a mask has other strides than the weight, after
which a convolution may choose another kernel; and of a layer that runs twice in a forward pass, autocast adds the
gradients in bfloat16 where the weight is a parameter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constraints_on, parameter_behind


class HeldMasks:
    """The parameters that are held to a mask by what is called at each step."""

    def __init__(self) -> None:
        self.parameters: list[Tensor] = []
        self.masks: list[Tensor] = []

    def mask_weights(self) -> None:
        """Mask the parameters again: after every step."""
        if self.parameters:
            with torch.no_grad():
                torch._foreach_mul_(self.parameters, self.masks)

    def mask_gradients(self) -> None:
        """Give masked weights no gradient, as a parametrization does: where a step mixes the gradients of several."""
        for parameter, mask in zip(self.parameters, self.masks, strict=True):
            if parameter.grad is not None:
                parameter.grad.masked_fill_(mask == 0, 0)  # a product would leave NaN and infinity there


@contextmanager
def masked_after_steps(model: nn.Module, /) -> Iterator[HeldMasks]:
    """While entered, the tensors that have a settled mask and no other constraint are plain parameters, masked.

    What it gives is to mask the weights after every step. What was behind a mask is zero afterwards. The model is not
    to be copied, encoded or moved meanwhile, and its modules are not to be exchanged. A parameter whose memory another
    one has, too, is left alone: each may have a mask of its own.
    """
    uses = Counter(_memory(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    plain: list[tuple[nn.Module, type[nn.Module], str]] = []
    held_masks = HeldMasks()
    try:
        for module in list(model.modules()):
            held = _find_only_mask(module)
            if held is not None and uses[_memory(held[1])] == 1:
                name, parameter, mask = held
                with torch.no_grad():
                    parameter.masked_fill_(~mask, 0)  # a product would leave NaN and infinity there
                plain.append((module, type(module), name))
                # The class before torch's, which has a property in the place of the parameter.
                module.__class__ = parametrize.type_before_parametrizations(module)
                module.register_parameter(name, parameter)
                held_masks.parameters.append(parameter)
                held_masks.masks.append(mask.to(parameter.dtype))
        yield held_masks
    finally:
        for module, kind, name in plain:
            module._parameters.pop(name, None)
            module.__class__ = kind


def _memory(parameter: Tensor) -> int:
    return parameter.untyped_storage().data_ptr()


def _find_only_mask(module: nn.Module) -> tuple[str, nn.Parameter, Tensor] | None:
    """Return the tensor's name, its parameter and its mask where the module has one constraint, a settled mask."""
    if not parametrize.is_parametrized(module) or len(module.parametrizations) != 1:  # type: ignore[arg-type]
        return None
    (name,) = module.parametrizations  # type: ignore[misc]
    constraint, *others = constraints_on(module, name)
    if others or not isinstance(constraint, Mask) or not constraint.settled:
        return None
    parameter = parameter_behind(module, name)
    return (name, parameter, constraint.mask) if isinstance(parameter, nn.Parameter) else None
