"""The table of runs: from what they logged to a DataFrame, column by column."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.groups import GROUP_KEYS
from effbench.tracking import names
from effbench.tracking.logged import MISSING, LoggedRuns

_IDS = ("run_id", "run_name", "sweep", "run_key", "point", "reference_key")
_INFINITE = sys.float_info.max
"""What MLflow's databases hold for infinity."""
_NOT_NUMBERS = (*_IDS, "experiment", "reference", "control", "refined", "start_time")


def runs_frame(logged: LoggedRuns, /, *, says_experiment: bool = False) -> pd.DataFrame:
    """Return the finished runs, a row each, and each run key once (the latest); `load_runs` says what is where.

    says_experiment: whether there is a column with the name of each run's experiment.
    """
    keys = logged.tags.column(names.RUN_KEY)
    finished: dict[str, int] = {}
    for run in np.argsort(_when_logged(logged), kind="stable").tolist():
        if logged.statuses[run] == "FINISHED":
            finished[keys[run]] = run
    runs = logged.take(list(finished.values()))
    frame = pd.DataFrame(_columns(runs, says_experiment)) if finished else pd.DataFrame([])
    frame.attrs["axes"] = _listed(runs, names.AXES)
    frame.attrs["moves"] = _moves(runs)
    frame.attrs["extra_qualities"] = _listed(runs, names.EXTRA_QUALITIES)
    frame.attrs["failed"] = _failed(logged, finished)
    frame.attrs["unfinished"] = _unfinished(logged)
    frame.attrs["repeated"] = _repeated(logged, finished)
    frame.attrs["incomplete"] = _incomplete(frame)
    return frame


def _when_logged(logged: LoggedRuns) -> NDArray[np.int64]:
    """Return when each run was logged: when it began, but for those whose results were there before."""
    texts = logged.tags.column(names.LOGGED, "")
    later = np.array([text.isdecimal() for text in texts], dtype=bool)
    if not later.any():
        return logged.starts
    when = logged.starts.copy()
    when[later] = texts[later].astype(np.int64)
    return when


def _columns(runs: LoggedRuns, says_experiment: bool) -> dict[str, pd.Series]:
    """Return the columns in the order in which the runs, one after the other, first fill them."""
    own = _own_columns(runs, says_experiment)
    order: dict[str, None] = {}
    kinds = zip(
        runs.tags.layout_of.tolist(), runs.params.layout_of.tolist(), runs.metrics.layout_of.tolist(), strict=True
    )
    for tags, params, metrics in dict.fromkeys(kinds):
        missing = {name for name in names.QUALITY_COLUMNS if name not in runs.tags.layouts[tags]}
        order |= dict.fromkeys(name for name in own if name not in missing)
        order |= dict.fromkeys((*runs.params.layouts[params], *runs.metrics.layouts[metrics]))
    return {name: _column(name, own, runs) for name in order}


def _own_columns(runs: LoggedRuns, says_experiment: bool) -> dict[str, pd.Series]:
    """Return what every run has, and what its quality is."""
    tags = runs.tags
    key, reference = tags.column(names.RUN_KEY), tags.column(names.REFERENCE, "")
    columns = {
        "run_id": np.array(runs.ids, dtype=object),
        "run_name": tags.column(names.RUN_NAME, ""),
        **({"experiment": np.array(runs.experiments, dtype=object)} if says_experiment else {}),
        "sweep": tags.column(names.SWEEP, ""),
        "run_key": key,
        "point": tags.column(names.POINT, ""),
        "reference": reference == key,
        "reference_key": reference,
        "control": tags.column(names.CONTROL, "") == "true",
        "refined": tags.column(names.REFINED, "") == "true",
        **{name: tags.column(name) for name in names.QUALITY_COLUMNS},
        "start_time": runs.starts.astype("datetime64[ms]").astype("datetime64[us]"),
    }
    made = {name: _series(name, np.asarray(values)) for name, values in columns.items()}
    return made | {"start_time": made["start_time"].dt.tz_localize("UTC")}


def _column(name: str, own: Mapping[str, pd.Series], runs: LoggedRuns) -> pd.Series:
    """Return a column. A metric goes before a param, and a param before what is effbench's own, run by run."""
    logged = [values for values in (runs.metrics, runs.params) if name in values.names]
    if not logged:
        return own[name]
    first = logged[0].column(name)
    if (name not in own and len(logged) == 1) or logged[0].has(name).all():
        return _series(name, first)
    cells = own[name].astype(object).to_numpy(copy=True) if name in own else np.full(len(first), MISSING, dtype=object)
    for values in reversed(logged):
        cells = np.where(values.has(name), values.column(name), cells)
    return numeric(pd.Series(cells.tolist(), name=name))


