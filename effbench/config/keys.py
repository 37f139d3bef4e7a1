"""The keys of a command line, checked: those that there are, those that can be swept, the choices of a group."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from effbench.checks.fields import shown
from effbench.config.component_keys import is_component_key
from effbench.config.experiment_files import EXPERIMENTS
from effbench.config.overrides import values_of
from effbench.config.typed import unknown_name
from effbench.plan.watching import WATCHED

GROUPS = ("task", "model", "data", "recipe", "train", "tracking")
ENGINES = "engines"
"""The node of the configuration that holds every engine's options; users write engine.<name>.<option>."""
FREE_NODES = ("model.", "data.", "task.")
"""Nodes whose keys are the options of a factory: it says itself which it takes."""
LISTS_WITHIN = {"measure.batch": "1,8", "measure.threads": "1,4", "figure.format": "svg,pdf"}
"""Keys, with examples, whose several values are measured or drawn within each run: they never multiply runs."""
_OF_THE_WHOLE = (
    "task",
    "device",
    "tolerance",
    "saturation",
    "figure",
    "dry_run",
    "tracking",
    "measure",
    "sweep",
    "store",
)
SINGLE = (*_OF_THE_WHOLE, ENGINES)
"""Keys, and nodes of keys, that are the whole sweep's."""
SINGLE_KEYS = tuple(f"train.{name}" for name in WATCHED)
"""Keys that are so within a node that is not."""


MOVED = {
    f"stage.{stage}.fold_batch_norm": "stage.fold_batch_norm.enabled"
    for stage in ("quantize", "quantize_inputs", "bits_budget")
}
"""Keys that have another name: what they set is done to references as well."""
MOVED_OPTIONS = {
    "data.in_memory": "data.resize_once=true or false, and data.cache=memory, disk or none",
    "data.n_workers": "data.workers",
}
"""Options that effbench's own factories no longer take, and what is given instead. A user's may take them."""


def options_of(group: str, /) -> list[str]:
    """Return the names of a configuration group: the YAML files in its folder, but for hidden ones (an editor's)."""
    found: list[str] = GlobalHydra.instance().config_loader().get_group_options(group, results_filter=ObjectType.CONFIG)
    return [name for name in found if not name.startswith(".")]


def check_choice(group: str, value: object, /) -> None:
    """Refuse what is no member of a configuration group."""
    known = options_of(group)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {group}={near[0]}? " if near else ""
        raise ValueError(f"{group}={shown(value)}: there is no such choice; {hint}known: {', '.join(sorted(known))}")


def check_key(override: Override, base: DictConfig, axis_names: Sequence[str], /) -> None:
    """Refuse a key that the configuration lacks, with or without a plus before it."""
    key = override.key_or_group
    if key in MOVED:
        raise ValueError(f"{key}: folding is done to points and references alike; give {MOVED[key]}=true")
    if key.startswith(FREE_NODES) or _has(base, key) or _is_layers_of_a_stage(base, key) or _is_component(base, key):
        return
    raise ValueError(_unknown(key, base, axis_names))


def check_known(node: Mapping[str, Any], base: DictConfig, axis_names: Sequence[str], /) -> None:
    """Refuse a node of a file with a key that the configuration lacks."""
    for key in _leaves(node):
        if not (key.startswith(FREE_NODES) or _has(base, key)):
            raise ValueError(_unknown(key, base, axis_names))


def _unknown(key: str, base: DictConfig, axis_names: Sequence[str]) -> str:
    leaves = [_as_written(leaf) for leaf in _leaves(OmegaConf.to_container(base, resolve=False))]
    key = _as_written(key)
    top = key.partition(".")[0]
    inside = [leaf for leaf in leaves if leaf.startswith(f"{key}.")]
    if inside:
        return f"{key}: is a group of keys; give one of them, as in {inside[0]}=…"
    within = [leaf for leaf in leaves if leaf.startswith(f"{top}.")]
    tops = dict.fromkeys(leaf.partition(".")[0] for leaf in leaves)
    whole = [*axis_names, *tops, "hydra/launcher", *EXPERIMENTS]
    return unknown_name(key, [*leaves, *whole], "key", shown=within or whole)


def check_count(override: Override, /) -> None:
    """Refuse several values of a key that has one for the whole sweep, and none of one that needs some."""
    key = override.key_or_group
    if key in LISTS_WITHIN:
        if [] in list(values_of(override)):
            raise ValueError(f"{override.input_line}: give at least one value, as in {key}={LISTS_WITHIN[key]}")
    elif override.is_sweep_override() and (key in SINGLE_KEYS or key.partition(".")[0] in SINGLE):
        raise ValueError(f"{override.input_line}: takes one value, for the whole sweep")


def _as_written(key: str) -> str:
    """Return a key as users write it."""
    return key.replace(f"{ENGINES}.", "engine.", 1) if key.startswith(f"{ENGINES}.") else key


def _is_layers_of_a_stage(base: DictConfig, key: str) -> bool:
    """Whether a key is `layers` of a stage, which each has whether or not its YAML says so."""
    top, _, rest = key.partition(".")
    return top == "stage" and rest.partition(".")[0] in base.stage and rest.partition(".")[2] == "layers"


def _is_component(base: DictConfig, key: str) -> bool:
    """Whether a key is an option of training that names a class, or one of that class's options."""
    return is_component_key(key) and all(part in base.stage for part in key.split(".")[1:2] if key.startswith("stage."))


def _has(base: DictConfig, key: str) -> bool:
    node: Any = base
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            return False
        node = node._get_node(part)
    return not isinstance(node, DictConfig)


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif key != "_target_":
            yield f"{prefix}{key}"
