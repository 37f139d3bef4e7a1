"""Constraints on the weights of recurrent layers, which keep a list of them beside the parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def read_constrained(module: nn.Module, /) -> None:
    """Let a recurrent layer with constraints, in place, read its weights when it runs; other modules are left alone.

    torch's layer hands a list that it made before to the kernel. With a constraint that list would be made anew in
    every forward pass, twice, and would keep tensors that have a graph, which no copy can be made of.
    """
    if isinstance(module, nn.RNNBase) and "_flat_weights" not in vars(type(module)):
        # The class is the layer's own: torch made it for its first constraint.
        for name, value in _READING.items():
            setattr(type(module), name, value)


def read_plain(module: nn.Module, /) -> None:
    """Let a recurrent layer that has no constraint any more, in place, have its list again."""
    if isinstance(module, nn.RNNBase) and "_flat_weights" not in vars(type(module)):
        module._init_flat_weights()


def _flat_weights(layer: nn.RNNBase) -> list[Tensor | None]:
    return [getattr(layer, name, None) for name in layer._flat_weights_names]


def _do_nothing(*_: object) -> None:
    """Keep no list."""


_READING: dict[str, Any] = {
    "_flat_weights": property(_flat_weights, _do_nothing),
    "_update_flat_weights": _do_nothing,
    "_init_flat_weights": _do_nothing,
    "flatten_parameters": _do_nothing,
}
