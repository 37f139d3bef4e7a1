"""Layers left with some of their channels, and layers that act as if some of their channels were not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from effbench.compression.duplicate import duplicate
from effbench.compression.layers import is_depthwise
from effbench.compression.structure.edits import own_tensors, set_widths, size_names
from effbench.compression.structure.known_layers import is_known

Side = Literal["in", "out"]
Kept = Mapping[tuple[nn.Module, Side], Tensor]
"""For the inputs or the outputs of layers, the places that stay, in the order in which they are to stand; int64."""

_PER_OUTPUT = ("out_channels", "out_features", "num_features", "num_channels", "num_parameters", "normalized_shape")
_SIZES = (*_PER_OUTPUT, "in_channels", "in_features", "groups", "num_groups")


@dataclass(frozen=True)
class _State:
    """A layer's sizes and tensors, by reference."""

    sizes: dict[str, Any]
    parameters: dict[str, Any]
    buffers: dict[str, Any]


def resize(kept: Kept, /) -> Callable[[], None]:
    """Leave layers with some of their places, in place; return what makes all as they were before."""
    states = {layer: _state(layer) for layer, _ in kept}
    for (layer, side), places in kept.items():
        (keep_inputs if side == "in" else keep_outputs)(layer, places)

    def undo() -> None:
        for layer, state in states.items():
            vars(layer).update(state.sizes)
            layer._parameters.update(state.parameters)
            layer._buffers.update(state.buffers)

    return undo


def _state(layer: nn.Module) -> _State:
    sizes = {name: vars(layer)[name] for name in _SIZES if name in vars(layer)}
    return _State(sizes, dict(layer._parameters), dict(layer._buffers))


def keep_outputs(layer: nn.Module, kept: Tensor, /) -> None:
    """Leave a layer's outputs, or the channels that it passes on, in the order given, in place. kept: places, int64."""
    transposed = isinstance(layer, _ConvNd) and layer.transposed and not is_depthwise(layer)
    for name, tensor in list(own_tensors(layer)):
        if tensor.ndim == 0:  # a count of batches has no channels
            continue
        places = kept.to(tensor.device)
        if transposed and name == "weight":
            assert isinstance(layer, _ConvNd)
            _set(layer, name, tensor.detach()[:, places[: len(kept) // layer.groups]])
        else:
            _set(layer, name, tensor.detach()[places])
    n = len(kept)
    if is_depthwise(layer):
        set_widths(layer, (n, n, n))
    elif names := size_names(layer):
        set_widths(layer, tuple(n if name in _PER_OUTPUT else int(getattr(layer, name)) for name in names))


def keep_inputs(layer: nn.Module, kept: Tensor, /) -> None:
    """Leave the inputs of a convolution or linear layer in the order given, in place; each group reads its own."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    kept = kept.to(weight.device)
    if isinstance(layer, nn.Linear):
        layer.in_features = len(kept)
        _set(layer, "weight", weight.detach()[:, kept])
        return
    assert isinstance(layer, _ConvNd)
    if layer.transposed:
        _set(layer, "weight", weight.detach()[kept])
    else:
        columns = kept.reshape(layer.groups, -1) % (layer.in_channels // layer.groups)
        parts = weight.detach().chunk(layer.groups)
        _set(layer, "weight", torch.cat([rows[:, own] for rows, own in zip(parts, columns, strict=True)]))
    layer.in_channels = len(kept)


def _set(layer: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor where a parameter or a buffer was."""
    if name in layer._parameters:
        layer._parameters[name] = nn.Parameter(tensor.clone(memory_format=torch.contiguous_format))
    else:
        layer._buffers[name] = tensor.clone()


@contextmanager
def silenced(kept: Kept, /) -> Iterator[None]:
    """While entered, layers read nothing of the places that do not stay, and normalise over those that stay."""
    weights: list[tuple[nn.Module, Any]] = []
    norms: list[tuple[nn.Module, Any]] = []
    try:
        for (layer, side), places in kept.items():
            if side == "in":
                weights.append((layer, layer._parameters["weight"]))
                layer._parameters["weight"] = _zeroed(layer, places)
            elif isinstance(layer, nn.GroupNorm | nn.LayerNorm | nn.LocalResponseNorm):
                norms.append((layer, vars(layer).get("forward")))
                layer.forward = _over_kept(layer, places)  # type: ignore[assignment, method-assign]
        yield
    finally:
        for layer, weight in weights:
            layer._parameters["weight"] = weight
        for layer, forward in norms:
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _zeroed(layer: nn.Module, kept: Tensor) -> nn.Parameter:
    """Return a layer's weight with zeros for all inputs that are not kept."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    weight = weight.detach().clone()
    groups = layer.groups if isinstance(layer, _ConvNd) else 1
    transposed = isinstance(layer, _ConvNd) and layer.transposed
    n = weight.shape[0] if transposed else weight.shape[1] * groups
    gone = torch.ones(n, dtype=torch.bool)
    gone[kept] = False
    gone = gone.to(weight.device)
    if transposed:
        weight[gone] = 0
    else:
        for rows, own in zip(weight.chunk(groups), gone.chunk(groups), strict=True):
            rows[:, own] = 0
    return nn.Parameter(weight, requires_grad=False)


def _over_kept(norm: nn.Module, kept: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what normalises as a norm does that has the kept channels alone; the others are zero."""
    smaller, may_take_images = duplicate(norm), isinstance(norm, nn.LayerNorm) and not is_known(norm)
    keep_outputs(smaller, kept)

    def forward(values: Tensor) -> Tensor:
        dim = 1
        if isinstance(norm, nn.LayerNorm) and not (may_take_images and values.shape[1] == norm.normalized_shape[0]):
            dim = values.ndim - 1
        places = kept.to(values.device)
        return torch.zeros_like(values).index_copy(dim, places, smaller(values.index_select(dim, places)))

    return forward
