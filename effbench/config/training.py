"""What of training is named by a class: short names, options one by one, and all of it tried before anything starts."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from effbench.checks.fields import shown
from effbench.config.component_keys import FIELDS, HOMES, KEY, STATED, is_component_key
from effbench.config.typed import unknown_name
from effbench.data import ImageData
from effbench.plan.chain import Chain
from effbench.plan.keys import digest
from effbench.plan.training_stage import TrainingStage, component_of
from effbench.training.device import resolve_device

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")

Named = Callable[[str], Mapping[str, Mapping[str, Any]]]
"""Gives the members of a configuration group."""


def with_components(node: DictConfig, lines: Mapping[str, str], members: Named, /) -> None:
    """Put what overrides say of these options into a configuration, in place.

    lines: overrides by their keys. A class that is named anew has none of the options of the one that stood there; its
    own may be given one by one, as in train.optimizer.momentum=0.8.
    """
    parser = OverridesParser.create()
    OmegaConf.set_struct(node, False)
    for key in sorted(lines, key=lambda key: (key.count("."), key)):
        value = parser.parse_override(lines[key]).value()
        match = KEY.fullmatch(key)
        assert match is not None
        if match["rest"] is None:
            OmegaConf.update(node, key, _by_name(key, value, members), merge=False)
            continue
        whole = key.removesuffix(match["rest"])
        stands = OmegaConf.select(node, whole)
        if key == f"{whole}._target_":
            OmegaConf.update(node, whole, {"_target_": value}, merge=False)
        elif isinstance(stands, DictConfig):
            # What is taken over from the training becomes one's own.
            OmegaConf.update(node, whole, OmegaConf.to_container(stands, resolve=True), merge=False)
            OmegaConf.update(node, key, value, merge=False)
        else:
            example = min(members(_group(whole)))
            raise ValueError(f"{key}={shown(value)}: give {whole} as well, as in {whole}={example}")


def named_components(node: Mapping[str, Any], members: Named, /) -> dict[str, Any]:
    """Return an unresolved configuration in which short names, wherever they stand, are what they stand for."""
    stages = {name: _named_in(f"stage.{name}", options, members) for name, options in node["stage"].items()}
    return {**node, "stage": stages, **{name: _named_in(name, node[name], members) for name in STATED}}


def _named_in(where: str, options: Mapping[str, Any], members: Named) -> dict[str, Any]:
    fields = [name for name in options if is_component_key(f"{where}.{name}")]
    return {**options, **{name: _by_name(f"{where}.{name}", options[name], members) for name in fields}}


def _by_name(key: str, value: Any, members: Named) -> Any:
    """Return the node that a short name stands for; anything else as it is."""
    if isinstance(value, list):
        return [_by_name(key, entry, members) for entry in value]
    if not isinstance(value, str) or "." in value or "${" in value:
        return {"_target_": value} if isinstance(value, str) and "${" not in value else value
    group = _group(key)
    known = members(group)
    if value in known:
        return _numbers(known[value])
    if inspect.isclass(getattr(importlib.import_module(HOMES[group]), value, None)):
        return {"_target_": f"{HOMES[group]}.{value}"}
    hint = f"or a class of {HOMES[group]}, or a dotted name"
    raise ValueError(f"{unknown_name(f'{key}: {value}', known, group)}; {hint}".replace(": ", "=", 1))


def _group(key: str) -> str:
    return FIELDS[key.rpartition(".")[2]]


def _numbers(value: Any) -> Any:
    """Return what YAML gives with 1e-3 as a number, as it is on a command line."""
    if isinstance(value, Mapping):
        return {name: _numbers(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def in_words(node: Mapping[str, Any], /) -> dict[str, Any]:
    """Return a configuration, resolved, to be logged: what names a class as a call, "torch.optim.SGD(momentum=0.9)"."""
    stages = {name: _said_in(f"stage.{name}", options) for name, options in node["stage"].items()}
    return {**node, "stage": stages, **{name: _said_in(name, node[name]) for name in STATED}}


def _said_in(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: value for name, value in options.items() if value and is_component_key(f"{where}.{name}")}
    return {**options, **{name: str(component_of(FIELDS[name], value)) for name, value in named.items()}}


def check_precision(node: Mapping[str, Any], /) -> None:
    """Refuse float16 where there is no GPU. node: a configuration, resolved."""
    nodes = {"train": node["train"], **{f"stage.{name}": options for name, options in node["stage"].items()}}
    asking = [where for where, options in nodes.items() if options.get("precision") == "float16"]
    device = resolve_device(str(node["device"])) if asking else None
    if device is not None and device.type == "cpu":
        raise ValueError(
            f"{asking[0]}.precision=float16: is for GPUs, and device={node['device']} is the CPU here; "
            "processors only emulate it, slower than float32; bfloat16 and float32 run there"
        )


def check_options(chain: Chain, shapes: frozenset[tuple[int, ...]], /) -> None:
    """Try out what the trainings of a chain name. ValueError begins with the key. shapes: of the parameters."""
    for step in chain.plain_steps:
        stage = step.stage
        if isinstance(stage, TrainingStage):
            asked = digest({"stage": stage.identity(), "task": chain.task.identity(), "data": chain.fingerprint})
            problem = _tried.get((asked, chain.side, shapes))
            if problem is None:
                problem = _problem(stage, chain, shapes)
                _tried[asked, chain.side, shapes] = problem
            if problem:
                where = step.name if step.name in STATED else f"stage.{step.name}"
                raise ValueError(f"{where}.{problem}")


_tried: dict[tuple[str, int, frozenset[tuple[int, ...]]], str] = {}
"""What is wrong with a training, by all that decides it; empty where nothing is."""


def _problem(stage: TrainingStage, chain: Chain, shapes: frozenset[tuple[int, ...]]) -> str:
    data: ImageData = chain.loaded_data()
    try:
        stage.check_training(chain.loaded_task(), data, side=chain.side, shapes=shapes)
    except ValueError as error:
        return str(error)
    return ""
