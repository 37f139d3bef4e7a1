"""Which points keep their quality, each for itself: what refining a sweep by a tolerance asks."""

from __future__ import annotations

import pandas as pd

from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.choice import slack
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound, upper_bounds
from effbench.analysis.uncertainty.bootstrap import resampled_losses


def acceptable_runs(
    frame: pd.DataFrame, rule: Tolerance, /, *, cost: str, counts: Counts | None = None
) -> tuple[dict[str, bool], str]:
    """Return by run key whether each run's point is within the tolerance of its reference; or nothing, and why.

    frame: as for `saturation_point`, of one group, with a `run_key`. What is compared is validation, by means over the
    seeds of point and reference. counts: of the examples; by a `ToleranceBound` it is to be sure that a point is
    acceptable, as far as they allow to say. A point whose rounds ended before what was asked is not acceptable: it is
    not what was asked for. There is no answer where the rule has none. ValueError for a bound without counts.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"], "run_key": ["a", "b", "c"],
    ...      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> acceptable_runs(runs, Tolerance(tolerance=0.02), cost="size_bytes")
    ({'a': True, 'b': True, 'c': False}, '')
    """
    curve = curve_of(frame, cost=cost)
    choice = Tolerance(tolerance=rule.tolerance).choose(curve)
    if choice.outcome == "none":
        return {}, choice.problem
    losses = curve.losses
    if isinstance(rule, ToleranceBound):
        if counts is None:
            raise ValueError("method 'tolerance_bound' needs the counts of the examples")
        losses = upper_bounds(resampled_losses(curve, counts))
    acceptable = (losses <= rule.tolerance + slack(curve)) & ~curve.ended_early
    keys = curve.runs["run_key"].astype(str).to_numpy()
    return {keys[run]: bool(acceptable[row]) for run, row in zip(curve.pairs.runs, curve.pairs.points, strict=True)}, ""
