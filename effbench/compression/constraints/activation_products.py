"""Products of activations with each other, as attention has: what goes into them is on grids.

No layer takes these activations, and no tensor holds them: a module whose own forward pass multiplies them is run with
another one, in which each operand of each product is rounded before. The products are matrix products in whatever form
(`F.scaled_dot_product_attention`, which is two, with a softmax between; `nn.MultiheadAttention`; matmul, bmm, einsum).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from effbench.compression.attention_calls import OPERATIONS, CallsInside, arguments_of
from effbench.compression.modes import evaluating

Operand = Callable[[int, Tensor], Tensor]
"""operand(number, values) -> what is multiplied. Operands are counted through a forward pass, from 0, as they come."""

_PRODUCTS: dict[Any, int] = {
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm), 0),
    **dict.fromkeys((torch.baddbmm, Tensor.baddbmm), 1),
    torch.einsum: 1,
}
"""Where the first of the two operands stands among the arguments."""
_FEWEST_DIMS = 3
"""Of an operand: with fewer, one of the two is a weight."""


class Products(CallsInside):
    """While entered, both operands of each product of two activations are what `operand` makes of them."""

    def __init__(self, operand: Operand) -> None:
        super().__init__()
        self._operand = operand
        self.n_operands = 0

    def see(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], /) -> Any:
        """Run an operation."""
        if function is F.scaled_dot_product_attention:
            return attention_of(**arguments_of(args, kwargs), operand=self.next)
        first = _PRODUCTS.get(function)
        if first is None:
            return function(*args, **kwargs)
        operands = args[first : first + 2]
        if len(operands) < 2 or any(not isinstance(one, Tensor) or one.ndim < _FEWEST_DIMS for one in operands):
            return function(*args, **kwargs)
        return function(*args[:first], *map(self.next, operands), *args[first + 2 :], **kwargs)

    def next(self, values: Tensor, /) -> Tensor:
        """Return what is multiplied in the place of the next operand."""
        self.n_operands += 1
        return self._operand(self.n_operands - 1, values)


def attention_of(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    operand: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return what `F.scaled_dot_product_attention` does, in steps: `operand` gives what is multiplied, four times.

    Who watches attention (`attention_calls`) sees it as that function.
    """
    if has_torch_function((query,)):
        given = (query, key, value, attn_mask, dropout_p, is_causal)
        outcome: Tensor = handle_torch_function(
            attention_of, (query,), *given, scale=scale, enable_gqa=enable_gqa, operand=operand
        )
        return outcome
    if enable_gqa:
        n_repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(n_repeats, -3), value.repeat_interleave(n_repeats, -3)
    scores = operand(query) @ operand(key).transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    shares = F.dropout(operand(scores.softmax(-1)), dropout_p) if dropout_p else operand(scores.softmax(-1))
    return shares @ operand(value)


OPERATIONS.append(attention_of)


class ProductForward:
    """A module's forward pass in which operands of products are what `operand` makes of them."""

    def __init__(self, module: nn.Module, operand: Operand) -> None:
        self.module, self.operand = module, operand
        self.own: Any = vars(module).get("forward")
        """What stood in the place of the class's forward pass before."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        with Products(self.operand):
            return (
                self.own(*args, **kwargs)
                if self.own is not None
                else type(self.module).forward(self.module, *args, **kwargs)
            )


def modules_that_multiply(network: nn.Module, images: Tensor, /) -> list[str]:
    """Return the names of the modules in whose own forward passes activations are multiplied with each other.

    images: an input. The network runs once, in evaluation mode.
    """
    running, found = [""], dict[str, None]()

    def note(_number: int, values: Tensor) -> Tensor:
        found.setdefault(running[-1])
        return values

    with ExitStack() as stack:
        for name, module in network.named_modules():
            before = module.register_forward_pre_hook(lambda *_, name=name: running.append(name))
            stack.callback(before.remove)
            after = module.register_forward_hook(lambda *_: running.pop() and None, always_call=True)
            stack.callback(after.remove)
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.no_grad())
        stack.enter_context(Products(note))
        network(images)
    return list(found)


def multiply_otherwise(module: nn.Module, operand: Operand, /) -> None:
    """Let a module, in place, run with other operands of its products; once more, with those instead."""
    run_plainly(module)
    module.forward = ProductForward(module, operand)


def run_plainly(module: nn.Module, /) -> None:
    """Let a module, in place, run its own forward pass again."""
    forward = vars(module).get("forward")
    if isinstance(forward, ProductForward):
        del module.forward
        if forward.own is not None:
            module.forward = forward.own
