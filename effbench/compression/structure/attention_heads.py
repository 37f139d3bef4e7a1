"""Attention layers and their heads: which tensors have something of each head's own, and layers left with some heads.

Known are layers that make queries, keys and values by one linear layer or three and mix the heads by another
(`small_vit`, timm's, transformers'), with tables of one entry a head beside them (Swin), and `nn.MultiheadAttention`.
Torch's and torchvision's take heads × numbers of a head for the width of the tokens: with fewer heads they run by
another forward (`attention_forwards`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from effbench.compression.structure.attention_forwards import call_layers
from effbench.compression.structure.factorized import Factored

_MADE_WITH = "n_heads_made_with"
_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "heads")
_INNER_WIDTHS = ("attn_dim", "all_head_size", "inner_dim")
"""Attributes that say heads × numbers of a head."""
_TOGETHER = ("qkv",)
_APART = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("to_q", "to_k", "to_v"))
_PROJECTIONS = ("projection", "proj", "out_proj", "o_proj", "to_out")
_TABLES = {"relative_position_bias_table": 1, "logit_scale": 0}
"""Parameters with an entry for each head, and the dimension along which these are."""
_BIASES = ("q_bias", "k_bias", "v_bias")


@dataclass(frozen=True)
class PerHead:
    """A tensor with places of each head's own along one dimension."""

    owner: nn.Module
    name: str
    dim: int = 0
    n_parts: int = 1
    """How often all heads come, one after the other: three times where queries, keys and values are in one tensor."""


@dataclass(frozen=True)
class Heads:
    """The heads of an attention layer."""

    attention: nn.Module
    n: int
    width: int
    """Numbers of each head."""
    tensors: tuple[PerHead, ...]
    projection: nn.Module
    """The linear layer, or chain of such, that mixes what the heads give."""

    @property
    def reads(self) -> PerHead:
        """The projection's weight, which has columns for each head."""
        return PerHead(_first(self.projection), "weight", dim=1)

    def places(self, tensor: PerHead, heads: Tensor, /) -> Tensor:
        """Return the places of some heads along a tensor's dimension, int64. heads: numbers, int64."""
        size = int(getattr(tensor.owner, tensor.name).shape[tensor.dim])
        return torch.arange(size).reshape(tensor.n_parts, self.n, -1)[:, heads.cpu()].flatten()


