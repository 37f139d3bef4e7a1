"""The weights that techniques act on, and the layers in which they stand.

Weights are those of convolutions, linear layers, attention and recurrent layers: matrices that are multiplied with what
flows through the network. Biases, normalisations and embeddings are none, unless an embedding is tied to a layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from effbench.compression.constraints.stack import constrained_value, originals

WEIGHT_LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)

_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_NOT_WEIGHTS = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _NormBase)


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight: a parameter, with all the places in which it stands. A tied one has several."""

    names: tuple[str, ...]
    """Of the layer where the tensor is a layer's `weight`, else the tensor's own: "conv1", "lstm.weight_ih_l0"."""
    places: tuple[tuple[nn.Module, str], ...]
    """The modules and the tensor's names in them; the first is one that techniques know."""

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def module(self) -> nn.Module:
        """The module of its first place."""
        return self.places[0][0]

    @property
    def tensor_name(self) -> str:
        """Its name in that module."""
        return self.places[0][1]

    def value(self) -> Tensor:
        """Return the tensor as it is in use, after its constraints, detached and where the module is."""
        return constrained_value(*self.places[0])


def weights_of(model: nn.Module, /) -> Iterator[Weight]:
    """Yield the weights in the order of the modules, each once. ValueError for a scripted network.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 2), nn.Embedding(3, 2))
    >>> [weight.name for weight in weights_of(model)]
    ['0', '1.weight_ih_l0', '1.weight_hh_l0']
    """
    refuse_scripted(model)
    places: dict[object, list[tuple[str, nn.Module, str]]] = defaultdict(list)
    known: dict[object, list[tuple[str, nn.Module, str]]] = defaultdict(list)
    for name, module in model.named_modules():
        if "parametrizations" in name.split("."):
            continue
        weights = weight_names(module)
        for tensor_name in parameter_names(module):
            key = tuple(map(id, originals(module, tensor_name)))
            (known if tensor_name in weights else places)[key].append((name, module, tensor_name))
    for behind, here in known.items():
        everywhere = [*here, *places[behind]]
        yield Weight(
            tuple(_name(*place) for place in everywhere), tuple((module, name) for _, module, name in everywhere)
        )


def refuse_scripted(model: nn.Module, /) -> None:
    """Raise a ValueError, with the module's name, where a part of the network is scripted."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{name or type(module).__name__} is scripted, and its weights can't be changed: give the network as "
                "it was before torch.jit.script"
            )


def weight_names(module: nn.Module, /) -> tuple[str, ...]:
    """Return the names of a module's own tensors that are weights; none for most modules."""
    if isinstance(module, WEIGHT_LAYERS):
        return ("weight",)
    if isinstance(module, nn.MultiheadAttention):
        return tuple(name for name in _ATTENTION if name in parameter_names(module))
    if isinstance(module, nn.RNNBase):
        return tuple(name for name in module._flat_weights_names if name.startswith("weight"))
    return ("weight_ih", "weight_hh") if isinstance(module, nn.RNNCellBase) else ()


def parameter_names(module: nn.Module) -> list[str]:
    """Return the names of a module's own parameters, the constrained ones last."""
    constrained = list(module.parametrizations) if parametrize.is_parametrized(module) else []  # type: ignore[arg-type]
    return [*(name for name, parameter in module._parameters.items() if parameter is not None), *constrained]


def biases_of(weight: Weight, /) -> list[tuple[nn.Module, str]]:
    """Return the biases that are added with a weight, in each of its places."""
    names = [
        (module, "in_proj_bias" if name == "in_proj_weight" else name.replace("weight", "bias"))
        for module, name in weight.places
    ]
    return [(module, name) for module, name in names if getattr(module, name, None) is not None]


def other_matrices(model: nn.Module, /) -> dict[str, int]:
    """Return the names and sizes of parameters that are matrices, but no weights that techniques know, each once.

    Those of a `Bilinear`, or of the network's own. Embeddings and normalisations are none, nor is what has one
    dimension longer than 1.
    """
    seen = {id(tensor) for weight in weights_of(model) for tensor in originals(*weight.places[0])}
    matrices: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, _NOT_WEIGHTS) or "parametrizations" in name.split("."):
            continue
        for tensor_name in parameter_names(module):
            behind = {id(tensor) for tensor in originals(module, tensor_name)}
            shape = constrained_value(module, tensor_name).shape
            if not behind & seen and sum(size > 1 for size in shape) > 1:
                matrices[f"{name}.{tensor_name}".removeprefix(".")] = prod(shape)
            seen |= behind
    return matrices


def tables_of(model: nn.Module, /) -> Iterator[Weight]:
    """Yield the tables of a network that are no weights, in the order of the modules, each once.

    Embeddings, and parameters that the network's own modules hold beside their layers and that are rows of numbers:
    position tables, class tokens, bias tables of windows. What has one dimension, or a last one of 1 (scales), is none.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Embedding(3, 2))
    >>> [table.name for table in tables_of(model)]
    ['1']
    """
    seen = {id(tensor) for weight in weights_of(model) for tensor in originals(*weight.places[0])}
    places: dict[object, list[tuple[str, nn.Module, str]]] = defaultdict(list)
    for name, module in model.named_modules():
        if "parametrizations" in name.split("."):
            continue
        is_embedding = isinstance(module, nn.Embedding | nn.EmbeddingBag)
        if not is_embedding and parametrize.type_before_parametrizations(module).__module__.startswith("torch.nn."):
            continue
        for tensor_name in parameter_names(module):
            behind = tuple(map(id, originals(module, tensor_name)))
            value = constrained_value(module, tensor_name)
            is_table = value.ndim > 1 and value.shape[-1] > 1 and value.is_floating_point()
            if is_table and not seen & {*behind}:
                places[behind].append((name, module, tensor_name))
    for everywhere in places.values():
        yield Weight(
            tuple(_name(*place) for place in everywhere), tuple((module, name) for _, module, name in everywhere)
        )


def weight_layers(model: nn.Module, /) -> Iterator[tuple[str, nn.Module]]:
    """Yield the convolution and linear layers with their names, in the order of the modules; a shared one once.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(2, 2))
    >>> [name for name, _ in weight_layers(model)]
    ['0', '2']
    """
    for name, module in model.named_modules():
        if isinstance(module, WEIGHT_LAYERS):
            yield name, module


def weight_of(layer: nn.Module, /) -> Tensor:
    """Return a layer's weight as it is in use, after its constraints, detached and where the layer is.

    Of a layer without constraints it has the parameter's own memory: what is written to it is written to the layer.
    """
    return constrained_value(layer, "weight")


def is_depthwise(layer: nn.Module, /) -> bool:
    """Whether a layer is a convolution that makes each of its channels from the same one of its input."""
    return isinstance(layer, _ConvNd) and 1 < layer.groups == layer.in_channels == layer.out_channels


def n_groups(layer: nn.Module, /) -> int:
    """Return into how many equal parts a convolution divides its channels; 1 for a depthwise one, which mixes none."""
    return layer.groups if isinstance(layer, _ConvNd) and not is_depthwise(layer) else 1


def _name(module_name: str, _module: nn.Module, tensor_name: str) -> str:
    return module_name if tensor_name == "weight" else f"{module_name}.{tensor_name}".removeprefix(".")
