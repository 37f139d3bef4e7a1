"""MLflow's SQLite database read directly: in one transaction, and without importing MLflow, which takes seconds.

What can't be read in this way is a sqlite3.Error: whoever asks then goes the long way, through MLflow, which knows its
other versions, repairs what a killed writer left behind, or says what is wrong.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from effbench.tracking import names
from effbench.tracking.logged import LoggedRuns, Values
from effbench.tracking.relocation import has_files
from effbench.tracking.sqlite_file import reading


@dataclass(frozen=True)
class Database:
    """The runs in MLflow's SQLite file. Every method raises sqlite3.Error where it can't be read in this way."""

    path: Path

    def runs(self, experiments: Sequence[str], sweep: str | None, /) -> LoggedRuns | None:
        """Return the runs of experiments, of all sweeps or of those whose ids begin with `sweep`.

        None where there is not every one of these experiments.
        """
        with reading(self.path) as database:
            found = {_experiment_number(database, name): name for name in experiments}
            if None in found:
                return None
            numbers = {number: name for number, name in found.items() if number is not None}
            wanted = _wanted(len(numbers))
            chosen = wanted if sweep is None else f"{wanted} {_OF_SWEEP}"
            own = {f"experiment{place}": number for place, number in enumerate(numbers)}
            return _read(database, chosen, {**_NAMES, **own, "sweep": sweep}, numbers)

    def artifact_uris(self, runs: Sequence[str], /) -> list[str]:
        """Return the URIs below which the files of runs lie, by the runs' ids; "" where there is no such run."""
        with reading(self.path) as database:
            known = dict(database.execute("SELECT run_uuid, artifact_uri FROM runs"))
            return [known.get(run) or "" for run in runs]

    def experiments(self) -> list[str]:
        """Return the names of the experiments there are."""
        with reading(self.path) as database:
            found = database.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active'")
            return [name for (name,) in found]

    def sweeps(self, experiment: str, /) -> list[str]:
        """Return the ids of the sweeps that have runs in an experiment."""
        with reading(self.path) as database:
            number = _experiment_number(database, experiment)
            query = f"SELECT DISTINCT value FROM tags WHERE key = :tag AND run_uuid IN (SELECT run_uuid {_wanted(1)})"
            return [sweep for (sweep,) in database.execute(query, {**_NAMES, "experiment0": number})]


def is_finished(path: Path, experiment: str, sweep_id: str, keys: Collection[str], /) -> bool:
    """Whether a sweep's parent run is FINISHED, with runs of all these keys FINISHED under it and their files there.

    Of several parents of one sweep the one that started first counts, which is the one that is continued. Deleted runs
    and experiments count as none; so does a database that can't be read.
    """
    try:
        with reading(path) as database:
            found = database.execute(_PARENT, (experiment, names.SWEEP, sweep_id, names.RUN_KEY)).fetchone()
            if found is None or found[1] != "FINISHED":
                return False
            wanted = (names.RUN_KEY, names.FILES, names.PARENT, found[0])
            children = database.execute(_FINISHED_RUNS, wanted).fetchall()
    except sqlite3.Error:
        return False
    return set(keys) <= {key for key, uri, listed in children if has_files(uri, _tags(listed))}


def _tags(listed: str | None) -> dict[str, str]:
    return {} if listed is None else {names.FILES: listed}


def _experiment_number(database: sqlite3.Connection, name: str) -> int | None:
    """Return an experiment's own number, whether it is deleted (then it has no runs) or not."""
    numbers = database.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchall()
    if len(numbers) > 1:  # a server keeps one for each of its workspaces
        raise sqlite3.DatabaseError(f"there are {len(numbers)} experiments named {name}")
    return int(numbers[0][0]) if numbers else None


def _read(
    database: sqlite3.Connection, chosen: str, parameters: Mapping[str, object], experiments: Mapping[int, str]
) -> LoggedRuns:
    """Return the runs that a clause chooses. experiments: their names by their numbers."""
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    database.execute("CREATE TEMP TABLE chosen (number INTEGER PRIMARY KEY, run_uuid, status, start, experiment)")
    columns = "run_uuid, status, coalesce(start_time, 0), experiment_id"  # the table is not in the file
    query = f"INSERT INTO chosen (run_uuid, status, start, experiment) SELECT {columns} {chosen}"
    database.execute(f"{query} ORDER BY start_time DESC, run_uuid", parameters)
    infos = database.execute("SELECT run_uuid, status, start, experiment FROM chosen ORDER BY number").fetchall()
    return LoggedRuns(
        ids=[run_id for run_id, *_ in infos],
        statuses=[status for _, status, *_ in infos],
        starts=np.array([start for _, _, start, _ in infos], dtype=np.int64),
        experiments=[experiments[number] for *_, number in infos],
        params=_texts(database, "params", n_runs=len(infos)),
        metrics=_numbers(database, "latest_metrics", n_runs=len(infos)),
        tags=_texts(database, "tags", n_runs=len(infos), condition=f"WHERE {_IS_READ}"),
    )


