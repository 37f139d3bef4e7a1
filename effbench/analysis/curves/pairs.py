"""What each point is compared with: its own reference, on the seeds that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import mean_and_deviation
from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.groups import has_axis, marked_references, reference_keys, seed_name

Base = Literal["reference", "most accurate", "most expensive", "stand-in", "missing"]
"""What points are compared with.

reference: each with its own. most accurate: where no axis was swept, all with the most accurate one. most expensive:
all with it, in a frame that says nothing of references; "stand-in" where it says that there should be one, "missing"
where each run says which one, and none of them is among the runs.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Runs and the runs that they are compared with. Points are numbered as in `points` of `pair_runs`."""

    base: Base
    runs: NDArray[np.int64]
    """(n_compared,) rows of the runs that are compared with something."""
    points: NDArray[np.int64]
    """(n_compared,) the point of each."""
    reference_runs: NDArray[np.int64]
    """(n_references,) rows of the runs that they are compared with."""
    compared_points: NDArray[np.int64]
    """(n_references,) for which point each."""
    is_paired: bool
    """Whether the runs and those that they are compared with stand at the same places of their arrays, with the same
    seeds. Runs of unknown seeds are not: averages of all are compared."""
    references: NDArray[np.int64]
    """(n_points,) the point of each point's reference; -1 where it has none."""

    def numbered_by(self, numbers: NDArray[np.int64], /) -> Pairs:
        """Return the pairs with point numbers[i] as point i; `numbers` has all that are compared."""
        new = np.full(len(self.references), -1, dtype=np.int64)
        new[numbers] = np.arange(len(numbers))
        return replace(
            self,
            points=new[self.points],
            compared_points=new[self.compared_points],
            references=new[self.references[numbers]],
        )

    def means_of(self, column: pd.Series, n_points: int, /) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a column's mean over the runs of each point, and over those that they are compared with: (n_points,).

        NaN where a point has no such run, or where one of them has no value.
        """
        numbers = parse_numbers(column)
        assert numbers is not None, f"{column.name} holds numbers"
        return (
            _means(numbers[self.runs], self.points, n_points),
            _means(numbers[self.reference_runs], self.compared_points, n_points),
        )


def pair_runs(runs: pd.DataFrame, points: NDArray[np.int64], /, *, cost: str, values: NDArray[np.float64]) -> Pairs:
    """Find what each run is compared with: `pair_with_references`, or with one point where there are none.

    runs: of one group (`select_group`), from `read_runs`; points: (n_runs,) from `point_numbers`. cost, and values
    (n_runs,), which are higher when better, decide which point the others are compared with where none is marked.
    """
    base = base_of(runs)
    if base == "reference":
        return pair_with_references(runs, points)
    seeds = _seeds(runs)
    chosen = _chosen_point(runs, points, base, cost=cost, values=values, seeds=seeds)
    return _by_seed(base, points, np.full(_n_points(points), chosen, dtype=np.int64), seeds)


def pair_with_references(runs: pd.DataFrame, points: NDArray[np.int64], /) -> Pairs:
    """Pair each run with that of its reference: the one that its `reference_key` names.

    In a frame without these it is the run of its seed of the point that is marked. Runs whose reference is not there
    are not compared. ValueError where several are marked and no `reference_key` says which is whose.
    """
    keys = reference_keys(runs)
    if keys is None:
        return _by_seed("reference", points, _marked_reference_of(runs, points), _seeds(runs))
    row_of = {str(key): row for row, key in enumerate(runs["run_key"])}
    partners = np.array([-1 if key is None else row_of.get(key, -1) for key in keys], dtype=np.int64)
    references = np.unique(partners[partners >= 0])
    partners[references] = references  # whatever another sweep compared them with
    return _paired("reference", points, partners)


def base_of(runs: pd.DataFrame, /) -> Base:
    """Return what the points of a group are compared with."""
    if not has_axis(runs):
        return "most accurate"
    if marked_references(runs).any():
        return "reference"
    if reference_keys(runs) is not None:
        return "missing"
    return "stand-in" if "reference" in runs.columns else "most expensive"


def asked_seeds(
    runs: pd.DataFrame, points: NDArray[np.int64], pairs: Pairs, failed: Mapping[str, frozenset[str]], /
) -> NDArray[np.int64]:
    """Return with how many seeds each point was asked for: (n_points,).

    These are its own, those of its failed runs, and those of its reference and of this one's failed runs. Where seeds
    are not known, they are the runs that are compared.
    """
    n_points = _n_points(points)
    seeds = _seeds(runs)
    if seeds is None:
        return np.bincount(pairs.points, minlength=n_points)
    labels = runs["point"].astype(str) if "point" in runs.columns else None
    asked: list[set[str]] = [set() for _ in range(n_points)]
    for row, (point, seed) in enumerate(zip(points, seeds, strict=True)):
        asked[point] |= {seed} | (set() if labels is None else failed.get(labels[row], frozenset()))
    return np.array(
        [len(own | (asked[at] if at >= 0 else set())) for own, at in zip(asked, pairs.references, strict=True)],
        dtype=np.int64,
    )


def _by_seed(
    base: Base, points: NDArray[np.int64], references: NDArray[np.int64], seeds: NDArray[np.str_] | None
) -> Pairs:
    """Pair the runs of each point with those of their seeds of its reference: references (n_points,), -1 for none."""
    if seeds is None:
        at, rows = np.nonzero(references[:, None] == points[None, :])
        compared = references[points] >= 0
        return Pairs(
            base=base,
            runs=np.flatnonzero(compared),
            points=points[compared],
            reference_runs=rows,
            compared_points=at,
            is_paired=False,
            references=references,
        )
    row_at = {(int(point), seed): row for row, (point, seed) in enumerate(zip(points, seeds, strict=True))}
    wanted = zip(references[points], seeds, strict=True)
    return _paired(base, points, np.array([row_at.get((int(p), s), -1) for p, s in wanted], dtype=np.int64))


def _paired(base: Base, points: NDArray[np.int64], partners: NDArray[np.int64]) -> Pairs:
    compared = np.flatnonzero(partners >= 0)
    references = np.full(_n_points(points), -1, dtype=np.int64)
    references[points[compared]] = points[partners[compared]]
    for row in compared[references[points[compared]] != points[partners[compared]]]:
        raise ValueError(f"run {row}: its reference is another point than that of its point's other seeds")
    return Pairs(
        base=base,
        runs=compared,
        points=points[compared],
        reference_runs=partners[compared],
        compared_points=points[compared],
        is_paired=True,
        references=references,
    )


def _marked_reference_of(runs: pd.DataFrame, points: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the marked point of each point: the only one, or the only one of its recipe: (n_points,)."""
    marked = marked_references(runs)
    recipes = runs["recipe"].astype(str).to_numpy() if "recipe" in runs.columns else np.full(len(runs), "")
    references = np.full(_n_points(points), -1, dtype=np.int64)
    everywhere = np.unique(points[marked])
    for recipe in np.unique(recipes):
        of_recipe = np.unique(points[marked & (recipes == recipe)])
        among = everywhere if len(everywhere) == 1 else of_recipe
        if len(among) > 1:
            raise ValueError(
                f"{len(among)} points are marked as the reference, and there is no reference_key that says which one "
                "is whose: select the runs of one"
            )
        references[points[recipes == recipe]] = among[0] if len(among) else -1
    return references


