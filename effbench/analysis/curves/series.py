"""Which points of a curve are joined by a line: those that differ in one number alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.labels import label_axes, without_reference

_NETWORK_AXES = ("alpha",)
"""Widths: each makes another network, which has a line of its own, as models have."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Points that agree in all axes but one, in the order of that axis."""

    name: str
    """What the other axes are, as in "rho=0.5"; empty where there is one series."""
    rows: NDArray[np.int64]
    """Of the curve."""
    is_joined: bool
    """Whether a line between its points means something: what they differ in is a number."""


def series_of(curve: Curve, /) -> list[Series]:
    """Split the points of a curve into series, in the order in which the values of the other axes sort.

    Each point is in one. The axis along which lines go is the one of most values, but a width only where it is alone.
    Points with different references are never joined, nor are categories, nor networks.
    """
    values = axis_values(curve)
    along = _along(values)
    others = [name for name in values.columns if name != along]
    keys = list(zip(curve.references.tolist(), *(values[name] for name in others), strict=True))
    groups: dict[tuple[object, ...], list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    if (
        max(map(len, groups.values()), default=0) < 2
    ):  # such as one axis of categories: nothing to join or to tell apart
        return [Series(name="", rows=np.arange(len(curve)), is_joined=False)]
    ordered = sorted(groups.items(), key=lambda item: tuple(_sort_key(value) for value in item[0]))
    names = _names([key for key, _ in ordered], others, curve)
    return [
        Series(name=name, rows=_in_order(rows, values, along), is_joined=along is not None and len(rows) > 1)
        for name, (_, rows) in zip(names, ordered, strict=True)
    ]


def axis_values(curve: Curve, /) -> pd.DataFrame:
    """Return the axes that vary over the points, (n_points, n_axes), as text; "" where a point does not say."""
    points = curve.points
    labels = [str(label) for label in points["point"]] if "point" in points.columns else curve.labels
    named = [label_axes(without_reference(label)) for label in labels]
    axes = dict.fromkeys(axis for own in named for axis in own)
    values = {axis: [_value(points, row, axis, own) for row, own in enumerate(named)] for axis in axes}
    if "model" in points.columns and points["model"].nunique(dropna=False) > 1:
        values["model"] = [str(model) for model in points["model"]]
    return pd.DataFrame({axis: own for axis, own in values.items() if len(set(own)) > 1}, index=range(len(points)))


def _value(points: pd.DataFrame, row: int, axis: str, named: dict[str, str]) -> str:
    """Return the value of an axis: of its column, which knows the reference's too, else of the label."""
    if axis in points.columns and pd.notna(points[axis].iloc[row]):
        value = points[axis].iloc[row]
        return f"{value:g}" if isinstance(value, float) else str(value)
    return named.get(axis, "")


def _along(values: pd.DataFrame) -> str | None:
    numeric = [str(name) for name in values.columns if parse_numbers(values[name]) is not None]
    free = [name for name in numeric if name not in _NETWORK_AXES] or numeric
    return max(reversed(free), key=lambda name: values[name].nunique(), default=None)


def _in_order(rows: list[int], values: pd.DataFrame, along: str | None) -> NDArray[np.int64]:
    """Return rows by their values of an axis; by cost, which is their order, where one of them is not known."""
    found = np.asarray(rows, dtype=np.int64)
    numbers = None if along is None else parse_numbers(values[along].iloc[rows])
    return found if numbers is None or np.isnan(numbers).any() else found[np.argsort(numbers, kind="stable")]


def _names(keys: list[tuple[object, ...]], others: list[str], curve: Curve) -> list[str]:
    """Return what tells series apart: the other axes, or else their reference."""
    if len(keys) < 2:
        return [""] * len(keys)
    names = [
        ", ".join(f"{axis}={value}" for axis, value in zip(others, key[1:], strict=True) if value != "") for key in keys
    ]
    references = [curve.labels[int(str(key[0]))] for key in keys]
    return [name or reference for name, reference in zip(names, references, strict=True)]


def _sort_key(value: object) -> tuple[int, float, str]:
    text = str(value)
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
