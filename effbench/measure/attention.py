"""Which multiply-adds are attention's, by what flows where: its products, and the layers that project for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from effbench.measure.derived import storage_key


@dataclass(frozen=True)
class _Trace:
    """What a tensor was made of."""

    of_input: bool = False
    """Whether the network's input went into it."""
    layers: frozenset[str] = frozenset()
    """The layers whose weights came last, before operations without any."""
    last: frozenset[int] = frozenset()
    """The products since these weights."""
    products: frozenset[int] = frozenset()
    """All the products before it."""


_NOTHING = _Trace()


class Attention:
    """Follows tensors while a model runs on the meta device.

    A product is a matrix product of what the input went into on both sides. Attention is two of them, one behind the
    other: queries × keys, and that × values, whatever stands between them (scale, softmax, layers that mix heads).
    Whose outputs go into them without another weight, or who takes what comes out, projects for it.

    example: the network's input.
    """

    def __init__(self, example: Tensor, /) -> None:
        self._traces: dict[int, _Trace] = {}
        self._kept: list[Tensor] = []
        self._feeding: list[frozenset[str]] = []
        """The layers that project for each product."""
        self._of_attention: set[int] = set()
        self._taking: list[tuple[str, frozenset[int]]] = []
        """Layers that take what products give."""
        self._note([example], _Trace(of_input=True))

    def follow_weight(self, layer: str, operands: Sequence[Tensor], outcomes: Sequence[Tensor], /) -> None:
        """Note that a layer's weight was multiplied with something."""
        trace = self._trace_of(operands)
        if trace.last:
            self._taking.append((layer, trace.last))
        self._note(outcomes, replace(trace, layers=frozenset((layer,)), last=frozenset()))

    def follow_product(self, operands: Sequence[Tensor], outcomes: Sequence[Tensor], /) -> int | None:
        """Note a multiplication without a weight, and return its number; None of one with a constant."""
        trace = self._trace_of(operands)
        if sum(self._trace(tensor).of_input for tensor in operands) < 2:
            self._note(outcomes, trace)
            return None
        number = len(self._feeding)
        self._feeding.append(trace.layers)
        if trace.products:
            self._of_attention |= {number, *trace.products}
        one = frozenset((number,))
        self._note(outcomes, replace(trace, last=trace.last | one, products=trace.products | one))
        return number

    def follow(self, operands: Sequence[Tensor], outcomes: Sequence[Tensor], /) -> None:
        """Note an operation that multiplies nothing, such as a view, a softmax or a sum."""
        self._note(outcomes, self._trace_of(operands))

    def has(self, number: int | None, /) -> bool:
        """Whether a product is attention's."""
        return number in self._of_attention

    @property
    def projections(self) -> frozenset[str]:
        """The layers that project for attention, or what it gives."""
        before = [layers for number, layers in enumerate(self._feeding) if number in self._of_attention]
        after = [layer for layer, numbers in self._taking if numbers & self._of_attention]
        return frozenset(after).union(*before)

    def _trace(self, tensor: Tensor) -> _Trace:
        return self._traces.get(storage_key(tensor), _NOTHING) if tensor.is_meta else _NOTHING

    def _trace_of(self, operands: Sequence[Tensor]) -> _Trace:
        traces = [self._trace(tensor) for tensor in operands]
        return _Trace(
            of_input=any(trace.of_input for trace in traces),
            layers=_NOTHING.layers.union(*(trace.layers for trace in traces)),
            last=_NOTHING.last.union(*(trace.last for trace in traces)),
            products=_NOTHING.products.union(*(trace.products for trace in traces)),
        )

    def _note(self, outcomes: Sequence[Tensor], trace: _Trace) -> None:
        if not trace.of_input:
            return
        for tensor in outcomes:
            if tensor.is_meta:
                self._traces[storage_key(tensor)] = trace
                self._kept.append(tensor)  # so that its storage's number is not given to another one
