"""What a point is called, and which axes its label names ("prune=0.5, bits=4")."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from effbench.analysis.curves.columns import metric_columns

_AXIS = re.compile(r"(?:^|, )([A-Za-z_][\w.]*)=")
_RECORD = re.compile(r"realised/|effbench\.|quality_(name|kind|unit|direction|chance)$|n_seeds$|.*_(std|reached)$")
_BOOKKEEPING = {
    *("point", "seed", "reference", "reference_key", "control", "refined", "data", "model", "task", "recipe"),
    *("run_id", "run_key", "run_name", "sweep", "status"),
}
_GROUP_PART = re.compile(r"(?:(?<=^)|(?<=, ))(?:model|data|task)(?:\.[\w.]+)?=(?:\[[^\]]*\]|[^,])*")
_MOST_AXES = 3


def label_axes(label: str, /) -> dict[str, str]:
    """Split a label into axes and values, as text; a label that names no axis gives nothing.

    >>> label_axes("pooling=[1, 3], prune=0.5")
    {'pooling': '[1, 3]', 'prune': '0.5'}
    >>> label_axes("reference")
    {}
    """
    names = list(_AXIS.finditer(label))
    ends = [*(name.start() for name in names[1:]), len(label)][: len(names)]
    return {name[1]: label[name.end() : end] for name, end in zip(names, ends, strict=True)}


def point_labels(points: pd.DataFrame, /, *, cost: str, quality: str) -> list[str]:
    """Name every point: its `point`, with its model where there are several.

    Without `point`, the columns that vary and are neither metrics nor bookkeeping name a row, or else its cost does.
    """
    if "point" not in points.columns:
        axes = _axis_columns(points, excluded={cost, quality}) or [cost]
        rows = zip(*(points[axis] for axis in axes), strict=True)
        return [", ".join(f"{axis}={_text(value)}" for axis, value in zip(axes, row, strict=True)) for row in rows]
    labels = [str(label) for label in points["point"]]
    if "model" not in points.columns or points["model"].nunique(dropna=False) < 2:
        return labels
    return [
        label if "model" in label_axes(label) else f"{label} ({model})"
        for label, model in zip(labels, points["model"], strict=True)
    ]


def shared_groups(labels: Sequence[str], /) -> list[str]:
    """Return the parts that all labels of a group have, wherever they stand, and that say network, data set or task.

    >>> shared_groups(["coder=ans, model=lenet_5, prune=0.5", "coder=huffman, model=lenet_5, reference"])
    ['model=lenet_5']
    """
    parts = [[found[0] for found in _GROUP_PART.finditer(label)] for label in labels]
    return [part for part in (parts[0] if parts else []) if all(part in others for others in parts)]


def without_parts(label: str, parts: Sequence[str], /) -> str:
    """Return a label without some of its parts.

    >>> without_parts("coder=ans, model=lenet_5, prune=0.5", ["model=lenet_5"])
    'coder=ans, prune=0.5'
    """
    for part in parts:
        label = re.sub(rf"(^|(?<=, )){re.escape(part)}(, |$)", "", label, count=1)
    return label.removesuffix(", ")


def has_parts(label: str, parts: Sequence[str], /) -> bool:
    """Whether a label has all of these parts."""
    own = [found[0] for found in _GROUP_PART.finditer(label)]
    return all(part in own for part in parts)


def group_parts(label: str, /) -> dict[str, str]:
    """Return what a label says of the network, data set and task of its run, by key.

    >>> group_parts("model._target_=nets.small, coder=ans, reference")
    {'model._target_': 'nets.small'}
    """
    return dict(found[0].split("=", 1) for found in _GROUP_PART.finditer(label))


def without_reference(label: str, /) -> str:
    """Return the label of a point that is nobody's reference, though it has every axis at its neutral value.

    >>> without_reference("model=lenet_5, reference"), without_reference("reference (lenet_5)")
    ('model=lenet_5', 'lenet_5')
    """
    return re.sub(r"^reference \((.*)\)$", r"\1", label.removesuffix(", reference"))


def short_label(label: str, /, *, after: str) -> str:
    """Write a label that follows another one: only the value, where both name the same single axis.

    >>> short_label("prune=0.9", after="prune=0.5")
    '0.9'
    >>> short_label("bits=4", after="prune=0.5")
    'bits=4'
    """
    axes = label_axes(label)
    return next(iter(axes.values())) if len(axes) == 1 and list(axes) == list(label_axes(after)) else label


def _axis_columns(points: pd.DataFrame, *, excluded: set[str]) -> list[str]:
    others = _BOOKKEEPING | excluded | set(metric_columns(points))
    names = [
        name
        for name in map(str, points.columns)
        if name not in others and not _RECORD.match(name) and points[name].astype(str).nunique() > 1
    ]
    return sorted(names) if len(names) <= _MOST_AXES else []


def _text(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
