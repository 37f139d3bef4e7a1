"""What is logged of a run: names and values, for whatever tracker."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from effbench.analysis import figure_bytes, plot_sensitivity
from effbench.analysis.figures.saving import Format
from effbench.checks.secrets import hide_in_values, without_secrets
from effbench.checks.text import printable
from effbench.plan.findings import Rows
from effbench.plan.given import given_object, is_given
from effbench.plan.point import Point
from effbench.plan.sources import offered_to_networks
from effbench.plan.sweep import Sweep
from effbench.run.counts import pack_counts
from effbench.run.outcomes import RunError
from effbench.run.results import RunResult
from effbench.sweep.config_file import config_file
from effbench.sweep.environment import describe_environment
from effbench.sweep.made_with import made_with_files
from effbench.sweep.note import MAX_NOTE_LENGTH
from effbench.sweep.params import run_params
from effbench.sweep.realised import realised
from effbench.tracking import names
from effbench.tracking.tracker import Dataset, RunRecord
from effbench.training.curves import CURVES


def describe_run(
    point: Point,
    sweep: Sweep,
    *,
    result: RunResult | None = None,
    error: RunError | None = None,
    reference: Mapping[str, float] | None = None,
    curves: Rows = (),
) -> RunRecord:
    """Return the record of a run that ended with a result, or with an error; or, without either, that goes on.

    reference: the metrics of its reference's run, where that has ended. curves: of a run that failed, what led to it.
    """
    data = point.chain.loaded_data()
    tags = {
        names.REFERENCE: point.reference_key or point.key,
        names.POINT: point.label,
        names.AXES: ",".join(sweep.plan.axes),
        **{f"{names.AXIS}{axis}": str(value) for axis, value in point.axes.items()},
        names.MOVES: json.dumps({name: list(axis.moves) for name, axis in sweep.axes.items()}),
        **{name: str(value) for name, value in quality_columns(point).items()},
        **({names.CONTROL: "true"} if point.is_control else {}),
        **({names.REFINED: "true"} if point.is_refined else {}),
        names.EXTRA_QUALITIES: ",".join(extra_qualities(point)),
        **_network_tag(point),
        names.STEPS: " → ".join(str(step) for step in point.chain.steps),
        **{f"{names.REALISED}/{cost}": how for cost, how in realised(point, sweep, result, reference).items()},
        **describe_environment(),
    }
    files = {names.CONFIG_FILE: config_file(point, sweep), **made_with_files(point, sweep.device)}
    if result is not None:
        tags |= {f"{names.PREFIX}{name}": word for name, word in result.words.items()}
        tags[names.CACHED] = ",".join(result.cached_steps)
        if result.unknown_operations:
            tags[names.UNKNOWN] = ",".join(result.unknown_operations)
        odd = {name: value for name, value in result.metrics.items() if not math.isfinite(value)}
        if odd:
            tags[names.NOT_FINITE] = ",".join(f"{name}={value}" for name, value in odd.items())
        counts = pack_counts(val=result.counts_val, test=result.counts_test, test_examples=result.test_examples)
        files |= {names.MODEL_FILE: result.blob, names.COUNTS: counts}
        files |= table_files(result.tables, sweep.figure.format)
    if error is not None:
        tags[names.ERROR] = printable(without_secrets(error.summary))
        files |= table_files({CURVES: curves} if curves else {})
        files["traceback.txt"] = without_secrets(error.trace).encode(errors="backslashreplace")
    outcome = error if result is None else result
    times = None if outcome is None else outcome.times
    return RunRecord(
        name=str(point),
        key=point.key,
        params=run_params(point),
        tags=tags,
        metrics={} if result is None else result.metrics,
        files=files,
        began=None if times is None else times.began,
        ended=None if times is None else times.ended,
        dataset=Dataset(
            name=data.name,
            digest=data.fingerprint,
            source=point.chain.data.target,
            sizes={split: data.n_examples(split) for split in ("train", "val", "test")},
        ),
    )


def _network_tag(point: Point) -> dict[str, str]:
    """Return the tag that says how the run's network is built; nothing where MLflow would not take all of it."""
    chain = point.chain
    offered = offered_to_networks(chain.loaded_task(), chain.loaded_data(), chain.side)
    target = chain.network.target
    described = {"target": target, "options": dict(chain.network.options), "offered": offered}
    if is_given(target):
        described["code"] = given_object(target).code
    text = json.dumps(hide_in_values(described))
    return {names.NETWORK: text} if len(text) <= MAX_NOTE_LENGTH else {}


def quality_columns(point: Point, /) -> dict[str, str | float]:
    """Return what is to be known of a run's quality, by column: quality_name, quality_kind and so on."""
    quality = point.chain.loaded_task().quality(point.chain.loaded_data())
    return {f"{names.QUALITY}_{field}": value for field, value in dataclasses.asdict(quality).items()}


def extra_qualities(point: Point, /) -> tuple[str, ...]:
    """Return the names of what the point's task counts beside its own quality, such as accuracy_top5."""
    _own, *others = point.chain.loaded_task().kinds(point.chain.loaded_data())
    return tuple(others)


_FIGURES: Mapping[str, Callable[[pd.DataFrame], Any]] = dict.fromkeys(
    ("sensitivity", "act_sensitivity"), plot_sensitivity
)
"""What draws a table, by the table's name; each returns matplotlib axes."""


def table_files(tables: Mapping[str, Rows], formats: Sequence[Format] = ("png",), /) -> dict[str, bytes]:
    """Return the files of tables by their names: <table>.csv, and <table>.png or other formats of those drawn."""
    files: dict[str, bytes] = {}
    for name, rows in tables.items():
        frame = pd.DataFrame(list(rows))
        files[f"{name}.csv"] = frame.to_csv(index=False).encode()
        if name in _FIGURES:
            drawn = _FIGURES[name](frame).figure
            files |= {f"{name}.{form}": figure_bytes(drawn, form) for form in formats}
    return files
