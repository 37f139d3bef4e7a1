"""What is known of tensors that a forward pass makes of parameters: copies, views, products with a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten


@dataclass(kw_only=True)
class Weight:
    """What is known of a tensor that no input went into, and whose values are not at hand."""

    numel: int
    n_nonzero: int
    """At most so many of its values are not zero."""
    layers: list[str] = field(default_factory=list)
    """The modules in which the parameter stands that it is or was made of; none of buffers and constants."""

    def effective(self, macs: int) -> int:
        """Return those of `macs` whose weight is not zero: every weight takes part in equally many, rounded down."""
        return macs * self.n_nonzero // self.numel


def storage_key(tensor: Tensor, /) -> int:
    """Return what a tensor and its views have in common (a meta tensor has no address)."""
    return int(tensor.untyped_storage()._cdata)


# The outcome is zero where the first operand is.
_KEEP_ZEROS = frozenset(
    """
    _reshape_copy _to_copy _unsafe_view abs asin asinh atan ceil clone div erf expm1 flip floor log1p neg permute_copy
    positive relu roll rot90 round sign sin sqrt square t_copy tan tanh transpose_copy tril triu trunc view_copy
    """.split()
)
_PRODUCT = "mul"
_JOINS = ("cat", "stack")


class Derived:
    """The tensors that no input went into, while a model runs on the meta device.

    weights: parameters and buffers by `storage_key`. What is made of them has an entry of its own; of its zeros no more
    is known than follows from the operation, whatever the values are.
    """

    def __init__(self, weights: Mapping[int, Weight]) -> None:
        self._known = dict(weights)
        self._kept: list[Tensor] = []

    def weight(self, tensor: Tensor, /) -> Weight | None:
        """Return what is known of a tensor, or of what it is a view of; None for one that an input went into."""
        if not tensor.is_meta:  # a constant that the forward pass made
            return Weight(numel=tensor.numel(), n_nonzero=tensor.numel())
        return self._known.get(storage_key(tensor))

    def follow(self, operation: Any, operands: Sequence[Tensor], outcome: object, /) -> None:
        """Note what an operation (an OpOverload) has made of its operands."""
        name = operation._overloadpacket.__name__
        weights = [self.weight(tensor) for tensor in operands]
        for tensor in tree_flatten(outcome)[0]:
            if not isinstance(tensor, Tensor) or tensor.numel() == 0:
                continue
            if any(tensor is operand for operand in operands):
                self._overwrite(tensor, name.removesuffix("_"), operands, weights)
            elif None not in weights and self.weight(tensor) is None:
                pairs = [(operand, weight) for operand, weight in zip(operands, weights, strict=True) if weight]
                self._note(tensor, _made(name, pairs, tensor.numel()))

    def _overwrite(
        self, tensor: Tensor, name: str, operands: Sequence[Tensor], weights: Sequence[Weight | None]
    ) -> None:
        """Forget what an operation in place may have changed of a known tensor."""
        weight = self.weight(tensor)
        if weight is None:
            return
        if None in weights:  # an input went into it
            del self._known[storage_key(tensor)]
        elif tensor is not operands[0] or name not in (*_KEEP_ZEROS, _PRODUCT):
            self._note(tensor, replace(weight, n_nonzero=weight.numel))

    def _note(self, tensor: Tensor, weight: Weight) -> None:
        self._known[storage_key(tensor)] = weight
        self._kept.append(tensor)  # so that its storage's number is not given to another one


def _made(name: str, operands: Sequence[tuple[Tensor, Weight]], numel: int) -> Weight:
    """Return what is known of a tensor that an operation made of known ones alone; of a part of one nothing is."""
    whole = [weight for tensor, weight in operands if tensor.numel() == weight.numel]
    n_nonzero = numel
    if name == _PRODUCT:
        n_nonzero = min([weight.n_nonzero for weight in whole if weight.numel == numel], default=numel)
    elif name in _JOINS and len(whole) == len(operands):
        n_nonzero = sum(weight.n_nonzero for weight in whole)
    elif name in _KEEP_ZEROS and whole[:1] == [operands[0][1]] and whole[0].numel == numel:
        n_nonzero = whole[0].n_nonzero
    largest = max((weight for _, weight in operands if weight.layers), key=lambda weight: weight.numel, default=None)
    return Weight(numel=numel, n_nonzero=n_nonzero, layers=[] if largest is None else largest.layers)
