"""Where a network goes over between layers that an engine computes with integers and layers that it computes in floats.

At each such border activations are converted, which costs time and buys nothing: a layer that is left in floats for its
accuracy has two of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from effbench.compression.constraints.stack import bake
from effbench.compression.modes import evaluating
from effbench.compression.structure.watch import fast_paths_off

_COMPUTE = (
    "convolution", "conv", "addmm", "mm", "bmm", "baddbmm", "linear", "lstm", "gru", "rnn", "mkldnn_rnn_layer",
)  # fmt: skip
_COMPUTE_BEGINS = ("_scaled_dot_product", "_convolution", "mkldnn_linear", "quantized_")
"""Names of operations that multiply, of PyTorch's own: what a layer computes is one of these."""


@dataclass(frozen=True, kw_only=True)
class Borders:
    """How often activations go over between layers of integers and layers of floats."""

    n: int
    """Tensors that do: what several layers of one kind take counts once."""
    activations: int
    """How many numbers they hold for one input."""


def borders_of(model: nn.Module, layers: Collection[str], example_input: Tensor, /) -> Borders:
    """Return the borders between the named layers, which are computed with integers, and all others that multiply.

    What lies between layers (activation functions, poolings, sums) belongs to neither. The network's input and output
    are no borders: every engine takes and gives floats. example_input: (N, …); the network is left alone.
    """
    plain = bake(model)
    watched = _Provenance()
    with ExitStack() as ends, evaluating(plain), torch.no_grad(), fast_paths_off():
        for name in layers:
            for handle in watched.follow(plain.get_submodule(name)):
                ends.callback(handle.remove)
        with watched:
            plain(example_input)
    crossing = watched.crossing.values()
    return Borders(n=len(crossing), activations=sum(crossing) // len(example_input))


class _Provenance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes of each activation what kind of layer it comes from, through all that is computed between layers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.crossing: dict[tuple[int, bool], int] = {}
        """By tensor and by the kind of layer that takes it, how many numbers it holds."""
        self._is_integer = 0
        self._kinds: dict[int, frozenset[bool]] = {}
        """By tensor: whether integers (True) or floats (False) computed what it was made of."""
        self._kept: list[Tensor] = []  # so that no other tensor gets the id of one that is known

    def follow(self, layer: nn.Module) -> Iterator[Any]:
        """Yield the handles of hooks that tell when a layer of integers is at work."""

        def begin(*_: Any) -> None:
            self._is_integer += 1

        def end(*_: Any) -> None:
            self._is_integer -= 1

        yield layer.register_forward_pre_hook(begin)
        yield layer.register_forward_hook(end)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note what its results come from."""
        results = function(*args, **(kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        kinds = frozenset().union(*(self._kinds.get(id(one), frozenset()) for one in given))
        if _computes(function.overloadpacket.__name__):
            own = self._is_integer > 0
            for one in given:
                if (not own) in self._kinds.get(id(one), ()):
                    self.crossing[id(one), own] = one.numel()
            kinds = frozenset({own})
        for one in tree_leaves(results):
            if isinstance(one, Tensor) and kinds:
                self._kinds[id(one)] = kinds
                self._kept.append(one)
        return results


def _computes(name: str) -> bool:
    return name in _COMPUTE or name.startswith(_COMPUTE_BEGINS)
