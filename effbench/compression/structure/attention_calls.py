"""The attention inside of modules, as they run: its queries, keys and values, whoever wrote the module."""

from __future__ import annotations

from abc import abstractmethod
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
_PARTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
"""The arguments of `F.scaled_dot_product_attention` that may be given by their place."""


class AttentionCalls(TorchFunctionMode):
    """While entered, each call of `F.scaled_dot_product_attention` is given to `attend`.

    Those of `nn.MultiheadAttention` as well, which has no fast path then.
    """

    @abstractmethod
    def attend(self, function: Any, arguments: dict[str, Any], /) -> Tensor:
        """Return what the attention gives. function: what computes it of the arguments, by their names."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or let `attend`."""
        kwargs = kwargs or {}
        if func is _MULTIHEAD:
            with self:
                return _MULTIHEAD_INSIDE(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self.attend(func, {**dict(zip(_PARTS, args, strict=False)), **kwargs})
        return func(*args, **kwargs)
