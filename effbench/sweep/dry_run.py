"""What a sweep would do, printed: its plan."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from effbench.plan.sweep import Sweep
from effbench.run.results import is_kept, n_kept_steps
from effbench.run.store import Store
from effbench.sweep.terminal import cell, print_line, terminal_console


def print_plan(sweep: Sweep, store: Store) -> None:
    """Print what a sweep would do: its runs, which steps are there already, what would be measured."""
    console = terminal_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "seed", "status", "steps (kept ones in brackets)"):
        table.add_column(heading, no_wrap=True)
    n_kept = 0
    for point in sweep.plan.points:
        kept = is_kept(point.key, store)
        n_kept += kept
        all_steps = point.chain.steps
        n_steps = len(all_steps) if kept else n_kept_steps(point.chain, store)
        steps = [f"({step})" if number < n_steps else str(step) for number, step in enumerate(all_steps)]
        row = (point.label, str(point.seed), "kept" if kept else "to run", " → ".join(steps))
        table.add_row(*map(cell, row))
    console.print(table)
    n_runs = len(sweep.plan.points)
    print_line(f"sweep {sweep.plan.sweep_id}: {n_runs} runs, {n_kept} kept, {n_runs - n_kept} to run", console)
    measure = sweep.measure
    engines, batch, threads = ", ".join(sweep.engines), _listed(measure.batch), _listed(measure.threads)
    print_line(f"latency: {engines}; batch {batch}, {threads} threads, {measure.seconds:g} s a model", console)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
