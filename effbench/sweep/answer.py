"""The end of a sweep: table, answer, figure; on the terminal and on the parent run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from effbench.analysis import Answer, Quality, answers, nominal_and_real, not_faster, points_table
from effbench.analysis.curves.groups import group_columns
from effbench.plan.sweep import Sweep
from effbench.run.interruption import check
from effbench.run.store import Store
from effbench.sweep.answer_record import answer_record
from effbench.sweep.budget import budget_lines
from effbench.sweep.carry_out import SweepOutcome
from effbench.sweep.config_file import sweep_config_file
from effbench.sweep.figures import SATURATION, former_figures, nominal_files, saturation_files
from effbench.sweep.messages import say
from effbench.sweep.note import note
from effbench.sweep.page import page_of
from effbench.sweep.params import asked_of_the_sweep
from effbench.sweep.printout import Printout
from effbench.sweep.report_words import as_failed, without_numbers
from effbench.sweep.reporting import REPORT, report_of_sweep
from effbench.tracking import names
from effbench.tracking.location import for_writing, ui_command
from effbench.tracking.tracker import RunStatus, Tracker, TrackingError


def give_answer(
    sweep: Sweep, outcome: SweepOutcome, store: Store, tracker: Tracker, /, *, shows: bool = True
) -> tuple[Printout, bool]:
    """Save table and figure of what came out, and end the sweep's parent run with them.

    Returns what is to be printed, which is done where it `shows`, and whether all is logged; if not, that is said.
    """
    printout, metrics, files = _answered(sweep, outcome, store, tracker)
    if outcome.tracking_problem is None:
        printout = dataclasses.replace(printout, page=page_of(sweep, outcome.frame, tracker))
    if shows:
        printout.show()
    check()
    return printout, _close(sweep, outcome, tracker, printout, metrics, files)


def answer_so_far(sweep: Sweep, outcome: SweepOutcome, store: Store, /) -> Printout:
    """Save table and figure of a sweep that is not finished; the tracker is not told."""
    return _answered(sweep, outcome, store, None)[0]


def _answered(
    sweep: Sweep, outcome: SweepOutcome, store: Store, tracker: Tracker | None
) -> tuple[Printout, Mapping[str, float], Mapping[str, bytes]]:
    found, no_answer = _answers(outcome, sweep)
    check()
    nominal = nominal_and_real(outcome.frame)
    files, metrics = _files(found, sweep, outcome, store), _metrics(found, sweep, outcome)
    if len(nominal):
        files |= {"nominal.csv": nominal.to_csv(index=False).encode(), **nominal_files(sweep, outcome, store)}
    folder, figure = store.root / "sweeps" / sweep.plan.sweep_id, f"{SATURATION}.{sweep.figure.format[0]}"
    printout = Printout(
        table=_table(outcome.frame, sweep) if len(outcome.frame) else None,
        lines=[
            *([f"no answer: {no_answer}"] if no_answer else _lines(found)),
            *outcome.shares,
            *not_faster(nominal),
            *outcome.engine_notes,
            *(() if outcome.refined is None else outcome.refined.notes),
            *budget_lines(sweep.plan.points),
        ],
        failures={name: error.summary for name, error in outcome.failures.items()},
        unmeasured=outcome.unmeasured,
        figure=str(folder / figure) if figure in files else None,
        runs=ui_command(for_writing(sweep.tracking.uri)),
        command=sweep.command,
        report=str(folder / REPORT),
        record=answer_record(outcome.frame, found, sweep_id=sweep.plan.sweep_id, tolerance=sweep.tolerance),
    )
    files[REPORT] = report_of_sweep(sweep, outcome, found, printout, store, tracker)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in former_figures(folder, files):  # of a format that is no longer asked for: they have an earlier answer
        stale.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return printout, metrics, files


def _close(
    sweep: Sweep,
    outcome: SweepOutcome,
    tracker: Tracker,
    printout: Printout,
    metrics: Mapping[str, float],
    files: Mapping[str, bytes],
) -> bool:
    """End the parent run; what could not be logged of the sweep is told in a line."""
    problem, missing = outcome.tracking_problem, "the answer"
    if outcome.n_unlogged:
        missing = f"{outcome.n_unlogged} of {len(sweep.plan.points)} runs"
    elif problem is not None:
        missing = "latencies or models" if sweep.tracking.log_model else "latencies"
    if problem is None:
        tags = {names.NOTE: note(sweep.command, printout.lines, printout.table), **asked_of_the_sweep(sweep)}
        status: RunStatus = "FINISHED" if outcome.is_whole else "FAILED"
        try:
            whole = {**files, **outcome.files, names.CONFIG_FILE: sweep_config_file(sweep)}
            tracker.close_sweep(status=status, metrics=metrics, files=whole, tags=tags)
        except TrackingError as error:
            problem = error
    if problem is not None:
        say(f"not logged: {missing} ({problem}); the same command logs what is missing")
    return problem is None


def _files(found: Sequence[Answer], sweep: Sweep, outcome: SweepOutcome, store: Store) -> dict[str, bytes]:
    """Return the files of an answer by their names: its table, and its figure where there is something to draw."""
    files: dict[str, bytes] = {}
    if len(outcome.frame):
        files["table.csv"] = _table(outcome.frame, sweep).to_csv(index=False).encode()
    return files | saturation_files(found, sweep, outcome, store)


def _table(frame: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    axes = [*sweep.plan.axes, *_swept(frame, sweep)]
    groups = group_columns(axes)
    # Networks that take no smaller images, and data sets, have sides of their own.
    sides = {point.chain.side for point in sweep.plan.points if point.is_reference}
    beside = ["side"] if len(sides) > 1 and "data.side" not in axes else []
    table = points_table(frame, axes=[*groups, *beside, *(axis for axis in axes if axis not in groups)])
    table.attrs = {"quality": dataclasses.asdict(Quality.of_frame(frame)), "extras": frame.attrs["extra_qualities"]}
    return table


def _metrics(found: Sequence[Answer], sweep: Sweep, outcome: SweepOutcome) -> dict[str, float]:
    drawn = [answer for answer in found if answer.cost is not None]
    return {"n_runs": len(sweep.plan.points), "n_failed": len(outcome.failures), **_saturation_metrics(drawn)}


def _answers(outcome: SweepOutcome, sweep: Sweep) -> tuple[list[Answer], str]:
    """Return the answers; none, and why, where the runs allow none: what was measured is not lost by that."""
    if not len(outcome.frame):
        return [], ""
    try:
        # A run whose quality is no number counts as failed: the others are answered for.
        found = answers(
            as_failed(outcome.frame, without_numbers(outcome.frame)),
            method=sweep.saturation.method,
            counts=outcome.counts,
            test_counts=outcome.test_counts,
            tolerance=sweep.tolerance,
            **sweep.saturation.options,
        )
        return found, ""
    except ValueError as error:
        return [], str(error)


def _lines(found: Sequence[Answer]) -> list[str]:
    """Return what answers say: the sentences of a group, then what else is known of it."""
    lines = []
    for group in dict.fromkeys(answer.group for answer in found):
        own = [answer for answer in found if answer.group == group]
        lines += [answer.sentence for answer in own] + [detail for answer in own for detail in answer.details]
    return lines


def _swept(frame: pd.DataFrame, sweep: Sweep) -> list[str]:
    """Return the columns beside the axes that tell points apart."""
    keys = dict.fromkeys(key for point in sweep.plan.points for key in point.swept)
    return [key for key in keys if key in frame.columns]


def _saturation_metrics(found: Sequence[Answer]) -> dict[str, float]:
    """Return the cost and quality at each saturation point there is, and what it loses on test.

    Those of a group are under its name: ".../lenet_5".
    """
    metrics: dict[str, float] = {}
    for answer in found:
        saturation = answer.saturation
        if saturation is None or saturation.point is None:
            continue
        where = f"{answer.cost}" + "".join(f"/{part.partition('=')[2]}" for part in answer.group.split(", ") if part)
        metrics[f"saturation/{where}"] = float(saturation.point[str(answer.cost)])
        metrics[f"saturation_{saturation.quality}/{where}"] = float(saturation.point[saturation.quality])
        if saturation.test_loss is not None:
            metrics[f"saturation_test_loss/{where}"] = saturation.test_loss
    return metrics
