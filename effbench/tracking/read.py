"""Runs from MLflow, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from effbench.run.correctness import unpack_correctness
from effbench.tracking import names
from effbench.tracking.location import for_reading, why_unusable

PAGE = 1000


def load_runs(
    experiment: str = "effbench", *, sweep: str | None = None, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return the finished runs of an experiment, one row each, and each run key once (the latest).

    Columns: run_id, run_name, sweep, run_key, point (the label shared by a point's seeds), reference (bool),
    reference_key, start_time, then the params (axes under their own names, seed) and the metrics. `sweep` keeps one
    sweep (its id, or the beginning of it). `.attrs["unfinished"]` lists the other runs as (run_id, run_name, status,
    error); `.attrs["axes"]` names the axes that were swept. ValueError where there is no database, experiment or sweep
    of that name.
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
    frame.attrs["axes"] = _axes(finished.values())
    frame.attrs["unfinished"] = [_unfinished(run) for run in runs if run.info.status != "FINISHED"]
    return frame


def load_correctness(
    runs: pd.DataFrame, /, *, quality: str = "accuracy_val", tracking_uri: str | None = None
) -> dict[str, np.ndarray]:
    """Return by run key which examples each of the `runs` (of `load_runs`) had right: (n_examples,) bool.

    quality: "accuracy_val" for the validation split's, "accuracy" for the test split's; in the split's fixed order, so
    that runs can be compared example by example. ValueError for another quality, and for a run without.
    """
    if quality not in ("accuracy_val", "accuracy"):
        raise ValueError(f"quality={quality}: correctness is known of accuracy_val and of accuracy")
    client = MlflowClient(for_reading(tracking_uri))
    found = {}
    for run_id, key in zip(runs["run_id"], runs["run_key"], strict=True):
        try:
            content = Path(client.download_artifacts(run_id, names.CORRECTNESS)).read_bytes()
        except (MlflowException, OSError) as error:
            raise ValueError(f"run {key}: its correctness can't be read ({str(error).splitlines()[0]})") from None
        val, test = unpack_correctness(content)
        found[key] = val if quality == "accuracy_val" else test
    return found


def _runs_of(experiment: str, uri: str) -> list[Run]:
    wrong = why_unusable(uri)
    if wrong is not None:
        raise ValueError(f"tracking_uri={uri}: {wrong}")
    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return list(_all_runs(client, found.experiment_id))
        known = ", ".join(sorted(e.name for e in client.search_experiments()))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ValueError(f"tracking_uri={uri}: can't be read ({str(error).splitlines()[0]})") from None
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
        "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        **run.data.params,
        **run.data.metrics,
    }


def _numeric(column: pd.Series) -> pd.Series:
    """Return a column of numbers written as text as numbers; any other as it is. Ids stay text."""
    if column.name in ("run_id", "run_name", "sweep", "run_key", "point", "reference_key", "reference", "start_time"):
        return column
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column


def _axes(runs: Iterable[Run]) -> list[str]:
    tagged = (run.data.tags.get(names.AXES, "").split(",") for run in runs)
    return list(dict.fromkeys(axis for tag in tagged for axis in tag if axis))


def _unfinished(run: Run) -> tuple[str, str, str, str]:
    tags = run.data.tags
    return run.info.run_id, tags.get(names.RUN_NAME, ""), run.info.status, tags.get(names.ERROR, "")
