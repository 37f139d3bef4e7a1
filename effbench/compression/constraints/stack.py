"""The constraints on a tensor: which there are, how one is added, what they make of it, how they end.

Constraints stack: the one registered last receives what the earlier ones made of the tensor.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, SharedTensor
from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import QuantizedTensor, UniformQuantizer


def constraints_on(module: nn.Module, tensor_name: str) -> tuple[nn.Module, ...]:
    """Return the constraints on a tensor, in the order in which they act; none for a plain tensor."""
    return tuple(_stack(module, tensor_name)) if parametrize.is_parametrized(module, tensor_name) else ()


def parameter_behind(module: nn.Module, tensor_name: str) -> Tensor:
    """Return the parameter itself: of a constrained tensor, the one that the first constraint receives."""
    constrained = parametrize.is_parametrized(module, tensor_name)
    parameter = _stack(module, tensor_name).original if constrained else getattr(module, tensor_name)
    assert isinstance(parameter, Tensor)
    return parameter


def quantizer_of(module: nn.Module, tensor_name: str) -> UniformQuantizer | None:
    """Return the quantiser that has the last word on a tensor, if there is one."""
    last = next(reversed(constraints_on(module, tensor_name)), None)
    return last if isinstance(last, UniformQuantizer) else None


def constrained_input(module: nn.Module, tensor_name: str) -> Tensor:
    """Return what the last constraint on a tensor receives: the original, after the earlier constraints."""
    stack = _stack(module, tensor_name)
    return _input_at(stack, len(stack) - 1)


def hold(layer: nn.Module, mask: Mask) -> None:
    """Hold a layer's weight to `mask`, beside what holds it already.

    A fixed mask that is there is tightened. Where the new one moves with the training it takes that one's place, and
    what that one held is zero for good: the new mask may only choose among the others.
    """
    mask = mask.to(layer.weight.device)  # type: ignore[arg-type]
    for position, earlier in enumerate(constraints_on(layer, "weight")):
        if isinstance(earlier, Mask) and earlier.settled:
            if not isinstance(mask, RampedMask):
                earlier.mask &= mask.mask
                return
            if position == 0:
                stack = _stack(layer, "weight")
                with torch.no_grad():
                    stack.original *= earlier.mask
                stack[0] = mask
                return
    parametrize.register_parametrization(layer, "weight", mask)


def advance(model: nn.Module, step: int, n_steps: int) -> None:
    """Tell every constraint that follows the training (has a method `advance`) where it stands: see `advancing`."""
    advancing(model)(step, n_steps)


def advancing(model: nn.Module) -> Callable[[int, int], None]:
    """Return what tells every constraint that follows the training (has a method `advance`) where it stands.

    It takes how many steps are done, and how many there are; a constraint is told also what it receives, after the
    earlier ones. It holds while the network keeps its constraints.
    """
    following = [
        (stack, position)
        for module in model.modules()
        if parametrize.is_parametrized(module)
        for stack in module.parametrizations.values()  # type: ignore[operator]
        for position, constraint in enumerate(stack)
        if hasattr(constraint, "advance")
    ]

    def advance_all(step: int, n_steps: int) -> None:
        for stack, position in following:
            stack[position].advance(_input_at(stack, position), step, n_steps)

    return advance_all


def native_form(module: nn.Module, tensor_name: str) -> QuantizedTensor | SharedTensor | None:
    """Return a tensor in the form in which its constraints have it stored; None where that is the plain tensor.

    A quantiser with the last word gives codes on its grid, a codebook its codes; masks after the codebook make zeros.
    """
    quantizer = quantizer_of(module, tensor_name)
    if quantizer is not None:
        return quantizer.quantize(constrained_input(module, tensor_name))
    first, *others = constraints_on(module, tensor_name) or (None,)
    masks = [constraint.mask for constraint in others if isinstance(constraint, Mask)]
    if not isinstance(first, Codebook) or len(masks) < len(others):
        return None
    stored = first.stored(parameter_behind(module, tensor_name))
    return SharedTensor(codes=math.prod(masks, start=stored.codes), values=stored.values)


def bake(model: nn.Module) -> nn.Module:
    """Return a copy whose constrained tensors are plain parameters that hold the constrained values."""
    baked = copy.deepcopy(model)
    for module in baked.modules():
        if parametrize.is_parametrized(module):
            for tensor_name in list(module.parametrizations):  # type: ignore[arg-type]
                bake_tensor(module, tensor_name)
    return baked


def bake_tensor(module: nn.Module, tensor_name: str) -> None:
    """Make a constrained tensor, in place, a plain parameter that holds the constrained values."""
    # A copy shares its class with the original, and torch removes a tensor's property from the class.
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
    with torch.no_grad():
        parametrize.remove_parametrizations(module, tensor_name, leave_parametrized=True)


def _stack(module: nn.Module, tensor_name: str) -> parametrize.ParametrizationList:
    stacks = module.parametrizations
    assert isinstance(stacks, nn.ModuleDict)
    stack = stacks[tensor_name]
    assert isinstance(stack, parametrize.ParametrizationList)
    return stack


def _input_at(stack: parametrize.ParametrizationList, position: int) -> Tensor:
    """Return what the constraint at a place in the stack receives."""
    value = stack.original.detach()
    assert isinstance(value, Tensor)
    with torch.no_grad():
        for constraint in list(stack)[:position]:
            value = constraint(value)
    return value
