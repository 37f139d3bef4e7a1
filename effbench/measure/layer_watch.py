"""What each layer gives, and which products are attention's, noted while multiply-adds are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from effbench.measure.attention import Attention
from effbench.measure.derived import Weight, storage_key
from effbench.measure.meta_run import tensors_in
from effbench.measure.tally import Tally


@dataclass(kw_only=True)
class Given:
    """What a layer gives for one input, over all its calls."""

    elements: int = 0
    n_bytes: int = 0
    shape: tuple[int, ...] | None = None
    """Of the first tensor that it gives, without the batch; None where it gives nothing of its own."""

    def add(self, tensor: Tensor, /) -> None:
        """Add a tensor that is new."""
        self.elements += tensor.numel()
        self.n_bytes += tensor.nbytes
        if self.shape is None:
            self.shape = tuple(tensor.shape[1:]) if tensor.dim() > 1 and tensor.shape[0] == 1 else tuple(tensor.shape)


@dataclass(kw_only=True)
class Products:
    """Multiply-adds of matrix products without a weight, which run in one module."""

    macs: int = 0
    given: Given = field(default_factory=Given)


class LayerWatch(Tally):  # type: ignore[no-untyped-call]
    """Count as `Tally` does, and note what each layer gives.

    A layer gives what its module returns, where that contains no others and is called; else what the operations with
    its own weights make (attention's projections, whose modules are never called). Views of an input and operations in
    place give nothing, nor does what stands between layers, such as the sum of a shortcut.
    """

    def __init__(self, model: nn.Module, weights: Mapping[int, Weight]) -> None:
        self.given: dict[str, Given] = {}
        self.order: dict[tuple[str, bool], None] = {}
        """Layers in the order in which they begin, (name, False), and the products within them, (name, True)."""
        self.operations: dict[str, str] = {}
        """How the first operation with a layer's weight is called in torch."""
        self._attention = Attention(torch.empty(0))
        self._products: list[tuple[str, int, list[Tensor], int | None]] = []
        self._leaves = {name for name, module in model.named_modules() if not list(module.children())}
        super().__init__(model, weights)

    def begin(self, example: Tensor, /) -> None:
        """Forget what was noted: a forward pass on `example` begins."""
        super().begin(example)
        self.given.clear()
        self.order.clear()
        self.operations.clear()
        self._products.clear()
        self._attention = Attention(example)

    @property
    def projections(self) -> frozenset[str]:
        """The layers that project for attention's products, or what these give."""
        return self._attention.projections

    def products(self, *, of_attention: bool) -> dict[str, Products]:
        """Return the matrix products without a weight, attention's or all others, by the module in which they run."""
        found: dict[str, Products] = {}
        for layer, macs, tensors, number in self._products:
            if self._attention.has(number) == of_attention:
                products = found.setdefault(layer, Products())
                products.macs += macs
                for tensor in tensors:
                    products.given.add(tensor)
        return found

    def note(
        self, operation: Any, operands: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], outcome: object
    ) -> None:
        """Count one operation, and follow what it makes."""
        name = "" if isinstance(operation, torch._ops.HigherOrderOperator) else operation._overloadpacket.__name__
        if not name.startswith("new_") and not name.endswith("_like"):  # these take a shape, and no value
            self._attention.follow(operands, tensors_in(outcome))
        super().note(operation, operands, args, kwargs, outcome)

    def count(self, macs: int, operation: Any, operands: list[Tensor], outcome: object) -> None:
        """Add the multiply-adds of one operation to its layer, and what it gives."""
        super().count(macs, operation, operands, outcome)
        layer, weight = self.owner(operands)
        made = tensors_in(outcome)
        self._begin(layer, is_product=weight is None)
        if weight is None:
            number = self._attention.follow_product(operands, made)
            self._products.append((layer, macs, made, number))
            return
        self._attention.follow_weight(layer, operands, made)
        self.operations.setdefault(layer, operation._overloadpacket.__name__)
        if layer != self.layer or layer not in self._leaves:
            self._give(layer, made)

    def _follow(self, name: str, module: nn.Module) -> None:
        super()._follow(name, module)

        def begin(*_: object) -> None:
            self._begin(name)

        def give(_module: nn.Module, args: object, kwargs: object, output: object) -> None:
            taken = {storage_key(tensor) for tensor in tensors_in((args, kwargs))}
            self._give(name, [tensor for tensor in tensors_in(output) if storage_key(tensor) not in taken])

        module.register_forward_pre_hook(begin)
        if name in self._leaves:
            module.register_forward_hook(give, with_kwargs=True)

    def _begin(self, layer: str, *, is_product: bool = False) -> None:
        self.order.setdefault((layer, is_product))

    def _give(self, layer: str, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            self.given.setdefault(layer, Given()).add(tensor)