def _chosen_point(
    runs: pd.DataFrame,
    points: NDArray[np.int64],
    base: Base,
    *,
    cost: str,
    values: NDArray[np.float64],
    seeds: NDArray[np.str_] | None,
) -> int:
    """Return the most accurate point (of equal ones the cheapest), or the most expensive one (the most accurate).

    Their averages are over the seeds that all points have, where there are any: a seed that failed favours no point.
    """
    if len(runs) == 0:
        return -1
    rows = np.arange(len(runs))
    if seeds is not None:
        names, numbers = np.unique(seeds, return_inverse=True)
        has = np.zeros((_n_points(points), len(names)), dtype=np.int64)
        has[points, numbers] = 1
        is_common = has.min(axis=0) == 1
        if is_common.any():
            rows = np.flatnonzero(is_common[numbers])
    costs = _means(runs[cost].to_numpy(dtype=np.float64)[rows], points[rows], _n_points(points))
    qualities = _means(values[rows], points[rows], _n_points(points))
    keys = (costs, -qualities) if base == "most accurate" else (-qualities, -costs)
    return int(np.lexsort(keys)[0])


def _seeds(runs: pd.DataFrame) -> NDArray[np.str_] | None:
    """Return each run's seed as text; None where one is not known, or where each row is a point."""
    if "seed" not in runs.columns or "point" not in runs.columns or runs["seed"].isna().any():
        return None
    return np.array([seed_name(seed) for seed in runs["seed"]], dtype=np.str_)


def _means(numbers: NDArray[np.float64], groups: NDArray[np.int64], n_groups: int) -> NDArray[np.float64]:
    """Return the mean of each group, NaN where it is empty: (n_groups,)."""
    means = np.full(n_groups, np.nan)
    means[np.unique(groups)] = mean_and_deviation(numbers, groups)[0]
    return means


def _n_points(points: NDArray[np.int64]) -> int:
    return int(points.max()) + 1 if len(points) else 0
