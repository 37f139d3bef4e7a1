"""The attention inside of modules, as they run: its queries, keys and values, whoever wrote the module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def _never(*_: object) -> bool:
    return False


def _seen_inside(function: FunctionType) -> FunctionType:
    """Return a function of torch's that asks nobody whether it may run: what it calls is seen by who watches."""
    inside = FunctionType(
        function.__code__,
        {**function.__globals__, "has_torch_function": _never},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    inside.__kwdefaults__ = function.__kwdefaults__
    return inside


_MULTIHEAD = F.multi_head_attention_forward
_MULTIHEAD_INSIDE = _seen_inside(cast("FunctionType", _MULTIHEAD))
OPERATIONS: list[Callable[..., Tensor]] = [F.scaled_dot_product_attention]
"""What computes attention; what stands for it elsewhere joins it."""
_PARTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
"""The arguments of `F.scaled_dot_product_attention` that may be given by their place."""


def arguments_of(args: Sequence[Any], kwargs: Mapping[str, Any], /) -> dict[str, Any]:
    """Return the arguments of a call of attention by their names."""
    return {**dict(zip(_PARTS, args, strict=False)), **kwargs}


class CallsInside(TorchFunctionMode):
    """While entered, operations are seen by `see`, those within `nn.MultiheadAttention` too (without a fast path)."""

    @abstractmethod
    def see(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], /) -> Any:
        """Return what an operation gives: function(*args, **kwargs), or something in its place."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let an operation be seen."""
        if func is _MULTIHEAD:
            with self:
                return _MULTIHEAD_INSIDE(*args, **(kwargs or {}))
        return self.see(func, args, kwargs or {})


class AttentionCalls(CallsInside):
    """While entered, each call of `F.scaled_dot_product_attention` is given to `attend`."""

    @abstractmethod
    def attend(self, function: Any, arguments: dict[str, Any], /) -> Tensor:
        """Return what the attention gives. function: what computes it of the arguments, by their names."""

    def see(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], /) -> Any:
        """Run an operation, or let `attend`."""
        if any(function is one for one in OPERATIONS):
            return self.attend(function, arguments_of(args, kwargs))
        return function(*args, **kwargs)
