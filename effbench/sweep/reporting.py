"""The report of a sweep: at its end, and later once more from what was tracked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from effbench.analysis import Answer, Counts, Quality, answers
from effbench.analysis.definitions.tolerance import DEFAULT_TOLERANCE
from effbench.analysis.report.page import Grid, Report, report_page
from effbench.analysis.report.panel import PageOf
from effbench.analysis.table import points_table
from effbench.checks.secrets import without_secrets
from effbench.plan.sweep import SaturationSettings, Sweep
from effbench.run.store import Store
from effbench.sweep.answer_record import answer_record
from effbench.sweep.carry_out import SweepOutcome
from effbench.sweep.environment import describe_environment
from effbench.sweep.note import command_of
from effbench.sweep.printout import Printout
from effbench.sweep.report_tables import Load, from_store, from_tracking, tables_of
from effbench.sweep.report_words import as_failed, asked_of, problems_of, swept_columns, without_numbers
from effbench.sweep.terminal import shown_columns
from effbench.tracking import names
from effbench.tracking.location import for_reading, for_writing, page_address
from effbench.tracking.page import runs_path
from effbench.tracking.parents import TrackedSweep, read_sweep_parent
from effbench.tracking.read import load_counts, load_runs
from effbench.tracking.request import is_address
from effbench.tracking.tracker import Tracker

REPORT = "report.html"
_Counts = tuple[Counts | None, Counts | None]
"""Of the examples of validation, and of test."""
_VERSION = "version."


def report_of_sweep(
    sweep: Sweep,
    outcome: SweepOutcome,
    found: Sequence[Answer],
    printout: Printout,
    store: Store,
    tracker: Tracker | None,
    /,
) -> bytes:
    """Return the page of a sweep that has come to its end; without a tracker it leads to no other page."""
    said = {line for answer in found for line in (answer.sentence, *answer.details)}
    failed = [f"failed: {name}: {reason}" for name, reason in printout.failures.items()]
    missing = [f"there was no time for {outcome.n_missing} runs"] if outcome.n_missing else []
    uri = for_writing(sweep.tracking.uri)

    def page_of(keys: Sequence[str]) -> str | None:
        path = tracker.runs_page(keys) if tracker is not None and keys and is_address(uri) else None
        return None if path is None else page_address(uri, path)

    return _page(
        outcome.frame,
        found,
        counts=(outcome.counts, outcome.test_counts),
        tolerance=sweep.tolerance,
        saturation=sweep.saturation,
        sweep_id=sweep.plan.sweep_id,
        table=printout.table,
        lines=[line for line in printout.lines if line not in said],
        problems=[*failed, *missing, *printout.unmeasured],
        environment=describe_environment(),
        command=sweep.command,
        page_of=page_of,
        load=from_store(store),
    )


@dataclass(frozen=True, kw_only=True)
class TrackedReport:
    """The page of a tracked sweep."""

    parent: TrackedSweep
    page: bytes


def report_again(sweep: str, /, *, experiment: str = "effbench", tracking_uri: str | None = None) -> TrackedReport:
    """Return the page of a tracked sweep: its id, or the beginning of one.

    ValueError where there is no such sweep, or none of its runs has finished; TrackingError where MLflow can't be
    reached.
    """
    frame = load_runs(experiment, sweep=sweep, tracking_uri=tracking_uri)
    if not len(frame):
        raise ValueError(f"sweep={sweep}: has no finished run")
    ids = sorted(set(frame["sweep"].astype(str)))
    if len(ids) > 1:
        raise ValueError(f"sweep={sweep}: begins the ids of {len(ids)} sweeps ({', '.join(ids)}); give more of it")
    parent = read_sweep_parent(ids[0], experiment=experiment, tracking_uri=tracking_uri)
    uri, tags = for_reading(tracking_uri), parent.tags
    run_of = dict(zip(frame["run_key"].astype(str), frame["run_id"].astype(str), strict=True))

    def page_of(keys: Sequence[str]) -> str | None:
        there = [run_of[key] for key in keys if key in run_of] if is_address(uri) else []
        return page_address(uri, runs_path(parent.experiment_id, there)) if there else None

    try:
        own = Quality.of_frame(frame)
        val, test = (load_counts(frame, quality=name, tracking_uri=tracking_uri) for name in (own.column, own.name))
        counts: _Counts = (val, test)
    except ValueError:  # of several qualities, or logged without: there is no interval then
        counts = (None, None)
    page = _page(
        frame,
        (),
        counts=counts,
        tolerance=_tolerance(tags),
        saturation=_saturation(tags),
        sweep_id=ids[0],
        table=_table(frame),
        lines=(),
        problems=(),
        environment={name: text for name, text in tags.items() if name.startswith(_VERSION) or name == "machine"},
        command=command_of(tags.get(names.NOTE, "")),
        page_of=page_of,
        load=from_tracking(tracking_uri),
    )
    return TrackedReport(parent=parent, page=page)


def _page(
    frame: pd.DataFrame,
    found: Sequence[Answer],
    /,
    *,
    counts: _Counts,
    tolerance: float,
    saturation: SaturationSettings,
    sweep_id: str,
    table: pd.DataFrame | None,
    lines: Sequence[str],
    problems: Sequence[str],
    environment: Mapping[str, str],
    command: str,
    page_of: PageOf,
    load: Load,
) -> bytes:
    """Return the page. Runs whose quality is no finite number count as failed: the others are answered for."""
    named = [*problems, *problems_of(frame)]
    usable = as_failed(frame, without_numbers(frame))
    if len(usable) and not found:
        try:
            val, test = counts
            found = answers(
                usable,
                method=saturation.method,
                tolerance=tolerance,
                counts=val,
                test_counts=test,
                **saturation.options,
            )
        except ValueError as error:
            named.append(f"no answer: {error}")
    tables = tables_of(usable, found, load)
    report = Report(
        title=f"effbench: {', '.join(_subject(frame)) or 'sweep'} ({sweep_id})",
        frame=usable,
        found=found,
        tolerance=tolerance,
        asked=asked_of(frame, tolerance=tolerance),
        table=None if table is None or not len(table) else _grid(table),
        lines=lines,
        problems=list(dict.fromkeys(named)),
        environment={name.removeprefix(_VERSION): text for name, text in environment.items()},
        command="\n".join([*([command] if command else []), f"python -m effbench.report sweep={sweep_id}"]),
        record=answer_record(usable, found, sweep_id=sweep_id, tolerance=tolerance),
        page_of=page_of,
        tables=tables.by_run,
        n_without_tables=tables.n_others,
    )
    return without_secrets(report_page(report)).encode()


def _subject(frame: pd.DataFrame) -> list[str]:
    """Return what is compressed, and on which data."""
    known = [list(dict.fromkeys(frame[name].astype(str))) for name in ("model", "data") if name in frame.columns]
    return [values[0] if len(values) == 1 else f"{len(values)} of them" for values in known if values]


def _table(frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the table of points; None where the runs allow none."""
    try:
        table = points_table(frame, axes=swept_columns(frame))
    except ValueError:
        return None
    quality = Quality.of_frame(frame)
    table.attrs = {"quality": vars(quality), "extras": frame.attrs.get("extra_qualities", [])}
    return table


def _grid(table: pd.DataFrame) -> Grid:
    columns = shown_columns(table, Quality(**table.attrs["quality"]), table.attrs["extras"])
    n_names = next((number for number, column in enumerate(columns) if not column.is_axis), len(columns))
    rows = list(zip(*(column.cells for column in columns), strict=True))
    return Grid(headings=[column.heading for column in columns], rows=rows, n_names=n_names)


def _tolerance(tags: Mapping[str, str]) -> float:
    try:
        return float(tags.get(f"{names.PREFIX}tolerance", DEFAULT_TOLERANCE))
    except ValueError:
        return DEFAULT_TOLERANCE


def _saturation(tags: Mapping[str, str]) -> SaturationSettings:
    """Return by which definition a tracked sweep was answered; the default where it does not say."""
    begin = f"{names.PREFIX}saturation."
    told = {name.removeprefix(begin): text for name, text in tags.items() if name.startswith(begin)}
    values: dict[str, Any] = {name: told[name] for name in ("method", "cost_axis") if name in told}
    try:
        values |= {name: float(told[name]) for name in ("sensitivity", "rate") if name in told}
        prices = {name.partition(".")[2]: float(text) for name, text in told.items() if name.startswith("price.")}
        if told.get("price", "None") != "None":
            prices["size_bytes"] = float(told["price"])
        values |= {"price": prices} if prices else {}
        return SaturationSettings(**values)
    except ValueError:
        return SaturationSettings()
