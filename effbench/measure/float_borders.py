"""Where a network goes over between layers that an engine computes with integers and layers that it computes in floats.

At each such border activations are converted, which costs time and buys nothing: a layer in the middle that is left in
floats for its accuracy has two of them, the first or the last one has one.
"""

from __future__ import annotations

import re
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
    "convolution", "conv", "addmm", "mm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "linear", "_trilinear",
    "lstm", "gru", "rnn", "mkldnn_rnn_layer",
)  # fmt: skip
_COMPUTE_BEGINS = ("_scaled_dot_product", "_convolution", "mkldnn_linear", "quantized_")
"""Names of operations that multiply, of PyTorch's own: what a layer computes is one of these."""
_TAKES_THE_FORM_ALONE = re.compile(r"(_like|^new_\w+)$")


@dataclass(frozen=True, kw_only=True)
class Borders:
    """How often activations go over between layers of integers and layers of floats."""

    n: int
    """Of a layer's output that layers of the other kind take: once for all of these, and once where a sum of several
    outputs is taken."""
    activations: int
    """How many numbers these outputs hold for one input."""


def borders_of(model: nn.Module, layers: Collection[str], example_input: Tensor, /) -> Borders:
    """Return the borders between the named layers, which are computed with integers, and all others that multiply.

    What lies between layers (activation functions, poolings, sums, grids) belongs to neither. The network's input and
    output are no borders: every engine takes and gives floats. example_input: (N, …); the network is left alone.
    """
    plain = bake(model)
    watched = _Provenance()
    with ExitStack() as ends, evaluating(plain), torch.no_grad(), fast_paths_off():
        for name in layers:
            for handle in watched.follow(plain.get_submodule(name)):
                ends.callback(handle.remove)
        with watched:
            plain(example_input)
    return Borders(n=len(watched.crossing), activations=sum(watched.crossing) // len(example_input))


@dataclass(frozen=True, eq=False)
class _Output:
    """What a layer gave."""

    is_integer: bool
    """Whether integers computed it."""
    n: int
    """How many numbers it holds."""


class _Provenance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes of each activation which layers' outputs it was made of, through all that is computed between layers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.crossing: list[int] = []
        """How many numbers each output holds that layers of the other kind take."""
        self._n_integer = 0
        self._taken: set[_Output] = set()
        """Outputs that layers of the other kind have taken: others of that kind find them converted."""
        self._made_of: dict[int, frozenset[_Output]] = {}
        """By storage, which views and what is written in place share."""
        self._kept: list[Tensor] = []  # so that no other storage gets the address of one that is known

    def follow(self, layer: nn.Module) -> Iterator[Any]:
        """Yield the handles of hooks that tell when a layer of integers is at work."""

        def begin(*_: Any) -> None:
            self._n_integer += 1

        def end(*_: Any) -> None:
            self._n_integer -= 1

        yield layer.register_forward_pre_hook(begin)
        yield layer.register_forward_hook(end)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and note what its results are made of."""
        results = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        given = [self._made_of.get(_storage(one), frozenset()) for one in _tensors((args, kwargs))]
        outputs = frozenset[_Output]().union(*given)
        if _TAKES_THE_FORM_ALONE.search(name):
            outputs = frozenset()
        if name in _COMPUTE or name.startswith(_COMPUTE_BEGINS):
            own = self._n_integer > 0
            for made_of in given:
                others = {output for output in made_of if output.is_integer != own} - self._taken
                if others:
                    self.crossing.append(max(output.n for output in others))
                    self._taken |= others
            first, *_beside = _tensors(results)  # beside it: what attention and recurrent layers keep for themselves
            outputs = frozenset({_Output(own, first.numel())})
        for one in _tensors(results) if outputs else ():
            self._made_of[_storage(one)] = self._made_of.get(_storage(one), frozenset()) | outputs
            self._kept.append(one)
        return results


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


def _storage(one: Tensor) -> int:
    try:
        return int(one.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # a sparse tensor has none of its own
        return id(one)
