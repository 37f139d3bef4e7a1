"""Runs from MLflow, as one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from effbench.analysis import Counts
from effbench.analysis.groups import GROUP_KEYS
from effbench.checks.errors import first_line
from effbench.checks.secrets import without_secrets
from effbench.run.counts import unpack_counts
from effbench.tracking import names
from effbench.tracking.location import for_reading, sqlite_path, why_unusable
from effbench.tracking.relocation import Move, local_path, moves_of

PAGE = 1000


def load_runs(
    experiment: str = "effbench", *, sweep: str | None = None, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return the finished runs of an experiment, one row each, and each run key once (the latest).

    Columns: run_id, run_name, sweep, run_key, point (the label shared by a point's seeds), reference (bool),
    reference_key, what the quality is (quality_name, _kind, _unit, _direction, _chance), start_time, then the params
    (axes under their own names, seed) and the metrics. `sweep` keeps one sweep (its id, or the beginning of it).
    `.attrs`: "unfinished" lists the other runs as (run_id, run_name, status, error), "failed" the point, seed and group
    of failed ones; "axes" names the axes that were swept, "moves" the costs that each of them changes,
    "extra_qualities" what the task counts beside its own quality. ValueError where there is no database, experiment or
    sweep of that name.
    """
    runs = [run for run in _runs_of(experiment, for_reading(tracking_uri)) if names.RUN_KEY in run.data.tags]
    if sweep is not None:
        sweeps = sorted({run.data.tags[names.SWEEP] for run in runs})
        runs = [run for run in runs if run.data.tags[names.SWEEP].startswith(sweep)]
        if not runs:
            raise ValueError(f"sweep={sweep}: there is none of that id; there are {', '.join(sweeps) or 'none'}")
    finished = {run.data.tags[names.RUN_KEY]: run for run in sorted(runs, key=_start) if run.info.status == "FINISHED"}
    frame = pd.DataFrame([_row(run) for run in finished.values()])
    frame = frame.apply(_numeric)
    frame.attrs["axes"] = _listed(finished.values(), names.AXES)
    frame.attrs["moves"] = _moves(finished.values())
    frame.attrs["extra_qualities"] = _listed(finished.values(), names.EXTRA_QUALITIES)
    frame.attrs["failed"] = _failed(runs, set(finished))
    frame.attrs["unfinished"] = [_unfinished(run) for run in runs if run.info.status != "FINISHED"]
    return frame


def load_counts(runs: pd.DataFrame, /, *, quality: str | None = None, tracking_uri: str | None = None) -> Counts:
    """Return what each example adds to the quality of each of the `runs` (of `load_runs`), for intervals.

    quality: the task's own on validation (None, or as in "accuracy_val"), or on test ("accuracy"); examples come in the
    split's fixed order, so that runs can be compared example by example. ValueError for another quality, for runs of
    several qualities, and for a run without counts.
    """
    names_there = list(dict.fromkeys(runs["quality_name"])) if "quality_name" in runs.columns else []
    if len(names_there) != 1:
        raise ValueError(f"the runs have {len(names_there)} qualities ({', '.join(map(str, names_there))}): select one")
    own = str(names_there[0])
    if quality not in (None, own, f"{own}_val"):
        raise ValueError(f"quality={quality}: counts are known of {own}_val and of {own}")
    uri = for_reading(tracking_uri)
    client, moves = MlflowClient(uri), _moves_of(uri)
    by_run = {}
    for run_id, key in zip(runs["run_id"], runs["run_key"], strict=True):
        try:
            content = _artifact(client, run_id, names.COUNTS, moves)
        except (MlflowException, OSError) as error:
            reason = without_secrets(first_line(error))
            raise ValueError(f"run {key}: its counts can't be read ({reason})") from None
        val, test = unpack_counts(content)
        by_run[key] = test if quality == own else val
    return Counts(kind=runs["quality_kind"].iloc[0], by_run=by_run)


