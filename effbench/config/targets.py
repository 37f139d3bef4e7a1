"""What the user names by `_target_`, checked before anything of it is called: each refusal names the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from effbench.config.component_keys import is_component_key
from effbench.config.members import members, naming_the_file
from effbench.data import ImageData
from effbench.data.data_module import is_data_module
from effbench.plan.stage import Stage
from effbench.plan.targets import find_target
from effbench.tasks import Task

_KINDS: Mapping[str, type] = {"model": nn.Module, "data": ImageData, "task": Task}
_TARGET = "_target_"


def check_targets(node: Mapping[str, Any], choices: Mapping[str, str] = MappingProxyType({}), /) -> None:
    """Refuse a network, a data set, a task or a stage that its `_target_` can't name: ValueError.

    choices: the member of each group that was chosen. Where its file is the user's, the message names that.
    """
    for group, kind in _KINDS.items():
        member = choices.get(group, "")
        is_of_the_file = node[group].get(_TARGET) == members(group).get(member, {}).get(_TARGET)
        with naming_the_file(group, member if is_of_the_file else ""):
            check_target(group, node[group], kind)
    for name, options in node["stage"].items():
        with naming_the_file("stage", name):
            check_target(f"stage.{name}", options, Stage, only_classes=True)


def check_target(where: str, node: Mapping[str, Any], kind: type | None, *, only_classes: bool = False) -> None:
    """Refuse a node whose `_target_` names nothing of a kind (None: an engine): ValueError that begins with its key."""
    for path, key in _special_keys(node, where):
        raise ValueError(f"{path}: there is no such key; effbench itself calls what {where}.{_TARGET} names, {key}")
    try:
        target = find_target(node.get(_TARGET))
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None
    is_class = isinstance(target, type)
    if kind is None and is_class and not hasattr(target, "prepare"):
        raise ValueError(f"{where}.{_TARGET}={node[_TARGET]}: must be a class with name, prepare and synchronise")
    fits = kind is None or (issubclass(target, kind) if isinstance(target, type) else not only_classes)
    if kind is ImageData and isinstance(target, type):
        fits = fits or is_data_module(target)
        if not fits and issubclass(target, Dataset):
            raise ValueError(
                f"{where}.{_TARGET}={node[_TARGET]}: is one Dataset, and a sweep needs three splits; name a function "
                "that returns (train, val, test) of it, or (train, test)"
            )
    if not fits:
        words = f"a class derived from {kind.__name__}" if kind is not None else ""
        other = "" if only_classes else ", or a function that gives an instance of one"
        other += ", a DataModule, or (train, val, test) Datasets" if kind is ImageData else ""
        what = f"{target.__name__} is a class of another kind; " if is_class and not only_classes else ""
        raise ValueError(f"{where}.{_TARGET}={node[_TARGET]}: {what}must be {words}{other}")


def _special_keys(node: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """Yield what Hydra would read as an order to call something, at any depth, and what is said of it."""
    for name, value in node.items():
        is_nested = (
            name == _TARGET
            and not is_component_key(where)
            and "." in where.removeprefix("stage.").removeprefix("engine.")
        )
        if is_nested:
            yield f"{where}.{name}", "and nothing within its options"
        elif name in ("_partial_", "_args_", "_recursive_", "_convert_"):
            yield f"{where}.{name}", "with the options as they stand"
        if isinstance(value, Mapping):
            yield from _special_keys(value, f"{where}.{name}")
