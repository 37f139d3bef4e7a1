"""Which points keep their quality, each for itself: what refining a sweep asks."""

from __future__ import annotations

import pandas as pd

from effbench.analysis.curves.costs import costs_that_vary
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.jitter import LATENCY
from effbench.analysis.definitions.choice import slack
from effbench.analysis.definitions.tolerance import DEFAULT_TOLERANCE, Tolerance


def acceptable_runs(frame: pd.DataFrame, /, *, tolerance: float = DEFAULT_TOLERANCE) -> tuple[dict[str, bool], str]:
    """Return by run key whether each run's point is within the tolerance of its reference; or nothing, and why.

    frame: as for `saturation_point`, of one group, with a `run_key`. What is compared is validation, by means over the
    seeds of point and reference. A point whose rounds ended before what was asked is not acceptable: it is not what was
    asked for. There is no answer where nothing but latency varies, and where method "tolerance" has none.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"], "run_key": ["a", "b", "c"],
    ...      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> acceptable_runs(runs)
    ({'a': True, 'b': True, 'c': False}, '')
    """
    costs = [cost for cost in costs_that_vary(frame) if not cost.startswith(LATENCY)] if len(frame) else []
    if not costs:
        return {}, "no cost but latency varies"
    curve = curve_of(frame, cost=costs[0])
    choice = Tolerance(tolerance=tolerance).choose(curve)
    if choice.outcome == "none":
        return {}, choice.problem
    acceptable = (curve.losses <= tolerance + slack(curve)) & ~curve.ended_early
    keys = curve.runs["run_key"].astype(str).to_numpy()
    return {keys[run]: bool(acceptable[row]) for run, row in zip(curve.pairs.runs, curve.pairs.points, strict=True)}, ""
