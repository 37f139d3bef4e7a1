"""The tables of runs that the report draws: training curves and sensitivities, of a few runs that stand for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from effbench.analysis import Answer
from effbench.analysis.curves.averages import POINT_KEYS
from effbench.analysis.curves.groups import group_columns, marked_references
from effbench.analysis.report.sensitivity_cells import SENSITIVITIES
from effbench.analysis.report.training_panels import CURVES
from effbench.run.results import load_tables as kept_tables
from effbench.run.store import Store
from effbench.tracking.tables import load_tables as logged_tables

MOST_RUNS = 7
"""As many as there are colours; each is read from the store, or from the tracker."""
DRAWN = (CURVES, *SENSITIVITIES)
Tables = dict[str, pd.DataFrame]
"""Of a run, by their names."""
Load = Callable[[pd.DataFrame], Sequence[Tables]]
"""Returns the tables of the runs of a frame."""


@dataclass(frozen=True, kw_only=True)
class RunTables:
    """The tables of the runs that stand for all, by the runs' names."""

    by_run: Mapping[str, Tables] = field(default_factory=dict)
    n_others: int = 0
    """How many runs there are beside them."""


def tables_of(frame: pd.DataFrame, found: Sequence[Answer], load: Load, /) -> RunTables:
    """Return the tables of at most seven runs: references, saturation points, then points spread over the others.

    frame: a row per run. Of each point its first seed.
    """
    if not len(frame) or "run_key" not in frame.columns:
        return RunTables()
    rows = _chosen_rows(frame.reset_index(drop=True), found)
    runs = frame.iloc[rows]
    by_run = {}
    for name, tables in zip(_names(frame).iloc[rows], load(runs), strict=True):
        if tables:
            by_run[name] = dict(tables)
    return RunTables(by_run=by_run, n_others=len(frame) - len(rows))


def from_store(store: Store, /) -> Load:
    """Return what reads tables from the store."""

    def load(runs: pd.DataFrame) -> Sequence[Tables]:
        kept = [kept_tables(str(key), store) for key in runs["run_key"]]
        return [{name: pd.DataFrame(list(own[name])) for name in DRAWN if own.get(name)} for own in kept]

    return load


def from_tracking(tracking_uri: str | None, /) -> Load:
    """Return what reads tables from the tracker."""
    return lambda runs: logged_tables([str(run) for run in runs["run_id"]], DRAWN, tracking_uri=tracking_uri)


def _chosen_rows(frame: pd.DataFrame, found: Sequence[Answer]) -> list[int]:
    keys = [name for name in POINT_KEYS if name in frame.columns] if "point" in frame.columns else ["run_key"]
    first = frame.drop_duplicates(keys).index.tolist()
    references = set(frame.index[marked_references(frame)])
    labels = [None if answer.saturation is None else answer.saturation.point for answer in found]
    chosen = {str(point["point"]) for point in labels if point is not None and "point" in point.index}
    points = frame["point"].astype(str) if "point" in frame.columns else frame["run_key"].astype(str)
    first.sort(key=lambda row: (row not in references, points[row] not in chosen))
    needed = [row for row in first if row in references or points[row] in chosen][:MOST_RUNS]
    rest = [row for row in first if row not in needed]
    n_free = min(MOST_RUNS - len(needed), len(rest))
    # The last of the rest is the most compressed one of most grids: it is among them.
    spread = [rest[(number + 1) * len(rest) // n_free - 1] for number in range(n_free)]
    return [*needed, *spread]


def _names(runs: pd.DataFrame) -> pd.Series:
    """Return what runs are called: their points, with their seeds where there are several."""
    points = runs["point"].astype(str) if "point" in runs.columns else runs["run_key"].astype(str)
    for name in group_columns([str(column) for column in runs.columns]):
        if runs[name].nunique() > 1:
            named = f"{name}=" + runs[name].astype(str) + ", " + points
            points = points.where(points.str.contains(f"{name}=", regex=False), named)
    seeds = runs["seed"].astype(str) if "seed" in runs.columns and runs["seed"].nunique() > 1 else None
    return points if seeds is None else points + ", seed=" + seeds
