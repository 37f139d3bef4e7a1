"""The saturation point with a third of the runs: `sweep.refine` beside the full grid and beside bisection of that grid.

Question: does refining a coarse grid of two values come to the point that a full grid has, and with how many runs?

Command: python benchmarks/refine.py [--axes prune,bits,rank,share,prune_channels,bits_budget,rate,rho_eval,alpha,rho]
[--seeds 0,1] [--epochs 6] [--alpha 0.5] [--tolerance 0.02] [--folder FOLDER] [--table table.csv]     Cost: on two cores
two to five minutes a seed for those that share one trained network, all but alpha and rho; these train one for each
value: some minutes more.

Each axis is swept on the shipped digits by `small_cnn` without finetuning. The full grid has 14 to 19 values; refining
begins with two of them and may use a third of the grid's runs in all, references apart (they are the same). Bisection
has the full grid's values to choose from, both ends first. Nothing is simulated: each run is trained or compressed,
written to its file and read back; no latency is measured, as refining does not look at it.

"within": whether the cost of refining's point lies in the full grid's 95 % interval (1,000 paired resamples of the
validation examples, and of the seeds from two on). The grid can't say where between two of its values the loss comes:
the interval is taken up to the next value of the grid at either end, exclusive, as refining tries values in between.

Expected: within, on every axis, with a third of the grid's runs or fewer. With two seeds: 12 of 38 runs for prune (0.3
by both), rank and prune_channels (the reference by both), 10 of 32 for bits (5 by both), 10 of 30 for share (23 beside
the grid's 24), bits_budget (4 beside 3.75), rate (2.18 beside 2) and alpha (0.4375 by both), 8 of 28 for rho (0.40625
beside 0.375, the same multiply-adds) and rho_eval (the reference by both). Bisection takes 12, 12, 4, 12, 10, 10, 12,
12, 12 and 4, in this order of the axes: prune, rank, prune_channels, bits, share, bits_budget, rate, alpha, rho,
rho_eval; fewer where not even its least compressing value is acceptable; but it stays on the full grid, which somebody
has to choose.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis import Counts, saturation_point
from effbench.analysis.acceptable import acceptable_runs
from effbench.analysis.curves.costs import costs_that_vary
from effbench.analysis.definitions.tolerance import Tolerance
from effbench.config.read import read_sweep
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.executors import run_here
from effbench.run.outcomes import RunError
from effbench.run.store import Store
from effbench.sweep.progress import ProgressDisplay
from effbench.sweep.refine import refine
from effbench.sweep.run_frame import run_frame

SHARES = tuple(round(0.05 * step, 2) for step in range(1, 20))
SIXTEENTHS = tuple(0.0625 * step for step in range(2, 16))
GRIDS: dict[str, tuple[tuple[float, ...], tuple[float, float]]] = {
    "prune": (SHARES, (0.1, 0.9)),
    "bits": (tuple(range(1, 17)), (8, 2)),
    "rank": (SHARES, (0.9, 0.1)),
    "share": ((2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256), (256, 2)),
    "alpha": ((0.0625, *SIXTEENTHS), (0.75, 0.125)),
    "rho": (SIXTEENTHS, (0.875, 0.25)),
    "prune_channels": (SHARES, (0.1, 0.9)),
    "bits_budget": ((2, 2.25, 2.5, 2.75, 3, 3.25, 3.5, 3.75, 4, 4.5, 5, 5.5, 6, 7, 8), (8, 2)),
    "rate": ((0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 12, 16), (8, 1)),
    "rho_eval": (SIXTEENTHS, (0.875, 0.25)),
}
"""Of each axis the full grid, and the two values with which refining begins."""


@dataclass
class Bench:
    """Sweeps on one store, whose results are computed once."""

    arguments: Sequence[str]
    store: Store
    tolerance: float

    def sweep(self, axis: str, values: Sequence[float], most: int = 0) -> Sweep:
        """Plan a sweep of one axis."""
        return read_sweep([f"{axis}={','.join(map(str, values))}", f"sweep.refine={most}", *self.arguments])

    def run(self, sweep: Sweep) -> tuple[pd.DataFrame, Counts]:
        """Run a sweep, and refine it; returns its runs, and their counts on validation."""
        metrics: dict[str, dict[str, float]] = {}
        counts: dict[str, NDArray[np.int64]] = {}

        def compute(extended: Sweep, points: Sequence[Point]) -> bool:
            display = ProgressDisplay(extended.plan)
            for point, result in run_here(points, self.store, extended.device, display):
                if isinstance(result, RunError):
                    raise SystemExit(f"{point}: {result.summary}")
                metrics[point.key], counts[point.key] = dict(result.metrics), result.counts_val
            return True

        compute(sweep, sweep.plan.points)
        refined = refine(sweep, metrics, counts, compute)
        for note in refined.notes:
            print(note, flush=True)
        return run_frame(refined.sweep, metrics, {}), Counts(kind="ratio", by_run=counts)

    def saturation(self, runs: pd.DataFrame, counts: Counts, cost: str) -> tuple[float, str, tuple[float, float]]:
        """Return the cost and the label of a sweep's saturation point, and the interval of the cost."""
        found = saturation_point(runs, cost=cost, tolerance=self.tolerance, counts=counts)
        if found.point is None:
            return math.nan, found.reason.partition(";")[0], (math.nan, math.nan)
        low, high = found.interval or (math.nan, math.nan)
        return float(found.point[cost]), str(found.point["point"]), (low, high)