def _series(name: str, values: NDArray[Any]) -> pd.Series:
    """Return values as a column; text that is the same in all runs, as most params are, is read once."""
    if values.dtype == object and isinstance(values[0], str) and (values == values[0]).all():
        one = numeric(pd.Series(values[:1], name=name))
        return pd.Series(one.array.take(np.zeros(len(values), dtype=np.intp)), name=name)
    return numeric(pd.Series(values, name=name))


def numeric(column: pd.Series, /) -> pd.Series:
    """Return a column of numbers written as text as numbers; any other as it is. Ids stay text."""
    if column.name in _NOT_NUMBERS or column.dtype == np.float64:
        return column
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column


def _failed(logged: LoggedRuns, finished: Mapping[str, int]) -> list[dict[str, object]]:
    """Return what is known of runs that failed, and have not been finished since; each key comes once."""
    keys, controls = logged.tags.column(names.RUN_KEY), logged.tags.column(names.CONTROL, "")
    points, seeds = logged.tags.column(names.POINT, ""), logged.params.column("seed", "")
    failed: dict[str, dict[str, object]] = {}
    for run, status in enumerate(logged.statuses):
        if status == "FAILED" and keys[run] not in finished and seeds[run].isdecimal():
            group = {name: logged.params.column(name)[run] for name in GROUP_KEYS if logged.params.has(name)[run]}
            is_control = controls[run] == "true"
            failed[keys[run]] = {"point": points[run], "seed": int(seeds[run]), "control": is_control, **group}
    return list(failed.values())


def _moves(runs: LoggedRuns) -> dict[str, list[str]]:
    """Return the costs that each axis changes; nothing where a run does not say it."""
    if not runs.tags.has(names.MOVES).all():
        return {}
    texts = runs.tags.column(names.MOVES, "").tolist()
    known = {text: json.loads(text) for text in dict.fromkeys(texts)}
    moves: dict[str, list[str]] = {}
    for text in texts:
        moves |= known[text]
    return moves


def _listed(runs: LoggedRuns, tag: str) -> list[str]:
    """Return the names that a tag of the runs lists, each once."""
    texts = dict.fromkeys(runs.tags.column(tag, "").tolist())
    return list(dict.fromkeys(name for text in texts for name in text.split(",") if name))


def _unfinished(logged: LoggedRuns) -> list[tuple[str, str, str, str]]:
    run_names, errors = logged.tags.column(names.RUN_NAME, ""), logged.tags.column(names.ERROR, "")
    return [
        (logged.ids[run], run_names[run], status, errors[run])
        for run, status in enumerate(logged.statuses)
        if status != "FINISHED"
    ]


def _repeated(logged: LoggedRuns, finished: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Return the finished runs that are left out, as a later one has their key: (run_id, run_name, run_key)."""
    keys, run_names = logged.tags.column(names.RUN_KEY), logged.tags.column(names.RUN_NAME, "")
    return [
        (logged.ids[run], run_names[run], keys[run])
        for run, status in enumerate(logged.statuses)
        if status == "FINISHED" and finished[keys[run]] != run
    ]


def _incomplete(frame: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Return the finished runs that lack a number which every such run has: (run_id, run_name, what is missing).

    These are the bytes of its file and its quality, on validation and on test.
    """
    if "quality_name" not in frame.columns:
        return []
    lacks: dict[int, list[str]] = {}
    qualities = frame["quality_name"].astype(str).where(frame["quality_name"].notna(), "")
    for quality in sorted(set(qualities) - {""}):
        own = (qualities == quality).to_numpy(dtype=bool)
        for name in (f"{quality}_val", quality, "size_bytes"):
            there = np.zeros(len(frame), dtype=bool)
            if name in frame.columns:
                numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64)
                there = np.abs(numbers) < _INFINITE  # of no NaN it is true
            for row in np.flatnonzero(own & ~there).tolist():
                lacks.setdefault(row, []).append(name)
    return [(frame["run_id"].iloc[row], frame["run_name"].iloc[row], lacks[row]) for row in sorted(lacks)]
