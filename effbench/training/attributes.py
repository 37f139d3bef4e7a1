"""What modules of a network hold beside parameters and buffers and may change in training: kept, and put back.

A user's module may count its steps, hold a tensor in a plain attribute or draw from a generator of its own.
"""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, type(None))
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def attributes_of(model: nn.Module, /) -> dict[str, Any]:
    """Return the plain values, tensors and states of generators in modules, by place; tensors are shared."""
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    found: dict[str, Any] = {}
    for place, value in _attributes(model):
        if isinstance(value, torch.Generator):
            found[place] = value.get_state()
        elif isinstance(value, Tensor):
            if id(value) not in own:
                found[place] = value.detach()
        elif _is_plain(value):
            found[place] = copy.deepcopy(value)
    return found


def set_attributes(model: nn.Module, kept: Mapping[str, Any], /) -> None:
    """Give a network's modules what `attributes_of` returned. ValueError where there is no such module."""
    modules, device = dict(model.named_modules()), next((p.device for p in model.parameters()), torch.device("cpu"))
    for place, value in kept.items():
        path, _, name = place.rpartition(".")
        if path not in modules:
            raise ValueError(f"the network that was kept has a module {path}, and this one has none")
        own = vars(modules[path]).get(name)
        if isinstance(own, torch.Generator):
            own.set_state(value)
        elif not isinstance(value, Tensor):
            modules[path].__dict__[name] = copy.deepcopy(value)
        elif (
            isinstance(own, Tensor) and own.shape == value.shape and own.dtype == value.dtype and not own.is_inference()
        ):
            own.detach().copy_(value)  # others may hold it, too
        else:
            modules[path].__dict__[name] = value.to(device)


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what modules have beside that which every module has, by place."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in _OF_EVERY_MODULE and "." not in name:
                yield f"{path}.{name}", value


def _is_plain(value: object) -> bool:
    if isinstance(value, dict) and type(value) in (dict, Counter, OrderedDict):
        return all(_is_plain(key) and _is_plain(part) for key, part in value.items())
    if isinstance(value, list | tuple | set | frozenset) and type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN
