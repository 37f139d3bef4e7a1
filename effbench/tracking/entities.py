"""What is logged, as MLflow has it: metrics, params, data sets."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param

from effbench.tracking.names import CONFIG_FILE
from effbench.tracking.tracker import CurvePoint, Dataset

MAX_PARAM_LENGTH = 6000
METRICS_AT_ONCE = 500
"""Half of what MLflow takes in one request."""
MAX_NAME_LENGTH = 250
BATCH = 100
"""MLflow takes at most 100 params in one request."""
BATCH_BYTES = 500_000
"""Half of what MLflow takes in one request."""
CONTEXTS = {"train": "train", "val": "validation", "test": "test"}
"""What MLflow's pages call each split, in the order in which they list them."""


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


def is_param_name(name: str, /) -> bool:
    """Whether MLflow takes a name for a param.

    >>> [is_param_name(name) for name in ("stage.prune.scope", "größe", "a+b", "a//b", "..", "x" * 251)]
    [True, True, False, False, False, False]
    """
    return (
        re.fullmatch(r"[/\w.\- ]+", name) is not None
        and len(name) <= MAX_NAME_LENGTH
        and posixpath.normpath(name) == name
        and name not in (".", "..")
        and not name.startswith(("/", "../"))
    )


def param_batches(params: Mapping[str, Any], /) -> Iterator[list[Param]]:
    """Yield params, as many at once as MLflow takes; at least one batch.

    What is too long says so in its place, and where it stands whole. Names that are none for MLflow are left out.
    """
    batch: list[Param] = []
    n_bytes = 0
    for name, value in params.items():
        if not is_param_name(name):
            continue
        text = param_text(value)
        size = len(json.dumps(name + text))
        if batch and (len(batch) == BATCH or n_bytes + size > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(Param(name, text))
        n_bytes += size
    yield batch


def param_text(value: Any, /) -> str:
    """Return a value as a param's text; one that is too long says so, and where all of it stands.

    >>> param_text([4, 4]), param_text("x" * 6001)
    ('[4, 4]', 'too long for a param (6001 characters): see config.yaml of this run')
    """
    text = str(value)
    if len(text) <= MAX_PARAM_LENGTH:
        return text
    return f"too long for a param ({len(text)} characters): see {CONFIG_FILE} of this run"


def dataset_inputs(dataset: Dataset, /) -> list[DatasetInput]:
    """Return a data set as what a run was trained, validated and tested on: an input for each split.

    The digest of a split is made of the data set's own and the split's name and size, so that MLflow tells them apart.
    """
    return [
        DatasetInput(
            MlflowDataset(
                name=dataset.name[:500],
                digest=hashlib.sha256(f"{dataset.digest} {split} {dataset.sizes[split]}".encode()).hexdigest()[:12],
                source_type="code",
                source=json.dumps({"tags": {"source": dataset.source, "digest": dataset.digest, "split": split}}),
                profile=json.dumps({"num_rows": dataset.sizes[split]}),
            ),
            [InputTag("mlflow.data.context", context)],
        )
        for split, context in CONTEXTS.items()
        if split in dataset.sizes
    ]
