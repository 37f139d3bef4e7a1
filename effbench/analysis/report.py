"""The answer in words and in a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.columns import codes_of, parse_numbers
from effbench.analysis.costs import chosen_cost, cost_words
from effbench.analysis.counts import Counts
from effbench.analysis.curve import Curve, average_runs, curve_of, marked_references
from effbench.analysis.labels import short_label
from effbench.analysis.quality import Quality, secondary_columns
from effbench.analysis.saturation import cheaper_rival, saturation_point, tolerated_row
from effbench.analysis.words import allowance, change, quality_word, share

_COSTS = ("size_bytes", "size_ratio", "macs", "macs_effective", "params_nonzero")


def saturation_sentence(
    frame: pd.DataFrame,
    *,
    cost: str,
    quality: str | None = None,
    tolerance: float = 0.02,
    counts: Counts | None = None,
) -> str:
    """Say where compression stops being free on one cost, in one sentence.

    frame, cost, quality, tolerance, counts and the errors: as for `saturation_point` with method "tolerance".
    The plain name, "accuracy", is the validation's, on which points are chosen; quality="accuracy" is called "test
    accuracy". "Points" are percentage points. What stands after "95 %:" are the savings of 95 % of the choices on
    examples drawn anew.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"],
    ...      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> saturation_sentence(runs, cost="size_bytes")
    'size_bytes: prune=0.5 keeps accuracy within 2 points at 0.41× the bytes; 0.9 loses 6.3'
    >>> saturation_sentence(runs, cost="size_bytes", tolerance=0.001)
    'size_bytes: nothing stays within 0.1 points: already prune=0.5 loses 0.8'
    >>> saturation_sentence(runs, cost="size_bytes", tolerance=0.1)
    'size_bytes: not reached: even prune=0.9 stays within 10 points; sweep further'
    """
    curve = curve_of(frame, cost=chosen_cost(frame, cost), quality=quality)
    row, reason = tolerated_row(curve, tolerance=tolerance)
    if row is None:
        return f"{curve.cost}: {reason}"
    within = allowance(curve, tolerance)
    worse = cheaper_rival(curve, row)
    loss = change(curve, worse, beyond=tolerance, unit=False)
    reference_cost = float(curve.costs[curve.reference])
    saturation = saturation_point(frame, cost=curve.cost, quality=quality, counts=counts, tolerance=tolerance)
    firmness = _firmness(saturation.interval, reference_cost)
    if curve.costs[row] >= reference_cost:
        return f"{curve.cost}: nothing stays within {within}{firmness}: already {curve.labels[worse]} {loss}"
    saving = f" at {share(float(curve.costs[row]) / reference_cost)} {cost_words(curve.cost).share}{firmness}"
    label, rejected = curve.labels[row], short_label(curve.labels[worse], after=curve.labels[row])
    return f"{curve.cost}: {label} keeps {quality_word(curve)} within {within}{saving}; {rejected} {loss}"


def _firmness(interval: tuple[float, float] | None, reference_cost: float) -> str:
    """Write the interval of the saturation point's cost, as shares of the reference's."""
    if interval is None or reference_cost <= 0:
        return ""
    low, high = (share(cost / reference_cost) for cost in interval)
    return f" (95 %: {low})" if low == high else f" (95 %: {low} to {high})"


def detail_sentences(
    frame: pd.DataFrame, *, cost: str, quality: str | None = None, tolerance: float = 0.02
) -> list[str]:
    """Say what else, on the test split, became of the quality at the saturation point: one line, or none.

    frame, cost, quality, tolerance and the errors: as for `saturation_sentence`. In brackets: the reference's. What
    the frame does not have (of `secondary_columns`) is not mentioned. There is no line without a saturation point, or
    where it is the reference.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"], "size_bytes": [400, 164, 60],
    ...      "accuracy_val": [0.960, 0.952, 0.897], "calibration_error": [0.008, 0.012, 0.05],
    ...      "accuracy_worst_class": [0.95, 0.912, 0.7]})
    >>> detail_sentences(runs, cost="size_bytes")
    ['at prune=0.5: worst class 91.2 % (reference 95.0 %), calibration error 1.2 points (0.8)']
    """
    curve = curve_of(frame, cost=chosen_cost(frame, cost), quality=quality)
    row, _ = tolerated_row(curve, tolerance=tolerance)
    if row is None or row == curve.reference:
        return []
    details: list[str] = []
    for column, title in secondary_columns(frame, Quality.of_frame(frame)).items():
        values = parse_numbers(curve.points[column]) if column in curve.points.columns else None
        if values is None or not np.isfinite(values[[row, curve.reference]]).all():
            continue
        there, reference = _level_and_reference(column, values, row, curve)
        details.append(f"{title} {there} ({reference if details else f'reference {reference}'})")
    return [f"at {curve.labels[row]}: {', '.join(details)}"] if details else []


def _level_and_reference(column: str, values: NDArray[np.float64], row: int, curve: Curve) -> tuple[str, str]:
    """Write a secondary quality at a row and at the reference: a share in percent, an error in points."""
    pair = values[[row, curve.reference]]
    if not ((pair >= 0) & (pair <= 1)).all():
        return f"{pair[0]:.4g}", f"{pair[1]:.4g}"
    there, reference = (f"{100 * value:.1f}" for value in pair)
    return (f"{there} points", reference) if column == "calibration_error" else (f"{there} %", f"{reference} %")


def points_table(frame: pd.DataFrame, *, axes: Sequence[str]) -> pd.DataFrame:
    """Return one row per point, the reference first, then by axes: the axes, the number of seeds, the means over them.

    frame: one row per run, in any order. axes: the swept columns, in the order in which they sort. The means are those
    of the quality on the test and on the validation split, of the costs, and of what else the frame says about the
    quality (`secondary_columns`); what the frame lacks is left out. `<quality>_std` is the sample standard deviation
    over seeds, NaN where there is one. Units are in the names; shares are fractions. ValueError when an axis is not
    there or the frame mixes data sets or qualities.

    >>> runs = pd.DataFrame(
    ...     {"point": ["prune=0.5", "prune=0.5", "reference"], "prune": [0.5, 0.5, 0.0], "seed": [0, 1, 0],
    ...      "reference": [False, False, True], "accuracy": [0.93, 0.95, 0.96]})
    >>> points_table(runs, axes=["prune"])
       prune  n_seeds  accuracy  accuracy_std
    0    0.0        1      0.96           NaN
    1    0.5        2      0.94      0.014142
    """
    for axis in axes:
        if axis not in frame.columns:
            raise ValueError(f"no axis column {axis!r}; the frame has {sorted(map(str, frame.columns))}")
    averages = average_runs(frame)
    for axis in axes:
        if axis not in averages.means.columns or (
            axis in averages.deviations and (averages.deviations[axis] > 0).any()
        ):
            raise ValueError(f"{axis!r} is no axis: it differs between runs of one point")
    points = averages.means.assign(n_seeds=averages.n_runs)
    quality = Quality.of_frame(frame)
    deviation = f"{quality.name}_std"
    if quality.name in averages.deviations.columns:
        points[deviation] = averages.deviations[quality.name]
    timings = [str(name) for name in points.columns if str(name).startswith(("latency_ms", "speedup/"))]
    qualities = (quality.name, deviation, quality.column)
    order = dict.fromkeys((*axes, "n_seeds", *qualities, *_COSTS, *timings, *secondary_columns(frame, quality)))
    names = [name for name in order if name in points.columns]
    return points.iloc[_table_order(points, axes)][names].reset_index(drop=True)


def _table_order(points: pd.DataFrame, axes: Sequence[str]) -> NDArray[np.int64]:
    keys: list[NDArray[np.int64] | NDArray[np.float64]] = [(~marked_references(points)).astype(np.int64)]
    for axis in axes:
        numbers = parse_numbers(points[axis])
        keys.append(codes_of(points[axis]) if numbers is None else numbers)
    # What no axis tells apart still comes in one order, whatever that of the rows.
    keys += [codes_of(points[name]) for name in sorted(map(str, points.columns)) if name not in axes]
    return np.lexsort(keys[::-1])
