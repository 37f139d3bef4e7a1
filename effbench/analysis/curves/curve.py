"""Operating points on one cost and one quality, each beside its own reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import average_groups, point_numbers, read_runs
from effbench.analysis.curves.columns import codes_of, finite_numbers
from effbench.analysis.curves.groups import failed_seeds
from effbench.analysis.curves.labels import has_parts, point_labels, shared_groups, without_parts, without_reference
from effbench.analysis.curves.pairs import Base, Pairs, asked_seeds, pair_runs
from effbench.analysis.curves.quality import Quality, chosen_quality
from effbench.analysis.curves.reached import ended_early, with_reached, without_repeats


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Operating points on one cost and one quality, cheapest first; of equally cheap ones the best first."""

    points: pd.DataFrame
    """(n_points, ...) means over the seeds that a point and its reference both have. The cost and the quality of a
    point that lacks seeds of its reference are those of the reference on all its seeds, moved as far as the point is
    from the reference on the seeds that both have: so no point gains by a seed that failed."""
    deviations: pd.DataFrame
    labels: list[str]
    n_seeds: NDArray[np.int64]
    """(n_points,) the seeds on which each point is compared with its reference."""
    n_asked: NDArray[np.int64]
    """(n_points,) the seeds that were asked for."""
    ended_early: NDArray[np.bool_]
    """(n_points,) whether rounds ended before a point came to what was asked."""
    references: NDArray[np.int64]
    """(n_points,) the row here of each point's reference."""
    base: Base
    runs: pd.DataFrame
    pairs: Pairs
    """Which of the runs are compared with which."""
    failed: tuple[str, ...]
    """Labels of the points that have no finished run."""
    not_compared: tuple[str, ...]
    """Labels of the points that have no seed in common with their reference; they are not on the curve."""
    cost: str
    quality: Quality | None
    """What `quality_column` holds; None where it is a column of plain numbers, of which nothing is known."""
    quality_column: str

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """(n_points,) ascending."""
        return np.asarray(self.points[self.cost], dtype=np.float64)

    @cached_property
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

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """(n_points,) quality lost against the own reference, on the seeds of both; negative where a point is better.

        This is never the difference of averages over different seeds.
        """
        return self.losses_of(self.quality_column)

    def losses_of(self, column: str, /) -> NDArray[np.float64]:
        """Return the losses of another column of the same quality, such as that of the test split: (n_points,).

        NaN where it was not measured.
        """
        own, reference = self.means_of(column)
        return self.sign * (reference - own)

    def means_of(self, column: str, /) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a column's mean over each point's seeds, and over the same seeds of its reference: (n_points,)."""
        return self.pairs.means_of(self.runs[column], len(self))

    @property
    def test_column(self) -> str | None:
        """The column of the same quality on the test split; None where the curve is not of validation, or has none."""
        if self.quality is None or self.quality_column != self.quality.column:
            return None
        return self.quality.name if self.quality.name in self.runs.columns else None

    @cached_property
    def ratios(self) -> NDArray[np.float64]:
        """(n_points,) cost as a share of the own reference's, on the seeds of both; NaN where that is not positive."""
        own, reference = self.means_of(self.cost)
        ratios: NDArray[np.float64] = np.full(len(self), np.nan)
        np.divide(own, reference, out=ratios, where=reference > 0)
        return ratios

    @cached_property
    def reference(self) -> int:
        """Row of the reference; of several the best (of equal ones the cheapest)."""
        assert len(self) > 0, "an empty curve has no reference"
        among = np.isin(np.arange(len(self)), self.references)
        return int(np.argmax(np.where(among, self.qualities, -np.inf)))

    @property
    def has_several_references(self) -> bool:
        """Whether points have different references."""
        return len(np.unique(self.references)) > 1

    @property
    def above_chance(self) -> NDArray[np.float64]:
        """(n_points,) how much better each reference is than a network that learned nothing; NaN where not known."""
        chance = np.nan if self.quality is None else self.quality.chance
        return self.qualities[self.references] - self.sign * chance

    @property
    def is_fraction(self) -> bool:
        """Whether the quality is a share of one; plain numbers are where all of them may be."""
        if self.quality is not None:
            return self.quality.is_fraction
        return bool(((self.values >= 0) & (self.values <= 1)).all())


