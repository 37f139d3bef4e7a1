"""Masks that no training moves act after each step of the optimiser, instead of in every forward pass.

As a parametrization such a mask takes two products and some Python for every layer and step. What it makes of the
weight is the same when the weight itself is masked whenever it has changed: what the optimiser does with a weight
depends on that weight alone, and a masked one is zero again before anybody looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.masks import Mask


@contextmanager
def held_after_steps(model: nn.Module, /) -> Iterator[Callable[[], None]]:
    """While entered, the tensors that have a settled mask and no other constraint are plain parameters, masked.

    What it gives is to be called after every step. The networks before, meanwhile and afterwards compute the same;
    what was behind a mask is zero afterwards. Modules are not to be exchanged, copied or moved meanwhile. A parameter
    that two modules share is left alone: each may have a mask of its own.
    """
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    opened: list[tuple[nn.Module, type[nn.Module], str]] = []
    parameters: list[Tensor] = []
    masks: list[Tensor] = []

    def hold() -> None:
        if parameters:
            with torch.no_grad():
                torch._foreach_mul_(parameters, masks)

    try:
        for module in list(model.modules()):
            found = _only_mask(module)
            if found is not None and uses[id(found[1])] == 1:
                name, parameter, mask = found
                opened.append((module, type(module), name))
                _open(module, name, parameter)
                parameters.append(parameter)
                masks.append(mask.mask.to(parameter.dtype))
        hold()
        yield hold
    finally:
        for module, kind, name in opened:
            del module._parameters[name]
            module.__class__ = kind


def _only_mask(module: nn.Module) -> tuple[str, nn.Parameter, Mask] | None:
    """Return the tensor's name, its parameter and its mask where the module has one constraint, a settled mask."""
    stacks = module.parametrizations if parametrize.is_parametrized(module) else None
    if not isinstance(stacks, nn.ModuleDict) or len(stacks) != 1:
        return None
    ((name, stack),) = stacks.items()
    assert isinstance(stack, parametrize.ParametrizationList)
    mask, parameter = stack[0], stack.original
    if len(stack) == 1 and isinstance(mask, Mask) and mask.settled and isinstance(parameter, nn.Parameter):
        return name, parameter, mask
    return None


def _open(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Let the module have the parameter itself in the place of what the constraint makes of it."""
    # torch made a class for the module, with a property for the tensor; the one before has a parameter there.
    module.__class__ = type(module).__bases__[0]
    module.register_parameter(name, parameter)