def n_bisected(acceptable: Sequence[bool]) -> int:
    """Return how many values a bisection looks at that has both ends of a grid first; least compressed first."""
    low, high, n = 0, len(acceptable) - 1, 2
    while high - low > 1 and acceptable[low] and not acceptable[high]:
        middle, n = (low + high) // 2, n + 1
        low, high = (middle, high) if acceptable[middle] else (low, middle)
    return n


def between(costs: Sequence[float], interval: tuple[float, float], cost: float) -> bool:
    """Whether a cost lies in an interval that reaches up to the next costs of the grid, exclusive."""
    low = max((other for other in costs if other < interval[0]), default=-math.inf)
    high = min((other for other in costs if other > interval[1]), default=math.inf)
    return low < cost < high


def compared(bench: Bench, axis: str) -> dict[str, object]:
    """Return the row of one axis."""
    values, coarse = GRIDS[axis]
    full, counts = bench.run(bench.sweep(axis, values))
    refined, own_counts = bench.run(bench.sweep(axis, coarse, len(values) // 3 - len(coarse)))
    cost = costs_that_vary(full)[0]
    there, label, interval = bench.saturation(full, counts, cost)
    own, own_label, _ = bench.saturation(refined, own_counts, cost)
    verdicts, _ = acceptable_runs(full, Tolerance(tolerance=bench.tolerance), cost=cost)
    points = full[~full["reference"]].drop_duplicates(axis).sort_values(cost, ascending=False)
    n_seeds = full["seed"].nunique()
    costs = full.groupby("point")[cost].mean().tolist()
    n_own = int((~refined["reference"]).sum())
    return {
        "axis": axis,
        "cost": cost,
        "grid's point": label,
        "at": there,
        "interval": f"{interval[0]:.0f} to {interval[1]:.0f}",
        "refine's point": own_label,
        "refine at": own,
        "within": between(costs, interval, own),
        "runs: grid": len(values) * n_seeds,
        "bisection": n_bisected([verdicts[key] for key in points["run_key"]]) * n_seeds,
        "refine": n_own,
        "a third": 3 * n_own <= len(values) * n_seeds,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", default="prune,bits,rank,share")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--folder")
    parser.add_argument("--table")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for axis in given.axes.split(","):
            arguments = ["data=digits", f"train.epochs={given.epochs}", "finetune.epochs=0", f"seed={given.seeds}"]
            arguments += [f"tolerance={given.tolerance}"] + ([f"model.alpha={given.alpha}"] if axis != "alpha" else [])
            bench = Bench(arguments, Store(Path(given.folder or temporary)), given.tolerance)
            rows.append(compared(bench, axis))
            print(pd.DataFrame(rows[-1:]).T.to_string(header=False), flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    if given.table:
        table.to_csv(given.table, index=False)


if __name__ == "__main__":
    main()
