"""Objects among the keywords of a sweep, by the names under which its plan has them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from effbench.config.keywords import brief
from effbench.config.members import members
from effbench.config.short_forms import as_short_form
from effbench.data import SPLITS
from effbench.plan.given import is_given
from effbench.plan.given_data import give_data
from effbench.plan.given_networks import give_factory, give_network

_TARGET = "_target_"


def with_names(keywords: Mapping[str, Any], /) -> dict[str, Any]:
    """Return keywords in which no object is left: networks, factories, data sets and classes have become names.

    ValueError for an object that is none of these, or that can't be told from another.
    """
    named: dict[str, Any] = {}
    for key, value in keywords.items():
        name = {"model": _model, "data": _data}.get(key)
        named[key] = _with_targets(key, value) if name is None else name(value)
    return named


def _model(value: Any) -> Any:
    if isinstance(value, list) and not all(isinstance(part, str | Path) for part in value):
        return [_model(part) for part in value]
    if isinstance(value, nn.Module):
        return give_network(value)
    if isinstance(value, Mapping):
        if any(isinstance(part, Tensor) for part in value.values()):
            raise ValueError("model: a state_dict is no network; load it into one (load_state_dict), and give that")
        return _with_targets("model", value)
    if callable(value):
        return as_short_form(give_factory(value, what="model"))
    if isinstance(value, str | Path | list):
        return _with_targets("model", value)
    raise ValueError(
        f"model={brief(value)}: must be a name of conf/model, a network (torch.nn.Module), or what builds one "
        "(a function or class)"
    )


def _data(value: Any) -> Any:
    if isinstance(value, Mapping) and not _is_splits(value):
        return _with_targets("data", value)
    if isinstance(value, str | Path):
        text = str(value)
        is_folder = text not in members("data") and Path(text).expanduser().is_dir()
        return text if not is_folder or "/" in text else f"./{text}"
    if isinstance(value, list) and all(isinstance(part, str | Path) for part in value):
        return [_data(part) for part in value]
    if callable(value) and (inspect.isfunction(value) or isinstance(value, type | functools.partial)):
        name = give_factory(value, what="data")
        return name if is_given(name) else {_TARGET: name}
    return give_data(value)


def _is_splits(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds data sets, and not options."""
    return not set(map(str, value)).isdisjoint(SPLITS)


def _with_targets(key: str, value: Any) -> Any:
    """Return a value in which classes, functions and partials are nodes that name them, and networks their names."""
    if isinstance(value, nn.Module):
        return give_network(value)
    if isinstance(value, Mapping):
        return {name: _with_targets(f"{key}.{name}", part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_targets(key, part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, functools.partial):
        if value.args:
            raise ValueError(f"{key}: must be a partial of keywords alone, as in partial(SGD, momentum=0.9)")
        return {_TARGET: give_factory(value.func, what=key), **_with_targets(key, value.keywords)}
    if isinstance(value, type) or inspect.isfunction(value):
        name = give_factory(value, what=key)
        return name if key.endswith(_TARGET) else {_TARGET: name}
    return value
