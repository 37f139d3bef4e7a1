"""Counting multiply-adds while a model runs: how many each layer does, and how many of them are effective."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from effbench.measure.derived import Derived, Weight
from effbench.measure.meta_run import Watch
from effbench.measure.operations import macs_of


class Tally(Watch):  # type: ignore[no-untyped-call]
    """Count the multiply-adds of a model on the meta device while the mode is entered.

    model: the meta double. weights: its parameters and buffers by `storage_key`. An operation belongs to the layer of
    its weight (attention's projections run in no module of their own), without one to the innermost running layer.
    """

    def __init__(self, model: nn.Module, weights: Mapping[int, Weight]) -> None:
        super().__init__(model)
        self.macs: dict[str, int] = defaultdict(int)
        self.macs_effective: dict[str, int] = defaultdict(int)
        self.unknown: set[str] = set()
        self._weights = weights
        self._derived = Derived(weights)

    def begin(self, example: Tensor, /) -> None:
        """Forget what was counted: a forward pass on `example` begins."""
        super().begin(example)
        self.macs.clear()
        self.macs_effective.clear()
        self.unknown.clear()
        self._derived = Derived(self._weights)

    def note(
        self, operation: Any, operands: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], outcome: object
    ) -> None:
        """Count one operation."""
        if isinstance(operation, torch._ops.HigherOrderOperator):
            self.unknown.add(str(operation))
            return
        macs = macs_of(operation, args, kwargs, outcome)
        if macs is None:
            self.unknown.add(str(operation._overloadpacket))
        elif macs:
            self.count(macs, operation, operands, outcome)
        self._derived.follow(operation, operands, outcome)

    def count(self, macs: int, operation: Any, operands: list[Tensor], outcome: object) -> None:
        """Add the multiply-adds of one operation (at least one) to the layer that they belong to."""
        layer, weight = self.owner(operands)
        self.macs[layer] += macs
        self.macs_effective[layer] += macs if weight is None else weight.effective(macs)

    def owner(self, operands: list[Tensor], /) -> tuple[str, Weight | None]:
        """Return the layer of the largest parameter among the operands (the others are biases), and that one.

        Without a parameter it is the innermost running layer, and None.
        """
        weights = [weight for tensor in operands if (weight := self._derived.weight(tensor)) and weight.layers]
        weight = max(weights, key=lambda weight: weight.numel, default=None)
        layer = self.layer
        if weight is not None and layer not in weight.layers:
            layer = weight.layers[0]
        return layer, weight
