"""Nested plain data with tensors as bytes and back: a safetensors file, in which there is no code to run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

_SHAPE = "effbench.shape"


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
    if isinstance(content, list | tuple):
        return {type(content).__name__: [_described(part, tensors) for part in content]}
    if isinstance(content, Mapping):
        pairs = [[_described(key, tensors), _described(part, tensors)] for key, part in content.items()]
        return {"mapping": pairs}
    raise TypeError(f"a {type(content).__name__} can't be kept")


def _rebuilt(shape: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(shape, dict):
        return shape
    ((kind, parts),) = shape.items()
    match kind:
        case "tensor":
            return tensors[parts]
        case "list":
            return [_rebuilt(part, tensors) for part in parts]
        case "tuple":
            return tuple(_rebuilt(part, tensors) for part in parts)
        case "mapping":
            return {_rebuilt(key, tensors): _rebuilt(part, tensors) for key, part in parts}
    raise ValueError(f"it has a part of the kind {kind}")
