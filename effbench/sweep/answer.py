"""The end of a sweep: table, answer, figure; on the terminal and on the parent run."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import pandas as pd

from effbench.analysis import Answer, Counts, Quality, answers, plot_saturation, points_table
from effbench.plan.sweep import Sweep
from effbench.run.interruption import check
from effbench.run.store import Store
from effbench.sweep.carry_out import SweepOutcome
from effbench.sweep.messages import say
from effbench.sweep.note import note
from effbench.sweep.params import asked_of_the_sweep
from effbench.sweep.printout import Printout
from effbench.tracking import names
from effbench.tracking.location import for_writing, ui_command
from effbench.tracking.tracker import RunStatus, Tracker, TrackingError

FIGURE_VERSION = 2
"""Bumped when the figure of equal values comes to be drawn in another way."""


def give_answer(
    sweep: Sweep, outcome: SweepOutcome, store: Store, tracker: Tracker, /, *, shows: bool = True
) -> tuple[Printout, bool]:
    """Save table and figure of what came out, and end the sweep's parent run with them.

    Returns what is to be printed, which is done where it `shows`, and whether all is logged; if not, that is said.
    """
    printout, metrics, files = _answered(sweep, outcome, store)
    if shows:
        printout.show()
    check()
    return printout, _close(sweep, outcome, tracker, printout, metrics, files)


def answer_so_far(sweep: Sweep, outcome: SweepOutcome, store: Store, /) -> Printout:
    """Save table and figure of a sweep that is not finished; the tracker is not told."""
    return _answered(sweep, outcome, store)[0]


def _answered(
    sweep: Sweep, outcome: SweepOutcome, store: Store
) -> tuple[Printout, Mapping[str, float], Mapping[str, bytes]]:
    found, no_answer = _answers(outcome, sweep.tolerance)
    check()
    files, metrics = _files(found, sweep, outcome, store), _metrics(found, sweep, outcome)
    folder = store.root / "sweeps" / sweep.plan.sweep_id
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    printout = Printout(
        table=_table(outcome.frame, sweep) if len(outcome.frame) else None,
        lines=[*([f"no answer: {no_answer}"] if no_answer else _lines(found)), *outcome.shares],
        failures={name: error.summary for name, error in outcome.failures.items()},
        unmeasured=outcome.unmeasured,
        figure=str(folder / "saturation.png") if "saturation.png" in files else None,
        runs=ui_command(for_writing(sweep.tracking.uri)),
    )
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
        missing = "latencies"
    if problem is None:
        tags = {names.NOTE: note(sweep.command, printout.lines, printout.table), **asked_of_the_sweep(sweep)}
        status: RunStatus = "FINISHED" if outcome.is_whole else "FAILED"
        try:
            tracker.close_sweep(status=status, metrics=metrics, files=files, tags=tags)
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
    drawn = [answer for answer in found if answer.cost is not None]
    if drawn:
        files["saturation.png"] = _kept_figure(drawn, sweep.tolerance, outcome.counts, store)
    return files


def _table(frame: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    table = points_table(frame, axes=[*sweep.plan.axes, *_swept(frame, sweep)])
    table.attrs = {"quality": dataclasses.asdict(Quality.of_frame(frame)), "extras": frame.attrs["extra_qualities"]}
    return table


def _metrics(found: Sequence[Answer], sweep: Sweep, outcome: SweepOutcome) -> dict[str, float]:
    drawn = [answer for answer in found if answer.cost is not None]
    return {"n_runs": len(sweep.plan.points), "n_failed": len(outcome.failures), **_saturation_metrics(drawn)}


def _answers(outcome: SweepOutcome, tolerance: float) -> tuple[list[Answer], str]:
    """Return the answers; none, and why, where the runs allow none: what was measured is not lost by that."""
    if not len(outcome.frame):
        return [], ""
    try:
        return answers(outcome.frame, tolerance=tolerance, counts=outcome.counts), ""
    except ValueError as error:
        return [], str(error)


def _lines(found: Sequence[Answer]) -> list[str]:
    """Return what answers say: the sentences of a group, then what else is known of it."""
    lines = []
    for group in dict.fromkeys(answer.group for answer in found):
        own = [answer for answer in found if answer.group == group]
        lines += [answer.sentence for answer in own] + [detail for answer in own for detail in answer.details]
    return lines


def _kept_figure(found: Sequence[Answer], tolerance: float, counts: Counts | None, store: Store) -> bytes:
    """Return the figure, drawn only where the store has none of these very values: drawing takes a second or two."""
    digest = hashlib.sha256(f"{FIGURE_VERSION} {tolerance} {version('matplotlib')}".encode())
    for answer in found:
        digest.update(f"\n{answer.group} {answer.cost}\n{answer.runs.to_csv()}".encode())
    for key, values in sorted(() if counts is None else counts.by_run.items()):
        digest.update(key.encode() + values.tobytes())
    name = f"figures/{digest.hexdigest()[:20]}.png"
    kept = store.get(name)
    if kept is None:
        kept = figure(found, tolerance=tolerance, counts=counts)
        store.put(name, kept)
    return kept


def figure(found: Sequence[Answer], *, tolerance: float, counts: Counts | None = None) -> bytes:
    """Return a PNG with a panel for each answer: the quality against its cost. Each group begins a row of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = {group: [answer for answer in found if answer.group == group] for group in {a.group: None for a in found}}
    n_columns = min(max(map(len, groups.values())), 2)
    rows = [own[start : start + n_columns] for own in groups.values() for start in range(0, len(own), n_columns)]
    width, height = 5.4 * n_columns, 4.2 * len(rows)
    drawing = Figure(figsize=(width, height))
    FigureCanvasAgg(drawing)
    # Margins in inches, fixed: labels are placed where the axes are, so these must not move afterwards.
    left = 0.75 if len(groups) == 1 else 0.95
    margins = {"left": left / width, "right": 1 - 0.2 / width, "bottom": 0.6 / height, "top": 1 - 0.5 / height}
    spacing = {"wspace": 0.22, "hspace": 0.34}
    panels = drawing.subplots(len(rows), n_columns, squeeze=False, gridspec_kw={**margins, **spacing})
    for row, answers_in_row in zip(panels, rows, strict=True):
        for unused in row[len(answers_in_row) :]:
            unused.remove()
        for answer, axes in zip(answers_in_row, row, strict=False):
            legend = answer is groups[answer.group][0]
            plot_saturation(answer.runs, cost=answer.cost, ax=axes, tolerance=tolerance, legend=legend, counts=counts)
            if answer.group and answer is answers_in_row[0]:
                axes.set_ylabel(f"{answer.group}\n{axes.get_ylabel()}")
    stream = io.BytesIO()
    drawing.savefig(stream, format="png", dpi=200)
    return stream.getvalue()


def _swept(frame: pd.DataFrame, sweep: Sweep) -> list[str]:
    """Return the columns beside the axes that tell points apart."""
    keys = dict.fromkeys(key for point in sweep.plan.points for key in point.swept)
    return [key for key in keys if key in frame.columns]


def _saturation_metrics(found: Sequence[Answer]) -> dict[str, float]:
    """Return the cost and quality at each saturation point there is, of a group under its name: ".../lenet_5"."""
    metrics: dict[str, float] = {}
    for answer in found:
        point = None if answer.saturation is None else answer.saturation.point
        if point is None or answer.saturation is None:
            continue
        group = "".join(f"/{part.partition('=')[2]}" for part in answer.group.split(", ") if part)
        metrics |= {
            f"saturation/{answer.cost}{group}": float(point[str(answer.cost)]),
            f"saturation_{answer.saturation.quality}/{answer.cost}{group}": float(point[answer.saturation.quality]),
        }
    return metrics