def find_heads(module: nn.Module, /) -> Heads | None:
    """Return the heads of an attention layer; None for other modules, and for attention of a form that is not known."""
    count = _count_name(module)
    if count is None:
        return None
    n = int(getattr(module, count))
    if isinstance(module, nn.MultiheadAttention):
        return _torchs(module, n)
    makers = _makers(module)
    projection = next((child for name in _PROJECTIONS if _is_linear(child := _child(module, name))), None)
    if not makers or projection is None:
        return None
    n_parts, inner = 3 // len(makers), int(_first(projection).weight.shape[1])
    if inner % n or any(len(_last(maker).weight) != n_parts * inner for maker in makers):
        return None
    tensors = [
        PerHead(_last(maker), name, n_parts=n_parts)
        for maker in makers
        for name in ("weight", "bias")
        if getattr(_last(maker), name) is not None
    ]
    tensors += [PerHead(_first(projection), "weight", dim=1), *_beside(module, n, inner)]
    return Heads(module, n, inner // n, tuple(tensors), projection)


def _torchs(module: nn.MultiheadAttention, n: int) -> Heads | None:
    if module.in_proj_weight is None or module.bias_k is not None or module.add_zero_attn:
        return None
    tensors = [PerHead(module, "in_proj_weight", n_parts=3), PerHead(_first(module.out_proj), "weight", dim=1)]
    if module.in_proj_bias is not None:
        tensors.append(PerHead(module, "in_proj_bias", n_parts=3))
    return Heads(module, n, module.head_dim, tuple(tensors), module.out_proj)


def _makers(module: nn.Module) -> list[nn.Module]:
    """Return the layers that make queries, keys and values: one, or three; none where they are of another form."""
    for names in (*((name,) for name in _TOGETHER), *_APART):
        children = [_child(module, name) for name in names]
        if all(map(_is_linear, children)):
            return cast("list[nn.Module]", children)
    return []


def _beside(module: nn.Module, n: int, inner: int) -> Iterator[PerHead]:
    """Yield the tensors of an attention layer that are no layers' of its own: tables and biases of each head."""
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is None:
            continue
        if name in _TABLES and tensor.shape[_TABLES[name]] == n:
            yield PerHead(module, name, dim=_TABLES[name])
        elif name in _BIASES and tensor.shape == (inner,):
            yield PerHead(module, name)
    maps = _child(module, "cpb_mlp")  # of a position to a number for each head (Swin V2)
    *_, last = [child for child in maps.modules() if isinstance(child, nn.Linear)] if maps is not None else [None]
    if last is not None and last.out_features == n:
        yield from (PerHead(last, name) for name in ("weight", "bias") if getattr(last, name) is not None)


def keep_heads(heads: Heads, kept: Tensor, /) -> None:
    """Leave an attention layer with some of its heads, in place. kept: their numbers, int64, at least one."""
    module = heads.attention
    call_layers(module)
    for tensor in heads.tensors:
        old = getattr(tensor.owner, tensor.name)
        values = old.detach().index_select(tensor.dim, heads.places(tensor, kept).to(old.device))
        if isinstance(old, nn.Parameter):
            tensor.owner._parameters[tensor.name] = nn.Parameter(values, requires_grad=old.requires_grad)
        else:
            tensor.owner._buffers[tensor.name] = values
        if isinstance(tensor.owner, nn.Linear) and tensor.name == "weight":
            tensor.owner.out_features, tensor.owner.in_features = values.shape
    vars(module).setdefault(_MADE_WITH, heads.n)
    for name in _INNER_WIDTHS:
        if vars(module).get(name) == heads.n * heads.width:
            setattr(module, name, len(kept) * heads.width)
    setattr(module, cast("str", _count_name(module)), len(kept))


def has_lost_heads(module: nn.Module, /) -> bool:
    """Whether a module is an attention layer that has fewer heads than it was made with."""
    return _MADE_WITH in vars(module)


def n_heads(module: nn.Module, /) -> int:
    """Return how many heads an attention layer has."""
    return int(getattr(module, cast("str", _count_name(module))))


def n_heads_made_with(module: nn.Module, /) -> int:
    """Return how many heads an attention layer had before any was removed."""
    return int(vars(module).get(_MADE_WITH, n_heads(module)))


def looks_like_attention(module: nn.Module, /) -> bool:
    """Whether a module calls itself attention and says how many heads it has."""
    return "attention" in type(module).__name__.lower() and _count_name(module) is not None


def is_attention(module: nn.Module, /) -> bool:
    """Whether a module is an attention layer, of a known form or by what it calls itself."""
    return looks_like_attention(module) or find_heads(module) is not None


def _count_name(module: nn.Module) -> str | None:
    """Return the attribute that says how many heads a module has, a positive integer."""
    return next((name for name in _COUNTS if type(vars(module).get(name)) is int and vars(module)[name] > 0), None)


def _child(module: nn.Module, name: str) -> nn.Module | None:
    return module._modules.get(name)


def _is_linear(module: nn.Module | None) -> bool:
    """Whether a module is a linear layer, or a chain that stands for one."""
    if isinstance(module, Factored):
        return isinstance(module[0], nn.Linear)
    return isinstance(module, nn.Linear)


def _first(module: nn.Module) -> nn.Linear:
    return cast("nn.Linear", module[0] if isinstance(module, Factored) else module)


def _last(module: nn.Module) -> nn.Linear:
    return cast("nn.Linear", module[-1] if isinstance(module, Factored) else module)
