"""Values added to runs that were logged before, by whoever measures or exports them; and their tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from effbench.tracking.entities import metric_entities
from effbench.tracking.failures import speaking_plainly
from effbench.tracking.location import for_reading, for_writing


def add_to_runs(
    metrics: Mapping[str, Mapping[str, float]],
    tags: Mapping[str, Mapping[str, str]],
    /,
    *,
    tracking_uri: str | None = None,
) -> None:
    """Add metrics and tags to runs, by MLflow's run ids; the latest values are those that tables of runs show.

    ValueError where there is no such database; TrackingError, in a line, where MLflow can't be reached or can't write.
    """
    from mlflow.entities import RunTag
    from mlflow.tracking import MlflowClient

    uri = for_reading(tracking_uri)
    with speaking_plainly(uri):
        client = MlflowClient(for_writing(uri))
        for run_id in dict.fromkeys([*metrics, *tags]):
            new_tags = [RunTag(name, value) for name, value in tags.get(run_id, {}).items()]
            client.log_batch(run_id, metrics=metric_entities(metrics.get(run_id, {})), tags=new_tags)


def tags_of(run_ids: Iterable[str], prefix: str, /, *, tracking_uri: str | None = None) -> dict[str, dict[str, str]]:
    """Return the tags of runs that begin so, by run id and by what follows the prefix. Errors as in `add_to_runs`."""
    from mlflow.tracking import MlflowClient

    uri = for_reading(tracking_uri)
    with speaking_plainly(uri):
        client = MlflowClient(for_writing(uri))
        logged = {run_id: client.get_run(run_id).data.tags for run_id in run_ids}
    return {
        run_id: {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}
        for run_id, tags in logged.items()
    }
