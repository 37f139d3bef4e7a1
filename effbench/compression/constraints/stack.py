"""The constraints on a tensor: which there are, how one is added, what they make of it, how they end.

Constraints stack: the one registered last receives what the earlier ones made of the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.classes import own_class
from effbench.compression.constraints.codebook import Codebook, SharedTensor
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.masks import Mask, RampedMask
from effbench.compression.constraints.quantizer import QuantizedTensor, UniformQuantizer
from effbench.compression.constraints.recurrent import read_constrained, read_plain
from effbench.compression.modes import evaluating

Place = tuple[nn.Module, str]
"""A module and the name of a tensor in it."""


def constraints_on(module: nn.Module, tensor_name: str) -> tuple[nn.Module, ...]:
    """Return the constraints on a tensor, in the order in which they act; none for a plain tensor."""
    return tuple(_stack(module, tensor_name)) if parametrize.is_parametrized(module, tensor_name) else ()


def originals(module: nn.Module, tensor_name: str) -> tuple[Tensor, ...]:
    """Return what a tensor is made of: itself, or of a constrained one what the first constraint receives.

    One tensor, but for constraints of torch's that make a tensor of several.
    """
    if not parametrize.is_parametrized(module, tensor_name):
        return (getattr(module, tensor_name),)
    stack = _stack(module, tensor_name)
    return (*stack._parameters.values(), *stack._buffers.values())  # type: ignore[arg-type]


def parameter_behind(module: nn.Module, tensor_name: str) -> Tensor:
    """Return the parameter itself: of a constrained tensor, the one that the first constraint receives."""
    (parameter,) = originals(module, tensor_name)
    return parameter


def constrained_value(module: nn.Module, tensor_name: str) -> Tensor:
    """Return a tensor as evaluation has it, after its constraints, detached; no state of a constraint moves."""
    if not parametrize.is_parametrized(module, tensor_name):
        value = getattr(module, tensor_name)
    else:
        with torch.no_grad(), evaluating(_stack(module, tensor_name)):
            value = getattr(module, tensor_name)
    assert isinstance(value, Tensor), tensor_name
    return value.detach()


def quantizer_of(module: nn.Module, tensor_name: str) -> UniformQuantizer | None:
    """Return the quantiser that has the last word on a tensor, if there is one."""
    last = next(reversed(constraints_on(module, tensor_name)), None)
    return last if isinstance(last, UniformQuantizer) else None


def constrained_input(module: nn.Module, tensor_name: str) -> Tensor:
    """Return what the last constraint on a tensor receives: the original, after the earlier constraints."""
    stack = _stack(module, tensor_name)
    return _input_at(stack, len(stack) - 1)


def register(module: nn.Module, tensor_name: str, constraint: nn.Module) -> None:
    """Add a constraint to a tensor, after those that it has.

    The same constraint on every place of a tied parameter keeps it tied.
    """
    if not constraints_on(module, tensor_name):
        own_class(module)
    with evaluating(_stack(module, tensor_name)) if constraints_on(module, tensor_name) else nullcontext():
        parametrize.register_parametrization(module, tensor_name, constraint)
    read_constrained(module)


def exchange_last(module: nn.Module, tensor_name: str, constraint: nn.Module) -> None:
    """Put a constraint in the place of the last one on a tensor."""
    stack = _stack(module, tensor_name)
    stack[len(stack) - 1] = constraint


def hold(layer: nn.Module, mask: Mask, tensor_name: str = "weight") -> None:
    """Hold a layer's tensor to `mask`, beside what holds it already.

    A fixed mask that is there is tightened. Where the new one moves with the training it takes that one's place, and
    what that one held is zero for good: the new mask may only choose among the others.
    """
    mask = mask.to(originals(layer, tensor_name)[0].device)
    for position, earlier in enumerate(constraints_on(layer, tensor_name)):
        if isinstance(earlier, Mask) and earlier.settled:
            if not isinstance(mask, RampedMask):
                earlier.mask &= mask.mask
                return
            if position == 0:
                stack = _stack(layer, tensor_name)
                with torch.no_grad():
                    stack.original *= earlier.mask
                stack[0] = mask
                return
    register(layer, tensor_name, mask)


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
    """Return a copy whose constrained tensors are plain parameters that hold the constrained values.

    What is tied, and has the same constraints in all its places, stays tied.
    """
    baked = copy_network(model)
    tied: dict[tuple[object, ...], list[Place]] = {}
    for module in baked.modules():
        if parametrize.is_parametrized(module):
            for tensor_name in module.parametrizations:  # type: ignore[union-attr]
                behind = (*originals(module, tensor_name), *constraints_on(module, tensor_name))
                tied.setdefault(tuple(map(id, behind)), []).append((module, tensor_name))
    for places in tied.values():
        bake_tensor(*places[0], also=places[1:])
    return baked


def bake_tensor(module: nn.Module, tensor_name: str, *, also: Sequence[Place] = ()) -> None:
    """Make a constrained tensor, in place, a plain parameter that holds the constrained values.

    also: other places of the same tensor, under the same constraints; the parameter stands there, too. A place that is
    not named keeps its values.
    """
    behind = originals(module, tensor_name)
    value = constrained_value(module, tensor_name)
    if all(tensor.is_contiguous() for tensor in behind):
        # As it comes back from a file: torch's orthogonal makes columns, which multiply with other last bits.
        value = value.contiguous()
    if any(value.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr() for tensor in behind):
        value = value.clone()
    is_parameter = any(isinstance(tensor, nn.Parameter) for tensor in behind)
    is_trained = any(tensor.requires_grad for tensor in behind)
    plain = nn.Parameter(value, requires_grad=is_trained) if is_parameter else value
    for place, name in ((module, tensor_name), *also):
        _replace_constrained(place, name, plain)


def _replace_constrained(module: nn.Module, tensor_name: str, plain: Tensor) -> None:
    stacks = module.parametrizations
    assert isinstance(stacks, nn.ModuleDict)
    plain_class = parametrize.type_before_parametrizations(module)
    del stacks[tensor_name]
    if len(stacks):
        own_class(module, without=tensor_name)
    else:
        module.__class__ = plain_class
        del module.parametrizations
    if isinstance(plain, nn.Parameter):
        module.register_parameter(tensor_name, plain)
    else:
        module.register_buffer(tensor_name, plain)
    read_plain(module)


def _stack(module: nn.Module, tensor_name: str) -> parametrize.ParametrizationList:
    stacks = module.parametrizations
    assert isinstance(stacks, nn.ModuleDict)
    stack = stacks[tensor_name]
    assert isinstance(stack, parametrize.ParametrizationList)
    return stack


def _input_at(stack: parametrize.ParametrizationList, position: int) -> Tensor:
    """Return what the constraint at a place in the stack receives."""
    values = [*stack._parameters.values(), *stack._buffers.values()]
    with torch.no_grad(), evaluating(stack):
        for constraint in list(stack)[:position]:
            values = [constraint(*values)]
    (value,) = values
    assert isinstance(value, Tensor)
    return value.detach()
