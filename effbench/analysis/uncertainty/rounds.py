"""How the rounds of a latency move what is chosen: another pass would have measured other speed-ups."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.jitter import LATENCY, SPEEDUPS
from effbench.analysis.definitions.choice import NO_ROW
from effbench.analysis.definitions.methods import Method
from effbench.analysis.uncertainty.student import LEVEL

N_PASSES = 250
"""Passes that are drawn: each one's latencies hold for as many resamples."""


def resampled_choices(
    curve: Curve, method: Method, drawn: NDArray[np.float64], /
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row that a method chooses in each resample, `NO_ROW` for none, and its cost: (n_resamples,) each.

    drawn: losses on other examples and with other seeds, (n_resamples, n_points). Where the cost is a latency whose
    speed-ups have intervals, four resamples each have the latencies of another pass (`drawn_latencies`).
    """
    losses = method.looked_at(curve, drawn)
    passes = _passes(curve)
    if not passes:
        rows = method.rows(curve, losses)
        return rows, np.where(rows == NO_ROW, np.nan, curve.costs[rows])
    found, costs = [], []
    for (moved, order), part in zip(passes, np.array_split(losses, len(passes)), strict=True):
        if not len(part):
            continue
        rows = method.rows(moved, part[:, order])
        found.append(np.where(rows == NO_ROW, NO_ROW, order[rows]))
        costs.append(np.where(rows == NO_ROW, np.nan, moved.costs[rows]))
    return np.concatenate(found), np.concatenate(costs)


def drawn_latencies(curve: Curve, /, *, n_passes: int = N_PASSES, seed: int = 0) -> NDArray[np.float64] | None:
    """Return the latencies that points would have in other passes, (n_passes, n_points); None where that is unknown.

    A pass measures each point in rounds with its reference, and its speed-up has a 95 % interval, by order statistics
    of the rounds (`speedup_low/...`, `speedup_high/...`). The logarithm of the speed-up is drawn from the normal
    distribution of that interval, for each run of a point, whose passes have nothing in common; the reference keeps its
    latency, since rounds are paired. None where the curve's cost is no latency, where it has no reference, and where no
    point has an interval.
    """
    engine = curve.cost.removeprefix(LATENCY)
    columns = [SPEEDUPS[end] + engine for end in ("low", "high")]
    if engine == curve.cost or curve.base != "reference" or not set(columns) <= set(curve.runs.columns):
        return None
    runs, points = curve.pairs.runs, curve.pairs.points
    low, high = (np.asarray(curve.runs[name], dtype=np.float64)[runs] for name in columns)
    is_known = np.isfinite(low) & np.isfinite(high) & (low > 0) & (high >= low) & ~np.isin(points, curve.references)
    if not is_known.any():
        return None
    widths = np.zeros(len(runs))
    widths[is_known] = np.log(high[is_known] / low[is_known]) / (2 * norm.ppf((1 + LEVEL) / 2))
    n_known = np.bincount(points[is_known], minlength=len(curve))
    squares = np.bincount(points, weights=widths**2, minlength=len(curve))
    width = np.sqrt(squares) / np.maximum(n_known, 1)
    normals = np.random.default_rng((seed, 3)).standard_normal((n_passes, len(curve)))
    return np.asarray(curve.costs * np.exp(-width * normals))


@lru_cache(maxsize=1)
def _passes(curve: Curve) -> list[tuple[Curve, NDArray[np.int64]]]:
    """Return the curve as each pass would have it, as of `_with_costs`; none where a cost has no rounds.

    Kept for the next definition on the same curve.
    """
    latencies = drawn_latencies(curve)
    return [] if latencies is None else [_with_costs(curve, own) for own in latencies]


def _with_costs(curve: Curve, costs: NDArray[np.float64]) -> tuple[Curve, NDArray[np.int64]]:
    """Return a curve with other costs, (n_points,), cheapest first, and the row in `curve` of each row there."""
    order = np.argsort(costs, kind="stable")
    moved = replace(
        curve,
        points=curve.points.assign(**{curve.cost: costs}).iloc[order].reset_index(drop=True),
        deviations=curve.deviations.iloc[order].reset_index(drop=True),
        labels=[curve.labels[row] for row in order],
        n_seeds=curve.n_seeds[order],
        n_asked=curve.n_asked[order],
        ended_early=curve.ended_early[order],
        references=np.argsort(order)[curve.references[order]],
        pairs=curve.pairs.numbered_by(order),
    )
    return moved, order
