"""Beside which points a definition's own lies: what refining asks of one that compares points with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.reached import ended_early
from effbench.analysis.definitions.choice import problem_of
from effbench.analysis.definitions.knee import Kneedle
from effbench.analysis.definitions.methods import Method


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The runs beside whose points another point may be the better choice."""

    keys: frozenset[str]
    """Of the runs of the chosen point, or of the front's where no point is chosen yet."""
    costs: Mapping[str, float]
    """By run key, what each run's point costs."""


def runs_beside(frame: pd.DataFrame, rule: Method, /, *, cost: str) -> tuple[Beside | None, str]:
    """Return beside which runs' points a definition's own lies; or None, and why.

    frame: as for `saturation_point`, of one group, with a `run_key`. That is the point which the definition chooses by
    what points lose: noise does not hide it, as it may in the answer, where more points tell whether it stands out. A
    front on which there is no knee yet is looked at in whole. A point whose rounds ended before what was asked is left
    out: it is not what was asked for.

    >>> from effbench.analysis.definitions.exchange import Marginal
    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"], "run_key": ["a", "b", "c"],
    ...      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> runs_beside(runs, Marginal(rate=2), cost="size_bytes")[0].keys
    frozenset({'b'})
    """
    curve = curve_of(frame[~ended_early(frame)], cost=cost)
    problem = problem_of(curve, 0)
    choice = rule.choose(curve)
    if choice.row is not None:
        rows = np.array([choice.row])
    elif isinstance(rule, Kneedle) and not problem:
        rows = front_rows(curve)
    else:
        return None, problem or choice.problem
    points = dict(zip(curve.runs["run_key"].astype(str).iloc[curve.pairs.runs], curve.pairs.points, strict=True))
    return Beside(
        keys=frozenset(key for key, point in points.items() if point in rows),
        costs={key: float(curve.costs[point]) for key, point in points.items()},
    ), ""
