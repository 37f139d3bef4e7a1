"""From runs to operating points: the one place where seeds are averaged, and where the reference is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.columns import codes_of, finite_numbers, metric_columns, parse_numbers, read_flags, row_name
from effbench.analysis.labels import point_labels
from effbench.analysis.quality import Quality, chosen_quality

# Runs are seeds of one point when they agree in all of these. Every network and recipe has its own "reference".
POINT_KEYS = ("point", "model", "recipe", "reference")


@dataclass(frozen=True, kw_only=True, eq=False)
class Averages:
    """Operating points: runs averaged over their seeds. All three have one entry per point, in the same order."""

    means: pd.DataFrame
    """(n_points, ...). What the runs of every point share is kept, numbers that differ averaged, the rest dropped."""

    deviations: pd.DataFrame
    """(n_points, ...) sample standard deviations of the numeric columns; NaN where a point has one run."""

    n_runs: NDArray[np.int64]
    """(n_points,) runs of each point."""

    point_of_run: NDArray[np.int64]
    """(n_rows,) the point of each row of the frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Operating points on one cost and one quality, cheapest first; of equally cheap ones the best first."""

    points: pd.DataFrame
    deviations: pd.DataFrame
    n_runs: NDArray[np.int64]
    row_of_run: NDArray[np.int64]
    """(n_rows of the frame,) the row here of each run's point."""
    labels: list[str]
    cost: str
    quality: Quality | None
    """What `quality_column` holds; None where it is a column of plain numbers, of which nothing is known."""
    quality_column: str

    def __len__(self) -> int:
        return len(self.points)

    @property
    def costs(self) -> NDArray[np.float64]:
        """(n_points,) ascending."""
        return np.asarray(self.points[self.cost], dtype=np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n_points,) the quality as it was measured, for figures and tables."""
        return np.asarray(self.points[self.quality_column], dtype=np.float64)

    @property
    def qualities(self) -> NDArray[np.float64]:
        """(n_points,) higher is better: the values, or their negatives where lower ones are better."""
        return self.sign * self.values

    @property
    def sign(self) -> int:
        """By what values are multiplied so that higher is better: 1 or -1."""
        return _sign(self.quality)

    @property
    def losses(self) -> NDArray[np.float64]:
        """(n_points,) quality lost against the reference; negative where a point is better."""
        reference = float(self.qualities[self.reference])
        return reference - self.qualities

    @property
    def marked(self) -> NDArray[np.bool_]:
        """(n_points,) the points that the frame itself calls a reference."""
        return marked_references(self.points)

    @property
    def reference(self) -> int:
        """Row of the reference: the best marked one, else the most expensive point (ties: the best)."""
        assert len(self) > 0, "an empty curve has no reference"
        among = self.marked if self.marked.any() else self.costs == self.costs.max()
        return int(np.argmax(np.where(among, self.qualities, -np.inf)))

    @property
    def above_chance(self) -> float:
        """By how much the reference is better than a network that has learned nothing; NaN where that is not known."""
        chance = np.nan if self.quality is None else self.quality.chance
        return float(self.qualities[self.reference]) - self.sign * chance

    @property
    def is_fraction(self) -> bool:
        """Whether the quality is a share of one; plain numbers are where all of them may be."""
        if self.quality is not None:
            return self.quality.is_fraction
        return bool(((self.values >= 0) & (self.values <= 1)).all())


def curve_of(frame: pd.DataFrame, /, *, cost: str, quality: str | None = None) -> Curve:
    """Average the seeds of `frame` (one row per run) and order its points by cost.

    quality: a column; None takes the frame's quality on the validation split. The order, and with it everything made
    from it, does not depend on the order of the rows. ValueError when a column is missing, holds something that is not
    a finite number, or when the frame mixes data sets or qualities.
    """
    chosen, column = chosen_quality(frame, quality)
    if column == cost:
        raise ValueError(f"quality={column!r} is the cost: a quality other than the cost is needed")
    frame = frame.assign(**{name: finite_numbers(frame, name) for name in (cost, column)})
    averages = average_runs(frame)
    order = _order(averages.means, cost=cost, column=column, sign=_sign(chosen))
    points = averages.means.iloc[order].reset_index(drop=True)
    return Curve(
        points=points,
        deviations=averages.deviations.iloc[order].reset_index(drop=True),
        n_runs=averages.n_runs[order],
        row_of_run=np.argsort(order)[averages.point_of_run],
        labels=point_labels(points, cost=cost, quality=column),
        cost=cost,
        quality=chosen,
        quality_column=column,
    )


def _sign(quality: Quality | None) -> int:
    return -1 if quality is not None and quality.direction == "lower" else 1


def marked_references(points: pd.DataFrame, /) -> NDArray[np.bool_]:
    """Return which points are called a reference, by their flag or, where no flag is set, by their label."""
    if "reference" in points.columns and points["reference"].any():
        return points["reference"].to_numpy(dtype=bool)
    if "point" in points.columns:
        return (points["point"] == "reference").to_numpy(dtype=bool)
    return np.zeros(len(points), dtype=bool)


def average_runs(frame: pd.DataFrame, /) -> Averages:
    """Average over seeds: runs with the same `point` (and model and recipe); without `point` each row is its own.

    An average is NaN where one of its runs has no value. ValueError when the frame mixes data sets or qualities, a
    label is missing, or a point has two runs of one seed: they differ in something that the label does not say.
    """
    if "data" in frame.columns and frame["data"].nunique() > 1:
        raise ValueError(f"the frame mixes data sets {sorted(map(str, frame['data'].dropna().unique()))}: select one")
    Quality.of_frame(frame)  # refuses a mixture
    runs = frame.reset_index(drop=True)
    for name in metric_columns(frame):
        numbers = parse_numbers(runs[name])
        if numbers is not None and not pd.api.types.is_numeric_dtype(runs[name].dtype):
            runs[name] = numbers  # metrics that a CSV gave as text
    if "reference" in runs.columns:
        runs["reference"] = read_flags(frame, "reference")
    if "point" not in runs.columns:
        numeric = [name for name in runs.columns if parse_numbers(runs[name]) is not None]
        missing = pd.DataFrame(np.nan, index=runs.index, columns=numeric)
        alone = np.ones(len(runs), dtype=np.int64)
        return Averages(means=runs, deviations=missing, n_runs=alone, point_of_run=np.arange(len(runs)))
    return _average_groups(runs, _group_numbers(frame, runs))


def _group_numbers(frame: pd.DataFrame, runs: pd.DataFrame) -> NDArray[np.int64]:
    """(n_runs,) the number of each run's point, 0 ... n_points - 1."""
    for row in np.flatnonzero(frame["point"].isna()):
        raise ValueError(f"point is missing in {row_name(frame, int(row))}")
    keys = pd.DataFrame({name: codes_of(runs[name]) for name in POINT_KEYS if name in runs.columns})
    if "seed" in runs.columns:
        for row in np.flatnonzero((keys.assign(seed=runs["seed"]).duplicated() & runs["seed"].notna()).to_numpy()):
            point, seed = runs["point"][row], runs["seed"][row]
            raise ValueError(f"{point!r} has two runs of seed {seed}: select one sweep, or give them different labels")
    return np.asarray(keys.groupby(list(keys.columns)).ngroup(), dtype=np.int64)


