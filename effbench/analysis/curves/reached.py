"""Points whose rounds ended before they came to what was asked: <axis>_reached beside <axis>."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import POINT_KEYS
from effbench.analysis.curves.columns import codes_of, parse_numbers
from effbench.analysis.curves.groups import seed_name
from effbench.analysis.curves.labels import label_axes

_SUFFIX = "_reached"
_ROUND_OFF = 1e-6


def axes_in_rounds(frame: pd.DataFrame, /) -> list[str]:
    """Return the axes of which a frame says how far they came.

    >>> axes_in_rounds(pd.DataFrame({"prune": [0.9], "prune_reached": [0.7], "bits_reached": [4]}))
    ['prune']
    """
    names = [str(name).removesuffix(_SUFFIX) for name in frame.columns if str(name).endswith(_SUFFIX)]
    return [name for name in names if name in frame.columns]


def ended_early(runs: pd.DataFrame, /) -> NDArray[np.bool_]:
    """Return which runs did not come to what was asked of one of their axes: (n_runs,)."""
    early = np.zeros(len(runs), dtype=bool)
    for axis in axes_in_rounds(runs):
        early |= _shortfall(runs, axis) > 0
    return early


def without_repeats(runs: pd.DataFrame, points: NDArray[np.int64], /) -> NDArray[np.bool_]:
    """Return which runs to keep, so that points which came equally far are one point: (n_runs,).

    Points that agree in all but what was asked, and came equally far with every seed, are the same operating point.
    Of them the one that was asked for least stays: the choice does not depend on what was measured.
    """
    early = ended_early(runs)
    kept = np.ones(len(runs), dtype=bool)
    if not early.any() or "point" not in runs.columns:
        return kept
    shortfall = sum((np.nan_to_num(_shortfall(runs, axis)) for axis in axes_in_rounds(runs)), np.zeros(len(runs)))
    signatures: dict[object, list[tuple[float, int]]] = {}
    identities = _identities(runs)
    for point in np.unique(points):
        rows = np.flatnonzero(points == point)
        signature = frozenset(identities[row] for row in rows)
        signatures.setdefault(signature, []).append((float(shortfall[rows].sum()), int(point)))
    for same in signatures.values():
        for _, point in sorted(same)[1:]:
            kept[points == point] = False
    return kept


def with_reached(label: str, runs: pd.DataFrame, /) -> str:
    """Return a point's label with how far its runs came, where that is not as far as was asked.

    >>> runs = pd.DataFrame({"point": ["prune=0.99"], "prune": [0.99], "prune_reached": [0.785]})
    >>> with_reached("prune=0.99", runs)
    'prune=0.99 asked, 0.785 reached'
    """
    for axis in axes_in_rounds(runs):
        if (_shortfall(runs, axis) > 0).any():
            reached = _numbers(runs, axis + _SUFFIX)
            low, high = f"{reached.min():.4g}", f"{reached.max():.4g}"
            came = low if low == high else f"{low} to {high}"
            asked = f"{axis}={label_axes(label).get(axis, '').partition(' (')[0]}"
            label = re.sub(rf"(^|, ){re.escape(asked)}", rf"\g<0> asked, {came} reached", label, count=1)
    return label


def _identities(runs: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return what each run is, but for what was asked of the axes in rounds."""
    axes = axes_in_rounds(runs)
    shared = [codes_of(runs[name]).tolist() for name in POINT_KEYS if name in runs.columns and name != "point"]
    reached = [_came_to(runs, axis).round(9).tolist() for axis in axes]
    seeds = [seed_name(seed) for seed in runs["seed"]] if "seed" in runs.columns else [""] * len(runs)
    identities: list[tuple[object, ...]] = []
    for row, label in enumerate(runs["point"].astype(str)):
        named = label_axes(label)
        rest = tuple((axis, value) for axis, value in named.items() if axis not in axes) if named else (label,)
        same = (tuple(values[row] for values in shared), tuple(str(values[row]) for values in reached))
        identities.append((seeds[row], rest, *same))
    return identities


def _came_to(runs: pd.DataFrame, axis: str) -> NDArray[np.float64]:
    """Return how far each run came, which is as far as was asked where nothing else is known: (n_runs,)."""
    reached = _numbers(runs, axis + _SUFFIX)
    return np.where(np.isnan(reached), _numbers(runs, axis), reached)


def _shortfall(runs: pd.DataFrame, axis: str) -> NDArray[np.float64]:
    """Return by how much each run fell short of what was asked; NaN where it is not known, 0 within round-off."""
    asked, reached = _numbers(runs, axis), _numbers(runs, axis + _SUFFIX)
    short = np.abs(asked - reached)
    return np.where(short <= _ROUND_OFF * np.maximum(1.0, np.abs(asked)), 0.0, short)


def _numbers(runs: pd.DataFrame, name: str) -> NDArray[np.float64]:
    numbers = parse_numbers(runs[name])
    return np.full(len(runs), np.nan) if numbers is None else numbers
