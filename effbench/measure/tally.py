"""Counting while a model runs: every torch operation passes here, with the layer it runs in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from effbench.measure.derived import Derived, Weight
from effbench.measure.operations import macs_of


class Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the operations of a model on the meta device while the mode is entered.

    model: the meta double, which gets hooks that follow the running layer. weights: its parameters and
    buffers by `storage_key`. An operation belongs to the layer of its weight (attention's projections run in no module
    of their own), without one to the innermost running layer.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, weights: Mapping[int, Weight]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, int] = defaultdict(int)
        self.macs_effective: dict[str, int] = defaultdict(int)
        self.unknown: set[str] = set()
        self._weights = weights
        self.clear()
        for name, module in model.named_modules():
            self._follow(name, module)

    def clear(self) -> None:
        """Forget what was counted."""
        self.macs.clear()
        self.macs_effective.clear()
        self.unknown.clear()
        self._derived = Derived(self._weights)
        self._running = [""]

    def _follow(self, name: str, module: nn.Module) -> None:
        """Let `module` say when it runs."""

        def enter(*_: object) -> None:
            self._running.append(name)

        def leave(*_: object) -> None:
            self._running.pop()

        module.register_forward_pre_hook(enter, prepend=True)
        module.register_forward_hook(leave, always_call=True)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; shielding it from the compiler would import that, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):
            self.unknown.add(str(func))
            return func(*args, **kwargs)
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        if any(tensor.is_meta for tensor in tensors) and not all(tensor.is_meta for tensor in tensors):
            # A constant that the forward pass makes, or holds outside of its buffers, follows the input.
            args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        with self:
            decomposed = func.decompose(*args, **kwargs)
        if decomposed is not NotImplemented:
            return decomposed
        try:
            outcome = func(*args, **kwargs)
        except NotImplementedError as error:
            raise ValueError(f"{func._overloadpacket} has no implementation without values (meta)") from error
        macs = macs_of(func, args, kwargs, outcome)
        if macs is None:
            self.unknown.add(str(func._overloadpacket))
        elif macs:
            self._add(macs, tensors)
        self._derived.follow(func, tensors, outcome)
        return outcome

    def _add(self, macs: int, operands: list[Tensor]) -> None:
        """Add multiply-adds to the layer of the largest parameter among the operands (the others are biases)."""
        weights = [weight for tensor in operands if (weight := self._derived.weight(tensor)) and weight.layers]
        weight = max(weights, key=lambda weight: weight.numel, default=None)
        layer = self._running[-1]
        if weight is not None and layer not in weight.layers:
            layer = weight.layers[0]
        self.macs[layer] += macs
        self.macs_effective[layer] += macs if weight is None else weight.effective(macs)
