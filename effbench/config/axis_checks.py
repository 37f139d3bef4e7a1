"""The axes in the user's folders, checked as a whole: their names, what they read, where they stand, their examples.

effbench's own are held to the same by a test.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from functools import lru_cache

from hydra.errors import HydraException

from effbench.checks.fields import shown
from effbench.config.axis import CONFIGURED, Axis
from effbench.config.keys import GROUPS
from effbench.config.members import declared_axes, members, users_files
from effbench.config.overrides import parse, values_of
from effbench.config.search_path import PRIMARY, conf_folder
from effbench.config.typed import unknown_name
from effbench.config.yaml_files import read_yaml

COSTS = ("size_bytes", "macs_effective", "macs", "latency")
"""What an axis can move."""
SAVINGS = ("bytes", "macs", "latency")
"""Of what an axis says how real the saving is."""
REALNESS = ("simulated", "masked", "removed", "executed")
_COLUMNS = (
    *("point", "reference", "reference_key", "control", "refined"),
    *("run_id", "run_key", "run_name", "sweep", "status", "key"),
    *("start_time", "label", "rounds", "side", "eval_side", "loss", "accuracy", "accuracy_val", "calibration_error"),
    *("macs", "macs_effective", "flops", "params", "params_nonzero", "size_bytes", "size_ratio", "coding_gain"),
    *("peak_memory_bytes", "energy_modelled_uj"),
    *("train_seconds", "train_memory_mb", "quality_name", "quality_kind", "quality_unit", "quality_direction"),
)
"""Columns of a table of runs: what an axis is logged as must be another one."""
_BESIDE = ("hydra", "engines", "stage", "axis", "launched_point", *GROUPS)
"""Keys that are not in config.yaml itself."""


def check_axes() -> None:
    """Refuse an axis of the user's that could not be swept: ValueError names its file."""
    axes = declared_axes()
    for name, (_, file) in users_files("axis").items():
        try:
            _check(axes[name], axes)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None


@lru_cache(maxsize=1)
def reserved_names() -> frozenset[str]:
    """Return the names that no axis can have: the keys of the configuration, and the columns of a table of runs."""
    path = conf_folder() / f"{PRIMARY}.yaml"
    return frozenset({*read_yaml(path, str(path)), *_COLUMNS, *_BESIDE})


def _check(axis: Axis, axes: Mapping[str, Axis]) -> None:
    where = f"axis.{axis.name}"
    if axis.name in reserved_names():
        raise ValueError(
            f"{axis.name} is a key or a column of effbench's own; call the file, and so the axis, otherwise"
        )
    _check_readers(axis, where)
    if "stage" in axis.readers:
        _check_stage(axis, axes, where)
    elif not axis.target.isidentifier():
        raise ValueError(f"{where}.target={axis.target}: must be the name of an argument of the {axis.reads}'s factory")
    for field, values, known in (
        ("moves", axis.moves, COSTS),
        ("realised", axis.realised, SAVINGS),
        ("realised", axis.realised.values(), REALNESS),
    ):
        for value in values:
            if value not in known:
                raise ValueError(f"{where}.{field}={value}: must be among {', '.join(known)}")
    _check_values(axis, where)


def _check_readers(axis: Axis, where: str) -> None:
    """Refuse several readers but a network and, for those that have no such argument, a stage."""
    if len(axis.readers) != 1 and axis.readers != ("network", "stage"):
        raise ValueError(f"{where}.reads=[{', '.join(axis.readers)}]: must be stage, network, data or [network, stage]")
    if axis.neutral == CONFIGURED and "stage" in axis.readers:
        raise ValueError(f"{where}.neutral={CONFIGURED}: is for an axis of a network or the data, not of a stage")


def _check_stage(axis: Axis, axes: Mapping[str, Axis], where: str) -> None:
    """Refuse an axis of a technique without a place: a stage that there is, a field, a phase, an axis it modifies."""
    stage, dot, field = axis.target.partition(".")
    if not dot or not field.isidentifier():
        raise ValueError(f"{where}.target={axis.target}: must be <stage>.<field>, as in prune.ratio")
    for name in (stage, *axis.replaces, *axis.replaces.values()):
        if name not in members("stage"):
            raise ValueError(unknown_name(f"{where}: {name}", members("stage"), "stage"))
    for target in axis.also:
        if target.count(".") != 1 or target.split(".")[0] not in members("stage"):
            raise ValueError(f"{where}.also: {target}: must be <stage>.<field>, as in constrain.rate")
    if axis.phase is None and not axis.replaces:
        raise ValueError(f"{where}.phase: must be given, as in prune: where its stage stands in a recipe")
    if axis.phase in ("train", "finetune") and not axis.replaces:
        raise ValueError(
            f"{where}.phase={axis.phase}: is a step of every recipe; name a phase, as in prune or one anew"
        )
    known = {other.phase for other in axes.values() if other.name != axis.name and other.phase is not None}
    if axis.phase is not None and axis.phase not in known:  # one anew, or a slip that would reorder every run
        near = difflib.get_close_matches(axis.phase, known, n=1, cutoff=0.75)
        if near:
            raise ValueError(f"{where}.phase={axis.phase}: there is no such phase; did you mean {near[0]}?")
    if axis.modifies is not None and axis.modifies not in axes:
        raise ValueError(unknown_name(f"{where}.modifies: {axis.modifies}", axes, "axis"))


def _check_values(axis: Axis, where: str) -> None:
    """Refuse values that can't be: a neutral one of another type, a pattern that is none, an example that does nothing.

    An example is needed: it stands in messages, and where a value is needed to try the stage out.
    """
    kinds = {"float": (int, float), "int": (int,), "str": (str,), "bool": (bool, str)}[axis.type]
    fits = isinstance(axis.neutral, kinds) and isinstance(axis.neutral, bool) <= (axis.type == "bool")
    if axis.neutral != CONFIGURED and (not fits or axis.typed(axis.neutral) is None):
        word = {"float": "number", "int": "whole number", "str": "text", "bool": "truth value"}[axis.type]
        raise ValueError(f"{where}.neutral={shown(axis.neutral)}: must be a {word}, as type: {axis.type} says")
    try:
        re.compile(axis.pattern or "")
    except re.error as error:
        raise ValueError(f"{where}.pattern={axis.pattern}: is no regular expression ({error})") from None
    if axis.pattern is not None and axis.pattern_words is None:
        raise ValueError(f"{where}.pattern_words: must be given: what the pattern allows, in words")
    if axis.scale == "geometric" and (axis.type not in ("int", "float") or _lowest(axis) < 0):
        raise ValueError(f"{where}.scale=geometric: is for numbers above 0; give minimum: or above:, 0 or more")
    if not axis.example:
        raise ValueError(f'{where}.example: must be given: values to sweep, as in example: "0.5,0.9"')
    try:
        (override,) = parse([f"{axis.name}={axis.example}"])
        values = [axis.check(value) for value in values_of(override)]
    except (ValueError, HydraException):
        raise ValueError(f"{where}.example={axis.example}: must be {axis.allowed()}") from None
    if all(axis.is_neutral(value) for value in values):
        raise ValueError(f"{where}.example={axis.example}: must have a value at which the axis does something")


def _lowest(axis: Axis) -> float:
    """Return the lower end of an axis's range; -inf where it has none."""
    return max([bound for bound in (axis.minimum, axis.above) if bound is not None], default=-math.inf)
