"""The address of the page that shows a sweep's runs side by side, by what was swept and what it came to."""

from __future__ import annotations

import pandas as pd

from effbench.analysis import Quality, varying_costs
from effbench.plan.sweep import Sweep
from effbench.tracking.location import page_address
from effbench.tracking.tracker import Tracker, TrackingError

ALWAYS = ("size_bytes", "size_ratio")
"""Costs that are shown of every sweep, whether they vary or not."""
TELLING = ("model", "data", "seed")
"""Columns that are shown where the runs differ in them."""


def page_of(sweep: Sweep, frame: pd.DataFrame, tracker: Tracker, /) -> str | None:
    """Return the address of the page; None where there is nothing to show, or the tracker does not say.

    frame: a row a run. The costs are those that vary; the first one orders the runs.
    """
    if not len(frame):
        return None
    swept = dict.fromkeys(key for point in sweep.plan.points for key in point.swept)
    params = [*sweep.plan.axes, *swept, *(name for name in TELLING if frame[name].nunique() > 1)]
    quality = Quality.of_frame(frame).name
    costs = _costs(frame)
    shown = [name for name in dict.fromkeys([f"{quality}_val", quality, *costs, *ALWAYS]) if name in frame.columns]
    order, with_models = [*costs, *ALWAYS][0], sweep.tracking.log_model
    try:
        path = tracker.share_view(list(dict.fromkeys(params)), shown, order=order, with_models=with_models)
    except TrackingError:  # which is told when the sweep's end can't be logged
        return None
    return page_address(sweep.tracking.uri, path)


def _costs(frame: pd.DataFrame) -> list[str]:
    try:
        return varying_costs(frame)
    except ValueError:  # none varies
        return []
