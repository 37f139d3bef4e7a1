"""Nested plain data with tensors as bytes and back: a safetensors file, in which there is no code to run."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

_SHAPE = "effbench.shape"
_LISTS: Mapping[str, Callable[[Iterable[Any]], Any]] = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
_MAPPINGS: Mapping[str, Callable[[Mapping[Any, Any]], Any]] = {
    kind.__name__: kind for kind in (dict, Counter, OrderedDict)
}
"""A scheduler of torch's has a Counter in its state, and does not go on with a dict."""


def pack(content: Any, /) -> bytes:
    """Return numbers, texts, tensors, and lists, tuples and mappings of these as bytes. TypeError for anything else.

    Types are kept: a tuple comes back as one, whole numbers as keys of a mapping as whole numbers.
    """
    tensors: dict[str, Tensor] = {}
    shape = _described(content, tensors)
    return safetensors.torch.save(tensors, {_SHAPE: json.dumps(shape)})


def unpack(content: bytes, /) -> Any:
    """Return what `pack` was given; tensors on the CPU. ValueError for what it did not write."""
    try:
        length = int.from_bytes(content[:8], "little")
        shape = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_SHAPE])
        return _rebuilt(shape, safetensors.torch.load(content))
    except (ValueError, KeyError, TypeError, IndexError, safetensors.SafetensorError) as error:
        raise ValueError(f"is nothing that was packed ({error})") from None


def _described(content: Any, tensors: dict[str, Tensor]) -> Any:
    """Return plain JSON-able data; what JSON has no type for is a mapping with one entry, that says what it is."""
    if content is None or isinstance(content, bool | int | float | str):
        return content
    if isinstance(content, Tensor):
        if content.layout != torch.strided:
            raise TypeError(f"a tensor of the layout {content.layout} can't be kept")
        name = str(len(tensors))
        tensors[name] = content.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if type(content) in _LISTS.values():
        return {type(content).__name__: [_described(part, tensors) for part in content]}
    if type(content) in _MAPPINGS.values():
        pairs = [[_described(key, tensors), _described(part, tensors)] for key, part in content.items()]
        return {type(content).__name__: pairs}
    raise TypeError(f"a {type(content).__name__} can't be kept")


def _rebuilt(shape: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(shape, dict):
        return shape
    ((kind, parts),) = shape.items()
    if kind == "tensor":
        return tensors[parts]
    if kind in _LISTS:
        return _LISTS[kind](_rebuilt(part, tensors) for part in parts)
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]({_rebuilt(key, tensors): _rebuilt(part, tensors) for key, part in parts})
    raise ValueError(f"it has a part of the kind {kind}")
