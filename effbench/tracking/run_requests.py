"""What is asked of MLflow of one run: values, as many at once as it takes; files; and the runs that there are."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Run, RunTag
from mlflow.tracking import MlflowClient

from effbench.tracking.entities import metric_entities, param_batches, point_batches
from effbench.tracking.tracker import CurvePoint

PAGE = 1000


def log_values(
    client: MlflowClient,
    run_id: str,
    *,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    points: Sequence[CurvePoint] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log values of a run: in one request, where there are no more than it takes."""
    first, *others = param_batches(params or {})
    batches = point_batches(points)
    entries = [*metric_entities(metrics or {}), *next(batches, [])]
    run_tags = [RunTag(name, value) for name, value in (tags or {}).items()]
    if first or entries or run_tags:
        client.log_batch(run_id, params=first, metrics=entries, tags=run_tags)
    for batch in others:
        client.log_batch(run_id, params=batch)
    for left in batches:
        client.log_batch(run_id, metrics=left)


def log_files(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    """Keep files of a run, by their names, with the rights that the user's umask gives."""
    if not files:
        return
    with tempfile.TemporaryDirectory() as private:
        folder = Path(private, "files")  # whose rights are copied, too: those that the user's umask gives
        folder.mkdir()
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        client.log_artifacts(run_id, str(folder))


def search(client: MlflowClient, experiment_id: str, filter_string: str) -> list[Run]:
    """Return all runs of an experiment that a filter finds."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], filter_string, max_results=PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def milliseconds(seconds: float | None, /) -> int | None:
    """Return a time as MLflow has it; None of none."""
    return None if seconds is None else round(seconds * 1000)
