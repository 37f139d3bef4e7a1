"""The parent of a tracked sweep, for whoever comes later: what it says of the sweep, and files that are added to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from effbench.tracking import names
from effbench.tracking.failures import speaking_plainly
from effbench.tracking.location import for_reading


@dataclass(frozen=True, kw_only=True)
class TrackedSweep:
    """A sweep's parent run."""

    run_id: str
    experiment_id: str
    sweep_id: str
    tags: Mapping[str, str]


def read_sweep_parent(sweep: str, /, *, experiment: str, tracking_uri: str | None = None) -> TrackedSweep:
    """Return the parent of a sweep by its whole id.

    ValueError where there is no such database, experiment or parent; TrackingError, in a line, where MLflow can't be
    reached.
    """
    from mlflow.tracking import MlflowClient

    from effbench.tracking.parent import is_parent
    from effbench.tracking.run_requests import search

    uri = for_reading(tracking_uri)
    with speaking_plainly(uri):
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        runs = [] if found is None else search(client, found.experiment_id, f"tags.`{names.SWEEP}` = '{sweep}'")
    parents = [run for run in runs if is_parent(run)]
    if not parents:
        raise ValueError(f"sweep={sweep}: its parent run is gone from experiment {experiment}; run its command again")
    first = min(parents, key=lambda run: int(run.info.start_time))
    return TrackedSweep(
        run_id=str(first.info.run_id),
        experiment_id=str(first.info.experiment_id),
        sweep_id=sweep,
        tags=dict(first.data.tags),
    )


def add_file(run_id: str, name: str, content: bytes, /, *, tracking_uri: str | None = None) -> None:
    """Keep a file of a run, in the place of an earlier one of that name. Errors as in `read_sweep_parent`."""
    from mlflow.tracking import MlflowClient

    from effbench.tracking.run_requests import log_files

    uri = for_reading(tracking_uri)
    with speaking_plainly(uri):
        log_files(MlflowClient(uri), run_id, {name: content})
