"""What a sweep would do, printed: its plan."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from effbench.plan.sweep import Sweep
from effbench.run.results import is_kept, n_kept_steps
from effbench.run.store import Store
from effbench.sweep.answer_format import Answering
from effbench.sweep.fitting import Column
from effbench.sweep.messages import plain
from effbench.sweep.terminal import print_line, print_rows, terminal_console


def print_plan(sweep: Sweep, store: Store, console: Console | None = None) -> None:
    """Print what a sweep would do: its runs, which steps are there already, what would be measured."""
    console = terminal_console() if console is None else console
    runs = plan_table(sweep, store)
    headings = {"point": "run", "seed": "seed", "status": "status", "steps": "steps (kept ones in brackets)"}
    columns = [
        Column(name=name, heading=heading, cells=tuple(plain(value) for value in runs[name]))
        for name, heading in headings.items()
    ]
    print_rows(columns, console, justify="left")
    n_runs, n_kept = len(runs), int((runs["status"] == "kept").sum())
    print_line(f"sweep {sweep.plan.sweep_id}: {n_runs} runs, {n_kept} kept, {n_runs - n_kept} to run", console)
    more = more_runs(sweep)
    if more:
        print_line(more, console)
    measure = sweep.measure
    engines, batch, threads = ", ".join(sweep.engines), _listed(measure.batch), _listed(measure.threads)
    print_line(f"latency: {engines}; batch {batch}, {threads} threads, {measure.seconds:g} s a model", console)


def show_plan(sweep: Sweep, store: Store, answering: Answering, /) -> None:
    """Show what a sweep would do: printed, or as the document that the command asks for."""
    if answering.is_document:
        answering.show_plan(plan_table(sweep, store), more_runs(sweep), sweep.refinement.most_runs)
    else:
        print_plan(sweep, store)


def more_runs(sweep: Sweep, /) -> str:
    """Say how many runs refining may add to the plan, and to what; "" where it adds none."""
    refinement = sweep.refinement
    if not refinement.most_runs:
        return ""
    axes = ", ".join(dict.fromkeys(curve.axis for curve in refinement.curves))
    seeds = " and each seed" if any(len(curve.references) > 1 for curve in refinement.curves) else ""
    each = f"{refinement.most} for each of {axes}{seeds}, where the results ask for them"
    return f"then up to {refinement.most_runs} more: {each}"


def plan_table(sweep: Sweep, store: Store, /) -> pd.DataFrame:
    """Return a row per run: point, seed, run_key, status, its steps (kept ones in brackets), the values of the axes."""
    rows = []
    for point in sweep.plan.points:
        kept, steps = is_kept(point.key, store), point.chain.steps
        n_steps = len(steps) if kept else n_kept_steps(point.chain, store)
        shown = [f"({step})" if number < n_steps else str(step) for number, step in enumerate(steps)]
        own = {"point": point.label, "seed": point.seed, "run_key": point.key, "status": "kept" if kept else "to run"}
        rows.append({**own, "steps": " → ".join(shown), **point.axes})
    return pd.DataFrame(rows)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
