"""The figure: quality against cost, the series, the saturation point and the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import control_curve
from effbench.analysis.curves.groups import select_group
from effbench.analysis.definitions.phrases import cheapest_is_acceptable_in_short
from effbench.analysis.definitions.tolerance import Tolerance
from effbench.analysis.figures.captions import write_labels, write_title
from effbench.analysis.figures.figure_axes import write_axes
from effbench.analysis.figures.legend import Entry
from effbench.analysis.figures.marks import draw_chosen, draw_controls, draw_deviations, draw_points, draw_tolerance
from effbench.analysis.figures.overlay import plot_several
from effbench.analysis.saturation import Found, answer_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_saturation(
    frame: pd.DataFrame | Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    cost: str | None = None,
    quality: str | None = None,
    ax: Axes | None = None,
    method: str = "tolerance",
    legend: bool = True,
    counts: Counts | None = None,
    test_counts: Counts | None = None,
    model: str | None = None,
    **options: Any,
) -> Axes:
    """Draw quality against cost, with the front, the saturation point and the reference.

    Seeds are averaged; small dots are the single ones, error bars their sample standard deviation, in both directions.
    A point that lacks seeds of its reference says so, and stands where it stands against the reference on the seeds of
    both. Named controls are drawn apart from the points. Without a reference, all are beside the most accurate point.
    A line joins points that differ in one number alone: in a grid there is one for each combination of the other axes,
    and none joins categories or networks. Filled points are on the front. With many points only the reference, some of
    the front and the saturation point are named. The legend stands where it covers nothing; where there is no such
    place, the axes are made to reach farther down. The cost's axis is logarithmic where the points span more than a
    decade, that of a quality which is an exponential (perplexity) where they differ more than fourfold; 1 KB is 1000
    bytes. Where lower values are better, the best points are at the bottom.

    Several sweeps are drawn over each other, each in a colour of its own: its front, its reference and its saturation
    point, on a cost that varies in all of them.

    Parameters
    ----------
    frame
        As for `saturation_point`; or several such frames, or results of `effbench.run_sweep`.
    labels
        What the legend calls each of several.
    cost, quality, method, counts, test_counts, model, **options
        As for `saturation_point`; counts are for a single frame.
    legend
        Whether to write one; panels beside each other need it once.
    ax
        Where to draw. None makes a pyplot figure, which is the caller's to close; axes of a
        `matplotlib.figure.Figure()` leave nothing open.

    Returns
    -------
    matplotlib.axes.Axes
        Its artists have the gids points, front (the line of each series), saturation, reference, tolerance and, where
        there are several seeds, seeds and deviations, where there are controls, control, where the counts of the
        examples are given, interval and interval_band.

    Raises
    ------
    ValueError
        As for `saturation_point`, when a frame has no rows, and when several have not one quality, or not a label each.

    Examples
    --------
    >>> import effbench
    >>> from matplotlib.figure import Figure
    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5", "prune=0.9"],
    ...                      "size_bytes": [400, 164, 60], "accuracy_val": [0.960, 0.952, 0.897]})
    >>> ax = effbench.plot_saturation(runs, ax=Figure().add_subplot())
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('file size (bytes)', 'validation accuracy (%)')
    >>> both = effbench.plot_saturation([runs, runs[:2]], labels=["long", "short"], ax=Figure().add_subplot())
    >>> [text.get_text() for text in both.get_legend().get_texts()][:2]
    ['long', 'short']
    """
    if not isinstance(frame, pd.DataFrame):
        return plot_several(
            frame,
            labels,
            _new_axes if ax is None else lambda: ax,
            cost=cost,
            quality=quality,
            method=method,
            legend=legend,
            model=model,
            **options,
        )
    if labels is not None:
        raise ValueError(f"labels={labels}: are for several frames, as in plot_saturation([a, b], labels=…)")
    runs = select_group(frame, model=model)
    found = answer_of(
        runs,
        cost=cost,
        quality=quality,
        method=method,
        counts=counts,
        test_counts=test_counts,
        **options,
    )
    curve, saturation = found.curve, found.saturation
    if len(curve) == 0:
        raise ValueError("the frame has no rows: there is nothing to draw")
    axes = _new_axes() if ax is None else ax
    entries = draw_panel(axes, runs, found)
    if ax is None:
        axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # final before text is placed
    write_labels(
        axes,
        curve,
        saturation,
        control_curve(runs, cost=curve.cost, quality=quality),
        legend=entries if legend else (),
    )
    return axes


def draw_panel(ax: Axes, runs: pd.DataFrame, found: Found, /, *, names: Sequence[str] = ()) -> list[Entry]:
    """Draw all but names and legend of one curve. Returns what the legend says.

    names: of the series of all panels. Where there is no saturation point, or where it is the reference, the title says
    why.
    """
    curve, saturation, method = found.curve, found.saturation, found.method
    chosen = saturation.row
    entries = draw_points(ax, curve, names)
    entries += draw_controls(ax, control_curve(runs, cost=curve.cost, quality=curve.quality_column))
    if chosen is not None:
        entries += draw_chosen(ax, curve, chosen, saturation.interval)
    if isinstance(method, Tolerance):
        entries += draw_tolerance(ax, curve, method.tolerance)
    entries += draw_deviations(ax, curve)
    write_axes(ax, [curve])
    if chosen is None or chosen in curve.references:
        write_title(ax, title_of(found))
    return entries


def title_of(found: Found, /) -> str:
    """Return why there is no saturation point, or why it is the reference."""
    choice, method = found.choice, found.method
    if isinstance(method, Tolerance) and choice.outcome == "not reached" and choice.row is not None:
        return cheapest_is_acceptable_in_short(found.curve, choice.row, method.tolerance)
    return found.saturation.reason


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    return ax