def _average_groups(runs: pd.DataFrame, groups: NDArray[np.int64]) -> Averages:
    _, first, n_runs = np.unique(groups, return_index=True, return_counts=True)
    means: dict[str, pd.Series | NDArray[np.float64]] = {}
    deviations: dict[str, NDArray[np.float64]] = {}
    for name in runs.columns:
        numbers = parse_numbers(runs[name])
        if _constant_within(codes_of(runs[name]), groups):
            means[name] = runs[name].iloc[first].reset_index(drop=True)
        elif numbers is None or name == "seed":
            continue  # run names and dates have no mean; the mean of seeds would say nothing
        if numbers is not None:
            mean, deviations[name] = _mean_and_deviation(numbers, groups)
            means.setdefault(name, mean)
    return Averages(means=pd.DataFrame(means), deviations=pd.DataFrame(deviations), n_runs=n_runs, point_of_run=groups)


def _constant_within(codes: NDArray[np.int64], groups: NDArray[np.int64]) -> bool:
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return bool((codes == codes[first][inverse]).all())


def _mean_and_deviation(
    numbers: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sample deviation per group: (n_groups,) each, the same to the last bit in whatever order the rows come.

    Sums run over sorted values, from the smallest on, so that the mean of equal values is that value exactly.
    """
    if len(numbers) == 0:
        return numbers, numbers
    ordered = numbers[np.lexsort((numbers, groups))]
    _, starts, counts = np.unique(np.sort(groups), return_index=True, return_counts=True)
    lowest = ordered[starts]
    with np.errstate(invalid="ignore", over="ignore"):
        above = np.add.reduceat(ordered - np.repeat(lowest, counts), starts)
        mean = lowest + above / counts
        squares = np.add.reduceat((ordered - np.repeat(mean, counts)) ** 2, starts)
    deviation = np.full(len(counts), np.nan)
    np.divide(squares, counts - 1, out=deviation, where=counts > 1)
    return mean, np.sqrt(deviation)


def _order(points: pd.DataFrame, *, cost: str, column: str, sign: int) -> NDArray[np.int64]:
    """Rows by cost, then best quality, then the reference, then every other column: ties never fall by row order."""
    keys: list[NDArray[np.float64] | NDArray[np.int64]] = [points[cost].to_numpy(), -sign * points[column].to_numpy()]
    if "reference" in points.columns:
        keys.append((~points["reference"].to_numpy(dtype=bool)).astype(np.int64))
    keys += [codes_of(points[name]) for name in sorted(points.columns) if name not in (cost, column, "reference")]
    return np.lexsort(keys[::-1])