def _texts(database: sqlite3.Connection, table: str, *, n_runs: int, condition: str = "") -> Values:
    """Return texts by their names.

    SQLite makes a list of what a run logged, as JSON: that is read several times as fast as half a million rows.
    """
    columns = "number - 1, json_group_array(key), json_group_array(value)"
    numbers, layouts, lists = [], [], []
    for number, keys, values in database.execute(f"SELECT {columns} {_each_of(table)} {condition} GROUP BY number"):
        numbers.append(number)
        layouts.append(keys)
        lists.append(values[1:-1])
    return _gathered(numbers, layouts, json.loads(f"[{','.join(lists)}]"), n_runs=n_runs)


def _numbers(database: sqlite3.Connection, table: str, *, n_runs: int) -> Values:
    """Return numbers by their names. They come as they are stored: JSON would round them."""
    each = f"{_each_of(table)} WHERE {_IS_NO_CURVE}"
    rows = database.execute(f"SELECT number - 1, json_group_array(key) {each} GROUP BY number").fetchall()
    value = f"SELECT CASE WHEN is_nan THEN 'nan' ELSE value END {each} ORDER BY number, {table}.rowid"
    values = np.fromiter(itertools.chain.from_iterable(database.execute(value)), dtype=np.float64)
    return _gathered([number for number, _ in rows], [keys for _, keys in rows], values, n_runs=n_runs)


def _gathered(numbers: Sequence[int], layouts: Sequence[str], values: Iterable[Any], *, n_runs: int) -> Values:
    """Return values with the names that each run has for its own, of which many runs have the same."""
    known = {text: tuple(json.loads(text)) for text in set(layouts)}
    return Values.gather([known[text] for text in layouts], values, runs=numbers, n_runs=n_runs)


def _each_of(table: str) -> str:
    """Return a clause that goes through what the chosen runs logged, run after run, each in the order in which it did.

    The index is named so that names and values, which are asked for apart, come in one and the same order. A database
    without it can't be read in this way, and is not.
    """
    return f"FROM chosen CROSS JOIN {table} INDEXED BY index_{table}_run_uuid USING (run_uuid)"


def _wanted(n_experiments: int) -> str:
    """Return a clause that chooses the runs of experiments, whose numbers are parameters."""
    numbers = ", ".join(f":experiment{place}" for place in range(n_experiments))
    return f"""
FROM runs WHERE experiment_id IN ({numbers}) AND lifecycle_stage = 'active'
AND EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = :key)
"""


_CACHE_KIB = 2**16
"""What SQLite may keep of the file: each run's rows lie in their own place, to which it comes three times."""
_NAMES = {"key": names.RUN_KEY, "tag": names.SWEEP}
_IS_READ = f"key IN ({', '.join(repr(name) for name in names.READ)})"
_IS_NO_CURVE = f"substr(key, 1, {len(names.CURVE)}) <> '{names.CURVE}'"
_OF_SWEEP = """
AND EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid AND key = :tag
AND substr(value, 1, length(:sweep)) = :sweep)
"""
_PARENT = """
SELECT runs.run_uuid, runs.status FROM experiments JOIN runs USING (experiment_id)
JOIN tags AS sweep ON sweep.run_uuid = runs.run_uuid
WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
AND sweep.key = ? AND sweep.value = ?
AND NOT EXISTS (SELECT 1 FROM tags AS own WHERE own.run_uuid = runs.run_uuid AND own.key = ?)
ORDER BY runs.start_time, runs.run_uuid LIMIT 1
"""
_FINISHED_RUNS = """
SELECT own.value, runs.artifact_uri, files.value
FROM tags AS parent JOIN runs USING (run_uuid) JOIN tags AS own ON own.run_uuid = runs.run_uuid AND own.key = ?
LEFT JOIN tags AS files ON files.run_uuid = runs.run_uuid AND files.key = ?
WHERE parent.key = ? AND parent.value = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
"""
