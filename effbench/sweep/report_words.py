"""What the report says of a frame of runs: what was asked, and which runs its answers are not of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis import Quality
from effbench.analysis.curves.groups import GROUP_KEYS, group_columns, marked_references
from effbench.analysis.curves.labels import label_axes, without_reference

_WORDS = {
    "model": "network",
    "data": "data",
    "side": "side of the images",
    "task": "task",
    "seed": "seeds",
    "recipe": "recipe",
    "rounds": "rounds",
    "train.epochs": "training epochs",
    "finetune.epochs": "finetuning epochs",
    "coder": "coder",
}
_MOST = 24
"""So many values of one thing are written out."""


def swept_columns(frame: pd.DataFrame, /) -> list[str]:
    """Return the columns that tell points apart: networks and data first, then the axes, in the labels' order."""
    axes = dict.fromkeys(str(name) for name in frame.attrs.get("axes") or [])
    if "point" in frame.columns:
        for label in dict.fromkeys(frame["point"].astype(str)):
            axes |= dict.fromkeys(label_axes(without_reference(label)))
    axes |= dict.fromkeys(name for name in GROUP_KEYS if name in frame.columns and frame[name].nunique() > 1)
    there = [name for name in axes if name in frame.columns]
    groups = group_columns(there)
    return [*groups, *(name for name in there if name not in groups)]


def asked_of(frame: pd.DataFrame, /, *, tolerance: float) -> dict[str, str]:
    """Return what was asked, in the order in which it is read: the axes, then what all runs have in common."""
    asked = {}
    compressed = frame[~marked_references(frame)] if len(frame) else frame
    for axis in swept_columns(frame):
        if axis not in _WORDS:
            asked[axis] = _values(compressed[axis] if len(compressed) else frame[axis])
    for name, word in _WORDS.items():
        if name in frame.columns and frame[name].notna().any():
            asked[word] = _values(frame[name])
    return {**asked, "tolerance": f"{tolerance:g}"}


def _values(column: pd.Series) -> str:
    """Write the different values of a column, numbers ascending; the first ones of many."""
    values = list(dict.fromkeys(column.dropna()))
    if all(isinstance(value, int | float | np.number) for value in values):
        values = sorted(values)
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join([*texts[:_MOST], *([f"… {len(texts)} in all"] if len(texts) > _MOST else [])])


def without_numbers(frame: pd.DataFrame, /) -> NDArray[np.bool_]:
    """Return which runs have a quality (validation, test) that is no finite number: (n_runs,)."""
    wrong = np.zeros(len(frame), dtype=bool)
    if len(frame):
        quality = Quality.of_frame(frame)
        for name in (quality.name, quality.column):
            if name in frame.columns:
                wrong |= ~np.isfinite(pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64))
            else:
                wrong[:] = True
    return wrong


def as_failed(frame: pd.DataFrame, wrong: NDArray[np.bool_], /) -> pd.DataFrame:
    """Return a frame without some of its runs, which its `.attrs` then has among the failed ones."""
    if not wrong.any():
        return frame
    kept = frame[~wrong].copy()
    groups = [name for name in GROUP_KEYS if name in frame.columns]
    runs = frame[wrong]
    failed = [
        {"point": str(row.get("point", "")), "seed": row.get("seed", 0), **{name: row[name] for name in groups}}
        for row in runs.to_dict("records")
    ]
    kept.attrs = {**frame.attrs, "failed": [*frame.attrs.get("failed", ()), *failed]}
    return kept


def problems_of(frame: pd.DataFrame, /) -> list[str]:
    """Return a line for each run that the answers are not of, or that is not whole: with its name, and why."""
    lines = []
    for _, name, status, error in frame.attrs.get("unfinished", ()):
        lines.append(f"{status.lower()}: {name}{f': {error}' if error else ''}")
    for _, name, _ in frame.attrs.get("repeated", ()):
        lines.append(f"logged twice: {name}; the later one counts")
    if len(frame):
        wrong = without_numbers(frame)
        quality = Quality.of_frame(frame).name
        lines += [
            f"diverged or not whole: {_name(frame, row)} has no finite {quality}"
            for row in np.flatnonzero(wrong).tolist()
        ]
        lacking = _without_costs(frame) & ~wrong
        lines += [f"logged in part: {_name(frame, row)} has no size_bytes" for row in np.flatnonzero(lacking).tolist()]
    return lines


def _without_costs(frame: pd.DataFrame) -> NDArray[np.bool_]:
    if "size_bytes" not in frame.columns:
        return np.ones(len(frame), dtype=bool)
    return pd.to_numeric(frame["size_bytes"], errors="coerce").isna().to_numpy()


def _name(frame: pd.DataFrame, row: int) -> str:
    run = frame.iloc[row]
    if "run_name" in frame.columns and run["run_name"]:
        return str(run["run_name"])
    return f"{run.get('point', row)}, seed={run.get('seed', 0)}"