def _moves_of(uri: str) -> tuple[Move, ...]:
    """Return where the files of a database are now, if it was moved and nothing was logged to it since."""
    path = sqlite_path(uri)
    return () if path is None else moves_of(path)


def _artifact(client: MlflowClient, run_id: str, name: str, moves: Iterable[Move]) -> bytes:
    """Return a file of a run, from beside the database where that was moved."""
    if moves:
        written = client.get_run(run_id).info.artifact_uri
        for folder in (local_path(uri) for move in moves if (uri := move.applied_to(written)) is not None):
            if folder is not None:
                return (folder / name).read_bytes()
    return Path(client.download_artifacts(run_id, name)).read_bytes()


def _runs_of(experiment: str, uri: str) -> list[Run]:
    wrong = why_unusable(uri)
    if wrong is not None:
        raise ValueError(f"tracking_uri={uri}: {wrong}")
    try:
        client = MlflowClient(uri)
        wanted = client.get_experiment_by_name(experiment)
        if wanted is not None:
            return list(_all_runs(client, wanted.experiment_id))
        known = ", ".join(sorted(e.name for e in client.search_experiments()))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ValueError(f"tracking_uri={uri}: can't be read ({first_line(error)})") from None
    raise ValueError(f"experiment={experiment}: there is none of that name in {uri}; there are {known}")


def _all_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _start(run: Run) -> int:
    return int(run.info.start_time)


def _row(run: Run) -> dict[str, object]:
    tags = run.data.tags
    reference = tags.get(names.REFERENCE, "")
    return {
        "run_id": run.info.run_id,
        "run_name": tags.get(names.RUN_NAME, ""),
        "sweep": tags[names.SWEEP],
        "run_key": tags[names.RUN_KEY],
        "point": tags.get(names.POINT, ""),
        "reference": reference == tags[names.RUN_KEY],
        "reference_key": reference,
        "control": tags.get(names.CONTROL) == "true",
        **{column: tags[column] for column in names.QUALITY_COLUMNS if column in tags},
        "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        **run.data.params,
        **run.data.metrics,
    }


_IDS = ("run_id", "run_name", "sweep", "run_key", "point", "reference_key")
_NOT_NUMBERS = (*_IDS, "reference", "control", "start_time")


def _numeric(column: pd.Series) -> pd.Series:
    """Return a column of numbers written as text as numbers; any other as it is. Ids stay text."""
    if column.name in _NOT_NUMBERS:
        return column
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column


def _failed(runs: Iterable[Run], finished: set[str]) -> list[dict[str, object]]:
    """Return what is known of runs that failed, and have not been finished since; each key comes once."""
    failed: dict[str, dict[str, object]] = {}
    for run in runs:
        tags, params = run.data.tags, run.data.params
        key, seed = tags[names.RUN_KEY], params.get("seed", "")
        if run.info.status == "FAILED" and key not in finished and seed.isdecimal():
            group: dict[str, object] = {key: params[key] for key in GROUP_KEYS if key in params}
            is_control = tags.get(names.CONTROL) == "true"
            failed[key] = {"point": tags.get(names.POINT, ""), "seed": int(seed), "control": is_control, **group}
    return list(failed.values())


def _moves(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Return the costs that each axis changes; nothing where a run does not say it."""
    moves: dict[str, list[str]] = {}
    for run in runs:
        if names.MOVES not in run.data.tags:
            return {}
        moves |= json.loads(run.data.tags[names.MOVES])
    return moves


def _listed(runs: Iterable[Run], tag: str) -> list[str]:
    """Return the names that a tag of the runs lists, each once."""
    listed = (run.data.tags.get(tag, "").split(",") for run in runs)
    return list(dict.fromkeys(name for entries in listed for name in entries if name))


def _unfinished(run: Run) -> tuple[str, str, str, str]:
    tags = run.data.tags
    return run.info.run_id, tags.get(names.RUN_NAME, ""), run.info.status, tags.get(names.ERROR, "")
