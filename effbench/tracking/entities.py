"""What is logged, as MLflow has it: metrics, params, data sets."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param

from effbench.tracking.tracker import CurvePoint, Dataset

MAX_PARAM_LENGTH = 500
METRICS_AT_ONCE = 500
"""Half of what MLflow takes in one request."""
MAX_NAME_LENGTH = 250
BATCH = 100
"""MLflow takes at most 100 params in one request."""


def run_name(name: str, /) -> str:
    """Return a name of a run that every database of MLflow's takes: SQLite takes longer ones, PostgreSQL does not.

    >>> len(run_name("prune=0.5, " * 50)), run_name("prune=0.5")
    (250, 'prune=0.5')
    """
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def metric_entities(metrics: Mapping[str, float], /) -> list[Metric]:
    """Return metrics; those that are not a number are left out."""
    now = round(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in metrics.items() if not math.isnan(value)]


def point_batches(points: Sequence[CurvePoint], /) -> Iterator[list[Metric]]:
    """Yield points of curves as metrics with steps, as many at once as MLflow takes; no batch where there is none.

    What is not finite is left out: MLflow draws none of it, and takes the largest number there is for infinity.
    """
    entries = [
        Metric(metric_name(point.name), point.value, round(point.time * 1000), point.step)
        for point in points
        if math.isfinite(point.value)
    ]
    for start in range(0, len(entries), METRICS_AT_ONCE):
        yield entries[start : start + METRICS_AT_ONCE]


def metric_name(name: str, /) -> str:
    """Return a name that MLflow takes for a metric: what it does not take becomes an underscore.

    >>> metric_name("curve/my step+1/loss")
    'curve/my step_1/loss'
    """
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:MAX_NAME_LENGTH]


def no_longer(names: Iterable[str], /) -> list[Metric]:
    """Return what says that metrics which were logged are no more: MLflow deletes none, so they become NaN."""
    now = round(time.time() * 1000)
    return [Metric(name, math.nan, now, 0) for name in sorted(names)]


def param_batches(params: Mapping[str, Any], /) -> Iterator[list[Param]]:
    """Yield params, as many at once as MLflow takes; at least one batch."""
    entries = [Param(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in params.items()]
    for start in range(0, max(1, len(entries)), BATCH):
        yield entries[start : start + BATCH]


def dataset_input(dataset: Dataset, /) -> DatasetInput:
    """Return a data set as what a run was trained on."""
    entity = MlflowDataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type="code",
        source=json.dumps({"tags": {"source": dataset.source}}),
        profile=json.dumps({f"n_{split}": size for split, size in dataset.sizes.items()}),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
