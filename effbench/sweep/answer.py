"""The end of a sweep: table, answer, figure; on the terminal and on the parent run."""

from __future__ import annotations

import hashlib
import io
import math
import os
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from effbench.analysis import (
    Counts,
    Quality,
    detail_sentences,
    plot_saturation,
    points_table,
    saturation_point,
    saturation_sentence,
    varying_costs,
)
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.sweep.carry_out import SweepOutcome
from effbench.sweep.terminal import print_failures, print_table, terminal_console
from effbench.tracking.location import for_writing, sqlite_path
from effbench.tracking.tracker import Tracker

FIGURE_VERSION = 1
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
        console.print()
        for sentence in sentences(frame, tolerance=sweep.tolerance, counts=outcome.counts):
            console.print(sentence, highlight=False, markup=False)
        costs = _costs(frame)
        if costs:
            files["saturation.png"] = _kept_figure(frame, costs, sweep.tolerance, outcome.counts, store)
            metrics |= _saturation_metrics(frame, costs, sweep.tolerance)
    print_failures(outcome.failures, console)
    folder = store.root / "sweeps" / plan.sweep_id
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tracker.close_sweep(status="FAILED" if outcome.failures else "FINISHED", metrics=metrics, files=files)
    if "saturation.png" in files:
        console.print(f"figure: {_shown(folder / 'saturation.png')}", highlight=False)
    console.print(f"runs:   {_ui_command(sweep)}", highlight=False)


def sentences(frame: pd.DataFrame, *, tolerance: float, counts: Counts | None = None) -> list[str]:
    """Return the answer on every cost that varies, and what else is known of the point that the first one chose."""
    costs = _costs(frame)
    if not costs:
        return ["no cost varies over these runs: sweep an axis, as in +prune=0.1,0.5,0.9"]
    answers = [saturation_sentence(frame, cost=cost, tolerance=tolerance, counts=counts) for cost in costs]
    return [*answers, *detail_sentences(frame, cost=costs[0], tolerance=tolerance)]


def _kept_figure(frame: pd.DataFrame, costs: list[str], tolerance: float, counts: Counts | None, store: Store) -> bytes:
    """Return the figure, drawn only where the store has none of these very values: drawing takes a second or two."""
    digest = hashlib.sha256(f"{FIGURE_VERSION} {costs} {tolerance} {version('matplotlib')}\n{frame.to_csv()}".encode())
    for key, values in sorted(() if counts is None else counts.by_run.items()):
        digest.update(key.encode() + values.tobytes())
    name = f"figures/{digest.hexdigest()[:20]}.png"
    kept = store.get(name)
    if kept is None:
        kept = figure(frame, costs, tolerance=tolerance, counts=counts)
        store.put(name, kept)
    return kept


def figure(frame: pd.DataFrame, costs: list[str], *, tolerance: float, counts: Counts | None = None) -> bytes:
    """Return a PNG with the quality against each cost."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = min(len(costs), 2)
    n_rows = math.ceil(len(costs) / n_columns)
    width, height = 5.4 * n_columns, 4.2 * n_rows
    drawing = Figure(figsize=(width, height))
    FigureCanvasAgg(drawing)
    # Margins in inches, fixed: labels are placed where the axes are, so these must not move afterwards.
    margins = {"left": 0.75 / width, "right": 1 - 0.2 / width, "bottom": 0.6 / height, "top": 1 - 0.5 / height}
    spacing = {"wspace": 0.22, "hspace": 0.34}
    panels = drawing.subplots(n_rows, n_columns, squeeze=False, gridspec_kw={**margins, **spacing}).flatten()
    for unused in panels[len(costs) :]:
        unused.remove()
    for cost, axes in zip(costs, panels[: len(costs)], strict=True):
        plot_saturation(frame, cost=cost, ax=axes, tolerance=tolerance, legend=cost == costs[0], counts=counts)
    stream = io.BytesIO()
    drawing.savefig(stream, format="png", dpi=200)
    return stream.getvalue()


def _costs(frame: pd.DataFrame) -> list[str]:
    """Return the costs that vary over the points; none where they don't, which is an answer here and no error."""
    if frame["point"].nunique() < 2:
        return []
    try:
        return varying_costs(frame)
    except ValueError:
        return []


def _swept(frame: pd.DataFrame, sweep: Sweep) -> list[str]:
    """Return the columns beside the axes that tell points apart."""
    keys = dict.fromkeys(key for point in sweep.plan.points for key in point.swept)
    return [key for key in keys if key in frame.columns]


def _saturation_metrics(frame: pd.DataFrame, costs: list[str], tolerance: float) -> dict[str, float]:
    """Return the cost and quality at the saturation point, where there is one."""
    metrics: dict[str, float] = {}
    quality = Quality.of_frame(frame).column
    for cost in costs:
        point = saturation_point(frame, cost=cost, tolerance=tolerance).point
        if point is not None:
            metrics |= {
                f"saturation/{cost}": float(point[cost]),
                f"saturation_{quality}/{cost}": float(point[quality]),
            }
    return metrics


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _ui_command(sweep: Sweep) -> str:
    """Return the command that shows the runs."""
    uri = for_writing(sweep.tracking.uri)
    path = sqlite_path(uri)
    if path is None:
        return uri
    here = path.parent == Path.cwd()
    return "mlflow ui" if here else f"mlflow ui --backend-store-uri {uri}"
