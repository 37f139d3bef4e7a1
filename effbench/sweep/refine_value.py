"""The next value of one axis that a sweep tries: by the command's own definition of the saturation point.

Where the definition judges each point for itself (the tolerances), that is between the last acceptable value and the
first that is not; where it compares points with each other, beside the one that it chooses now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis import Counts
from effbench.analysis.acceptable import acceptable_runs
from effbench.analysis.beside import runs_beside
from effbench.analysis.curves.costs import counted_costs_that_vary
from effbench.analysis.definitions.methods import Method, answerable_costs, method_of, options_on
from effbench.analysis.definitions.tolerance import Tolerance
from effbench.plan.beside import value_beside
from effbench.plan.bisection import next_value
from effbench.plan.point import Point
from effbench.plan.refinement import AxisCurve
from effbench.plan.sweep import Sweep
from effbench.sweep.report_words import as_failed, without_numbers

NOTHING_LEFT, NOTHING_FINISHED = "there is nothing left to split", "no run of it is finished"
CountsByRun = Mapping[str, NDArray[np.int64]]
"""What each validation example adds to the quality of runs, by their keys."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What was tried of an axis."""

    curve: AxisCurve
    points: Mapping[float, Sequence[Point]]
    """Those of each value, with every seed."""
    refused: Collection[float]
    """Values without a point, or without a result that says anything: they bound the search as unacceptable ones do."""

    def keys(self, known: Collection[str], /) -> dict[float, list[str]]:
        """Return the keys of the known runs of each value that has any."""
        keys = {value: [point.key for point in own if point.key in known] for value, own in self.points.items()}
        return {value: own for value, own in keys.items() if own}


def value_to_try(tried: Tried, frame: pd.DataFrame, counts: CountsByRun, sweep: Sweep, /) -> tuple[float | None, str]:
    """Return the next value of an axis; or None, and why.

    frame: the finished runs of what was tried and of its references; `counts` has theirs. Runs whose quality came to no
    finite number count as failed; a value that has no other ones bounds the search.
    """
    wrong = without_numbers(frame)
    diverged = set() if not len(frame) else set(tried.keys(set(frame["run_key"][wrong])))
    frame = as_failed(frame, wrong)
    costs, settings = counted_costs_that_vary(frame), sweep.saturation
    if not costs:
        return None, "no cost but latency varies"
    tried = replace(tried, refused={*tried.refused, *(diverged - set(tried.keys(set(frame["run_key"]))))})
    try:
        cost = answerable_costs(costs, settings.method, settings.options)[0]
        rule = method_of(settings.method, options_on(cost, settings.method, settings.options, sweep.tolerance))
        if isinstance(rule, Tolerance):
            return _by_verdicts(tried, frame, rule, cost, _counts(frame, counts))
        return _beside(tried, frame, rule, cost)
    except ValueError as error:  # what was computed is not lost by it: the answer says the same
        return None, str(error)


def _by_verdicts(
    tried: Tried, frame: pd.DataFrame, rule: Tolerance, cost: str, counts: Counts | None
) -> tuple[float | None, str]:
    """Return the value between the last acceptable one and the first that is not."""
    acceptable, why = acceptable_runs(frame, rule, cost=cost, counts=counts)
    if why:
        return None, why
    known = {value: acceptable[keys[0]] for value, keys in tried.keys(acceptable).items()}
    scale = tried.curve.scale
    value = next_value(scale, {**known, **dict.fromkeys(tried.refused, False)}, taken=tried.points)
    if value is not None:
        return value, ""
    if known and scale.weakest is None and not any(known.values()):
        return None, "none is acceptable, and where it begins to compress is not known"
    return None, NOTHING_LEFT if known else NOTHING_FINISHED


def _beside(tried: Tried, frame: pd.DataFrame, rule: Method, cost: str) -> tuple[float | None, str]:
    """Return the value beside that of the point which a definition chooses now."""
    beside, why = runs_beside(frame, rule, cost=cost)
    if beside is None:
        return None, why
    scale = tried.curve.scale
    found = tried.keys(beside.costs)
    if not found:
        return None, NOTHING_FINISHED
    if scale.weakest is not None:
        placed = replace(tried, points={scale.weakest: tried.curve.references})
        found = {**placed.keys(beside.costs), **found}
    best = [value for value, keys in found.items() if beside.keys.intersection(keys)]
    costs = {value: beside.costs[keys[0]] for value, keys in found.items()}
    value = value_beside(scale, costs, best, taken={*tried.points, *tried.refused})
    return value, "" if value is not None else NOTHING_LEFT


def _counts(frame: pd.DataFrame, counts: CountsByRun) -> Counts | None:
    """Return the counts of the runs of a frame; None where one has none."""
    keys = [str(key) for key in frame["run_key"]]
    if not all(key in counts for key in keys):
        return None
    return Counts(kind=frame["quality_kind"].iloc[0], by_run={key: counts[key] for key in keys})
