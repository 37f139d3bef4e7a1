"""The end of a sweep: table, answer, figure; on the terminal and on the parent run."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from rich.console import Console

from effbench.analysis import Answer, Counts, Quality, answers, plot_saturation, points_table
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.sweep.carry_out import SweepOutcome
from effbench.sweep.terminal import print_failures, print_line, print_table, terminal_console
from effbench.tracking.location import for_writing, ui_command
from effbench.tracking.tracker import Tracker

FIGURE_VERSION = 2
"""Bumped when the figure of equal values comes to be drawn in another way."""


def give_answer(sweep: Sweep, outcome: SweepOutcome, store: Store, tracker: Tracker, /) -> None:
    """Print what came out, save table and figure, and end the sweep's parent run with them."""
    console = terminal_console()
    frame, plan = outcome.frame, sweep.plan
    files: dict[str, bytes] = {}
    metrics: dict[str, float] = {"n_runs": len(plan.points), "n_failed": len(outcome.failures)}
    if len(frame):
        table = points_table(frame, axes=[*plan.axes, *_swept(frame, sweep)])
        print_table(table, Quality.of_frame(frame), frame.attrs["extra_qualities"], console)
        files["table.csv"] = table.to_csv(index=False).encode()
        found = _answers(outcome, sweep.tolerance, console)
        console.print()
        for line in (*_lines(found), *outcome.shares):
            print_line(line, console)
        drawn = [answer for answer in found if answer.cost is not None]
        if drawn:
            files["saturation.png"] = _kept_figure(drawn, sweep.tolerance, outcome.counts, store)
            metrics |= _saturation_metrics(drawn)
    print_failures(outcome.failures, console)
    folder = store.root / "sweeps" / plan.sweep_id
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tracker.close_sweep(status="FAILED" if outcome.failures else "FINISHED", metrics=metrics, files=files)
    if "saturation.png" in files:
        print_line(f"figure: {_shown(folder / 'saturation.png')}", console)
    print_line(f"runs:   {_ui_command(sweep)}", console)


def _answers(outcome: SweepOutcome, tolerance: float, console: Console) -> list[Answer]:
    """Return the answers; none, and say why, where the runs allow none: what was measured is not lost by that."""
    try:
        return answers(outcome.frame, tolerance=tolerance, counts=outcome.counts)
    except ValueError as error:
        console.print()
        print_line(f"no answer: {error}", console)
        return []


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


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _ui_command(sweep: Sweep) -> str:
    """Return the command that shows the runs."""
    return ui_command(for_writing(sweep.tracking.uri))