def curve_of(frame: pd.DataFrame, /, *, cost: str, quality: str | None = None) -> Curve:
    """Compare the points of `frame` (one row per run, of one group) with their references and order them by cost.

    quality: a column; None takes the frame's quality on the validation split. Named controls (`control`) are left out;
    points that came equally far are one. The order, and with it everything made from it, does not depend on the order
    of the rows. ValueError when a column is missing, holds something that is not a finite number, or when the frame
    mixes qualities.
    """
    chosen, column = chosen_quality(frame, quality)
    if column == cost:
        raise ValueError(f"quality={column!r} is the cost: a quality other than the cost is needed")
    runs = read_runs(frame.assign(**{name: finite_numbers(frame, name) for name in (cost, column)}))
    if "control" in runs.columns:
        runs = runs[~runs["control"].to_numpy(dtype=bool)].reset_index(drop=True)
    runs = runs[without_repeats(runs, point_numbers(runs))].reset_index(drop=True)
    numbers = point_numbers(runs)
    values = _sign(chosen) * runs[column].to_numpy(dtype=np.float64)
    pairs = pair_runs(runs, numbers, cost=cost, values=values)
    failed = failed_seeds(frame)
    asked = asked_seeds(runs, numbers, pairs, failed)
    known, compact = np.unique(pairs.points, return_inverse=True)
    averages = average_groups(runs.iloc[pairs.runs].reset_index(drop=True), compact)
    means = _on_all_seeds(averages.means, runs, pairs.numbered_by(known), cost=cost, column=column)
    order = _order(means, cost=cost, column=column, sign=_sign(chosen))
    points = means.iloc[order].reset_index(drop=True)
    pairs = pairs.numbered_by(known[order])
    early = np.isin(np.arange(len(points)), pairs.points[ended_early(runs)[pairs.runs]])
    shared = shared_groups([str(label) for label in runs["point"]]) if "point" in runs.columns else []
    failed_here = [label for label in _without_runs(failed, frame) if has_parts(label, shared)]
    labels = _labels(points, runs, pairs, early, excluded=(cost, column))
    return Curve(
        points=points,
        deviations=averages.deviations.iloc[order].reset_index(drop=True),
        labels=[without_parts(label, shared) for label in labels],
        n_seeds=averages.n_runs[order],
        n_asked=asked[known[order]],
        ended_early=early,
        references=pairs.references,
        base=pairs.base,
        runs=runs,
        pairs=pairs,
        failed=_named_as(failed_here, shared, pairs.base),
        not_compared=_named_as(_not_compared(runs, numbers, known), shared, pairs.base),
        cost=cost,
        quality=chosen,
        quality_column=column,
    )


def control_curve(frame: pd.DataFrame, /, *, cost: str, quality: str | None = None) -> Curve | None:
    """Return the named controls of a frame beside their references, as points; None where there is no control."""
    if "control" not in frame.columns:
        return None
    runs = read_runs(frame)
    controls, is_reference = runs["control"].to_numpy(dtype=bool), np.zeros(len(runs), dtype=bool)
    if "reference" in runs.columns:
        is_reference = runs["reference"].to_numpy(dtype=bool)
    if not controls.any() or not is_reference.any():
        return None
    part = frame[controls | is_reference].drop(columns="control")
    part.attrs["failed"] = [{**run, "control": False} for run in frame.attrs.get("failed", ()) if run.get("control")]
    return curve_of(part, cost=cost, quality=quality)


def _sign(quality: Quality | None) -> int:
    return -1 if quality is not None and quality.direction == "lower" else 1


def _on_all_seeds(means: pd.DataFrame, runs: pd.DataFrame, pairs: Pairs, *, cost: str, column: str) -> pd.DataFrame:
    """Return the means, with the cost and the quality that points would have had on all seeds of their reference."""
    n_points = len(means)
    n_common = np.bincount(pairs.points, minlength=n_points)
    lacking = pairs.is_paired & (n_common < n_common[pairs.references])
    if not lacking.any():
        return means
    for name in (cost, column):
        own, common = pairs.means_of(runs[name], n_points)
        everywhere = own[pairs.references]
        is_ratio = (common > 0) & (name == cost)
        moved = np.where(is_ratio, everywhere * own / np.where(is_ratio, common, 1), everywhere - (common - own))
        means = means.assign(**{name: np.where(lacking, moved, means[name].to_numpy(dtype=np.float64))})
    return means


def _labels(
    points: pd.DataFrame, runs: pd.DataFrame, pairs: Pairs, early: NDArray[np.bool_], *, excluded: tuple[str, str]
) -> list[str]:
    """Return the labels of points, with how far rounds came that ended early."""
    labels = point_labels(points, cost=excluded[0], quality=excluded[1])
    if pairs.base == "most accurate":
        labels = [without_reference(label) for label in labels]
    for row in np.flatnonzero(early):
        labels[row] = with_reached(labels[row], runs.iloc[pairs.runs[pairs.points == row]])
    return labels


def _named_as(labels: Sequence[str], shared: Sequence[str], base: Base) -> tuple[str, ...]:
    """Return labels without what all of their group share, and where nothing has a reference, without that word."""
    named = [without_reference(label) if base == "most accurate" else label for label in labels]
    return tuple(without_parts(label, shared) for label in named)


def _without_runs(failed: Mapping[str, frozenset[str]], frame: pd.DataFrame) -> list[str]:
    """Return the labels of failed points that have no finished run."""
    finished = {str(label) for label in frame["point"]} if "point" in frame.columns else set(failed)
    return [label for label in failed if label not in finished]


def _not_compared(runs: pd.DataFrame, numbers: NDArray[np.int64], known: NDArray[np.int64]) -> list[str]:
    names = runs["point"] if "point" in runs.columns else runs.index
    return sorted({str(name) for name in names[~np.isin(numbers, known)]})


def _order(points: pd.DataFrame, *, cost: str, column: str, sign: int) -> NDArray[np.int64]:
    """Rows by cost, then best quality, then the reference, then every other column: ties never fall by row order."""
    keys: list[NDArray[np.float64] | NDArray[np.int64]] = [points[cost].to_numpy(), -sign * points[column].to_numpy()]
    if "reference" in points.columns:
        keys.append((~points["reference"].to_numpy(dtype=bool)).astype(np.int64))
    keys += [codes_of(points[name]) for name in sorted(points.columns) if name not in (cost, column, "reference")]
    return np.lexsort(keys[::-1])
