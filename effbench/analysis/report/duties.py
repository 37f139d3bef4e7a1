"""What a benchmark of compression owes its readers, and which of it a sweep lacks.

The list is that of Blalock et al. 2020, "What is the state of neural network pruning?" (arXiv:2003.03033, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from effbench.analysis.curves.groups import has_axis, marked_references, split_groups
from effbench.analysis.curves.labels import group_parts
from effbench.analysis.curves.quality import Quality

State = Literal["met", "missing", "not needed"]
POINTS, SEEDS, MANY_CLASSES = 5, 3, 100
_CRITERIA = ("stage.prune.criterion", "stage.prune_channels.criterion")
_BASELINES = {"random", "magnitude", "l1", "l2"}


@dataclass(frozen=True, kw_only=True)
class Duty:
    """One thing that is owed."""

    name: str
    state: State
    said: str
    """How it is met, or what is missing and what to do about it."""


def duties(frame: pd.DataFrame, /) -> list[Duty]:
    """Check a frame of runs (one row each, finite qualities); no rows owe everything. ValueError as `Quality` has it.

    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5"], "reference": [True, False], "seed": [0, 0],
    ...     "size_ratio": [1.2, 2.0], "macs_effective": [10, 5], "accuracy": [0.9, 0.8], "accuracy_val": [0.9, 0.8]})
    >>> [(duty.name, duty.state) for duty in duties(runs)][0]
    ('five operating points', 'missing')
    """
    quality = Quality.of_frame(frame)
    return [
        _enough_points(frame),
        _both_ratios(frame),
        _top5(frame, quality),
        _control(frame),
        _seeds(frame),
        _baselines(frame),
        _same_start(frame),
        _splits(frame, quality),
    ]


def _duty(name: str, is_met: bool, met: str, missing: str) -> Duty:
    return Duty(name=name, state="met" if is_met else "missing", said=met if is_met else missing)


def _enough_points(frame: pd.DataFrame) -> Duty:
    counts = {name: len(_labels(runs)) for name, runs in split_groups(frame).items()} if len(frame) else {"": 0}
    name, fewest = min(counts.items(), key=lambda item: item[1])
    there = f"{fewest} compressed point{'' if fewest == 1 else 's'}{f' of {name}' if name else ''}"
    return _duty(
        "five operating points",
        fewest >= POINTS,
        there,
        f"{there}: add {POINTS - fewest} or more values of an axis",
    )


def _labels(runs: pd.DataFrame) -> set[str]:
    """Return the labels of the points of a group that are compressed."""
    if "point" not in runs.columns:
        return {str(row) for row in range(len(runs))}
    kept = ~marked_references(runs) if has_axis(runs) else np.ones(len(runs), dtype=bool)
    if "control" in runs.columns:
        kept = kept & ~runs["control"].astype(bool).to_numpy()
    return set(runs["point"].astype(str)[kept])


def _both_ratios(frame: pd.DataFrame) -> Duty:
    wanted = {"compression ratio": "size_ratio", "theoretical speed-up": "macs_effective"}
    lacking = [word for word, column in wanted.items() if not _is_known(frame, column)]
    return _duty(
        "compression ratio and theoretical speed-up",
        not lacking,
        "bytes of files that were read back, and multiply-adds, of every point",
        f"no {' and no '.join(lacking)} of every run",
    )


def _top5(frame: pd.DataFrame, quality: Quality) -> Duty:
    name, column = "Top-5 beside Top-1", f"{quality.name}_top5"
    if quality.name != "accuracy":
        return Duty(name=name, state="not needed", said=f"the quality is {quality.name}")
    n_classes = round(1 / quality.chance) if quality.chance > 0 else None
    if _is_known(frame, column):
        return Duty(name=name, state="met", said="both are in the table's file")
    if n_classes is not None and n_classes < MANY_CLASSES:
        return Duty(name=name, state="not needed", said=f"about {n_classes} classes")
    return Duty(name=name, state="missing", said=f"no {column} of every run")


def _control(frame: pd.DataFrame) -> Duty:
    groups = split_groups(frame) if len(frame) else {"": frame}
    lacking = [name for name, runs in groups.items() if not len(runs) or not marked_references(runs).any()]
    where = f" of {'; '.join(name for name in lacking if name)}" if any(lacking) else ""
    return _duty(
        "the uncompressed control beside every curve",
        not lacking,
        "each curve has its own reference, trained as long",
        f"no finished reference{where}",
    )


def _seeds(frame: pd.DataFrame) -> Duty:
    fewest = 0
    if len(frame) and "seed" in frame.columns and "point" in frame.columns:
        fewest = int(frame.groupby(frame["point"].astype(str))["seed"].nunique().min())
    there = f"{fewest} seed{'' if fewest == 1 else 's'}"
    return _duty(
        "mean and standard deviation over three seeds",
        fewest >= SEEDS,
        f"{there} of every point",
        f"{there} of some point; an interval of one seed covers the examples only: sweep +seed=0,1,2",
    )


def _baselines(frame: pd.DataFrame) -> Duty:
    name = "random and magnitude baselines"
    labels = " ".join(frame["point"].astype(str)) if "point" in frame.columns else ""
    axes = frame.attrs.get("axes") or []
    if not any(axis.startswith("prune") for axis in axes) and "prune" not in labels:
        return Duty(name=name, state="not needed", said="nothing was pruned")
    found = {str(value) for key in _CRITERIA if key in frame.columns for value in frame[key].dropna()}
    has_both = "random" in found and bool(found & (_BASELINES - {"random"}))
    return _duty(
        name,
        has_both,
        ", ".join(sorted(found)),
        "one criterion only: sweep stage.prune.criterion=random,magnitude beside the axis",
    )


def _same_start(frame: pd.DataFrame) -> Duty:
    lacking = []
    if "seed" in frame.columns and "point" in frame.columns and len(frame):
        for name, runs in split_groups(frame).items():
            asked = set(runs["seed"].astype(str))
            for label, own in runs.groupby(runs["point"].astype(str)):
                if set(own["seed"].astype(str)) != asked:
                    lacking.append(f"{name}: {label}" if name and not group_parts(str(label)) else str(label))
    return _duty(
        "the same initial weights, data and training",
        not lacking and len(frame) > 0,
        "a seed decides the weights, the order and the augmentation; the split is the same for all",
        f"not all seeds finished of {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}"
        if lacking
        else "no run has finished",
    )


def _splits(frame: pd.DataFrame, quality: Quality) -> Duty:
    has_both = _is_known(frame, quality.name) and _is_known(frame, quality.column)
    return _duty(
        "chosen on validation, reported on test",
        has_both,
        "points are chosen on validation; what they lose on test is said beside",
        f"{quality.name} and {quality.column} are not both there of every run",
    )


def _is_known(frame: pd.DataFrame, column: str) -> bool:
    """Whether every run has a number in a column."""
    return (
        column in frame.columns and len(frame) > 0 and bool(pd.to_numeric(frame[column], errors="coerce").notna().all())
    )
