"""Nominal against real: what a point's multiply-adds promise, and how much faster engines measured it to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import point_numbers, read_runs
from effbench.analysis.curves.groups import marked_references, split_groups
from effbench.analysis.curves.jitter import SPEEDUPS
from effbench.analysis.curves.pairs import base_of, pair_with_references

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["as predicted", "partly", "none", "slower"]
SPEEDUP, LOW, HIGH = (SPEEDUPS[end] for end in ("median", "low", "high"))
RATIOS = {"macs": "macs_ratio", "macs_effective": "macs_effective_ratio", "size_bytes": "size_bytes_ratio"}
_NEAR = 0.9
"""The share of a predicted speed-up from which on it is as predicted: layers that are not multiplied take time, too."""
_SAME = 1.02
"""A ratio below which nothing is predicted, and nothing was gained."""


def verdict_of(predicted: float, low: float, speedup: float, high: float, /) -> Verdict | None:
    """Return how much of a predicted speed-up is real; None where it was not measured.

    predicted: the ratio of multiply-adds whose weights are not zero, the reference's ÷ the point's. low, high: the ends
    of the 95 % interval of the measured one. A speed-up whose interval holds 1 is none.

    >>> verdict_of(10.0, 0.99, 1.00, 1.01), verdict_of(2.0, 1.85, 1.9, 1.95), verdict_of(4.0, 1.4, 1.5, 1.6)
    ('none', 'as predicted', 'partly')
    >>> verdict_of(0.5, 0.49, 0.5, 0.51)
    'as predicted'
    >>> verdict_of(1.0, 0.99, 1.0, 1.01), verdict_of(2.0, 0.7, 0.8, 0.9), verdict_of(1.0, 2.4, 2.5, 2.6)
    ('as predicted', 'slower', 'as predicted')
    """
    if not np.isfinite([predicted, low, speedup, high]).all():
        return None
    if high < 1 and speedup < 1 / _SAME:
        return "slower" if speedup < _NEAR * min(predicted, 1) else "as predicted"
    is_predicted = predicted > _SAME
    if low <= 1 or speedup < _SAME:
        return "none" if is_predicted else "as predicted"
    return "as predicted" if max(high, speedup / _NEAR) >= predicted else "partly"


def nominal_and_real(frame: pd.DataFrame, /) -> pd.DataFrame:
    """Return a row for each point that has a reference and each engine that it was measured on.

    frame: one row per run, as `effbench.load_runs` gives it. Columns: point, engine, macs_ratio, macs_effective_ratio,
    size_bytes_ratio (the reference's ÷ the point's: above 1 is a saving), speedup with the ends of its 95 % interval,
    speedup_low and speedup_high, and the verdict (`verdict_of`). Seeds are averaged; no rows where nothing was measured
    or nothing is compared with a reference. Of several networks, data sets or tasks, points bear the group's name.
    ValueError for runs that can't be compared, as for `effbench.saturation_point`.

    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5"], "reference": [True, False], "macs": [10, 10],
    ...     "macs_effective": [10, 5], "size_bytes": [40, 25], "speedup/eager": [1.0, 1.01],
    ...     "speedup_low/eager": [1.0, 0.98], "speedup_high/eager": [1.0, 1.03]})
    >>> nominal_and_real(runs)[["point", "engine", "macs_effective_ratio", "verdict"]].values.tolist()
    [['prune=0.5', 'eager', 2.0, 'none']]
    """
    groups = split_groups(frame) if len(frame) and "point" in frame.columns else {}
    parts = []
    for name, runs in groups.items():
        rows = _in_group(runs)
        parts.append(rows.assign(point=[f"{name}: {label}" for label in rows["point"]]) if len(groups) > 1 else rows)
    parts = [rows for rows in parts if len(rows)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


_COLUMNS = ["point", "engine", *RATIOS.values(), "speedup", "speedup_low", "speedup_high", "verdict"]


def _in_group(group: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs of one network, data set and task."""
    if base_of(group) != "reference" or "point" not in group.columns:
        return pd.DataFrame(columns=_COLUMNS)
    runs = read_runs(group)
    numbers = point_numbers(runs)
    n_points = int(numbers.max()) + 1
    pairs = pair_with_references(runs, numbers)
    means = {name: pairs.means_of(runs[name], n_points) for name in RATIOS if name in runs.columns}
    labels = [str(runs["point"].iloc[int(np.argmax(numbers == number))]) for number in range(n_points)]
    is_reference = _are_references(runs, numbers, n_points)
    rows = []
    for engine in engines_of(runs):
        low, speedup, high = (pairs.means_of(runs[f"{end}{engine}"], n_points)[0] for end in (LOW, SPEEDUP, HIGH))
        for number in range(n_points):
            ratios = {
                RATIOS[name]: float(reference[number] / own[number]) if own[number] else np.nan
                for name, (own, reference) in means.items()
            }
            predicted = ratios.get("macs_effective_ratio", np.nan)
            measured = float(low[number]), float(speedup[number]), float(high[number])
            verdict = verdict_of(predicted, *measured)
            if verdict is not None and not is_reference[number]:
                ends = dict(zip(("speedup_low", "speedup", "speedup_high"), measured, strict=True))
                rows.append({"point": labels[number], "engine": engine, **ratios, **ends, "verdict": verdict})
    return pd.DataFrame(rows, columns=_COLUMNS)


def engines_of(frame: pd.DataFrame, /) -> list[str]:
    """Return the engines whose speed-ups a frame has, with their intervals, in its order."""
    names = [str(name) for name in frame.columns]
    engines = [name.removeprefix(SPEEDUP) for name in names if name.startswith(SPEEDUP)]
    return [engine for engine in engines if f"{LOW}{engine}" in names and f"{HIGH}{engine}" in names]


def speedups_without_interval(frame: pd.DataFrame, /) -> list[str]:
    """Return the engines on which points were timed beside their references but for an interval: the machine was busy.

    frame: as for `nominal_and_real`.
    """
    points = frame[~marked_references(frame)] if len(frame) else frame
    engines = [str(name).removeprefix(SPEEDUP) for name in frame.columns if str(name).startswith(SPEEDUP)]
    return [
        engine for engine in engines if points[f"{SPEEDUP}{engine}"].notna().any() and not _has_interval(points, engine)
    ]


def _has_interval(frame: pd.DataFrame, engine: str) -> bool:
    return all(f"{end}{engine}" in frame.columns and frame[f"{end}{engine}"].notna().any() for end in (LOW, HIGH))


def not_faster(rows: pd.DataFrame, /) -> list[str]:
    """Return a sentence for each engine on which points with fewer multiply-adds are not faster, naming them.

    rows: of `nominal_and_real`.
    """
    fewer = rows[(rows["macs_effective_ratio"] > _SAME) & rows["verdict"].isin(["none", "slower"])]
    return [
        f"{engine}: fewer multiply-adds, but not faster: {_named(of_engine)}"
        for engine, of_engine in fewer.groupby("engine", sort=False)
    ]


def _named(rows: pd.DataFrame) -> str:
    """Return points in a line, those that are slower marked; the first ones of many."""
    named = [
        f"{point} (slower: {speedup:.2f}×)" if verdict == "slower" else str(point)
        for point, verdict, speedup in zip(rows["point"], rows["verdict"], rows["speedup"], strict=True)
    ]
    left = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")


_MOST_NAMED = 8


def plot_nominal(frame: pd.DataFrame, /, *, ax: Axes | None = None) -> Axes:
    """Draw the measured speed-up of each point against the ratio of its multiply-adds, a colour for each engine.

    frame: as for `nominal_and_real`; bars are the intervals, those of several engines beside each other. On the dashed
    diagonal all of what is promised is real, on the grey line nothing. Both axes are logarithmic. ax: where to draw;
    None makes a pyplot figure, which is the caller's to close. ValueError where no point with a reference was measured.

    >>> from matplotlib.figure import Figure
    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5"], "reference": [True, False], "macs": [10, 10],
    ...     "macs_effective": [10, 5], "speedup/eager": [1.0, 1.01], "speedup_low/eager": [1.0, 0.98],
    ...     "speedup_high/eager": [1.0, 1.03]})
    >>> ax = plot_nominal(runs, ax=Figure().add_subplot())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['all of it real', 'eager']
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = nominal_and_real(frame)
    if not len(rows):
        rough = ", ".join(speedups_without_interval(frame))
        why = f"; those on {rough} have no interval, as the machine was busy" if rough else ""
        raise ValueError(f"no point with a reference has a measured speed-up with its interval{why}: nothing to draw")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.figure(figsize=(6.4, 4.8), layout="constrained").add_subplot()
    n_engines = rows["engine"].nunique()
    for number, (engine, own) in enumerate(rows.groupby("engine", sort=False)):
        nominal, real = (own[name].to_numpy(dtype=float) for name in ("macs_effective_ratio", "speedup"))
        beside = nominal * _STEP ** (number - (n_engines - 1) / 2)
        below, above = real - own["speedup_low"].to_numpy(float), own["speedup_high"].to_numpy(float) - real
        errors = np.clip([below, above], 0, None)
        style: dict[str, Any] = {
            "fmt": _MARKERS[number % len(_MARKERS)],
            "color": f"C{number % 10}",
            "label": str(engine),
        }
        ax.errorbar(beside, real, yerr=errors, capsize=2, markersize=5, linewidth=1, gid=f"nominal/{engine}", **style)
    ends = _ends(rows)
    ax.plot(ends, ends, "--", color="0.5", linewidth=1, label="all of it real", zorder=0)
    ax.axhline(1, color="0.8", linewidth=1, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5) if ends[1] < _DECADE else (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}×"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("nominal: times fewer multiply-adds with a weight that is not zero")
    ax.set_ylabel("measured: times faster than the reference")
    ax.legend(fontsize="small")
    return ax


_MARKERS = "os^DvPX"
_STEP = 1.012
"""From one engine to the next, for bars not to hide each other."""
_DECADE = 8


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    """Return from where to where both axes reach."""
    values = rows[["macs_effective_ratio", "speedup"]].to_numpy(dtype=float)
    return min(1.0, float(values.min())) / 1.1, max(1.0, float(values.max())) * 1.1


def _are_references(runs: pd.DataFrame, numbers: NDArray[np.int64], n_points: int) -> NDArray[np.bool_]:
    """Return which points are references or controls: they promise nothing. (n_points,)."""
    marked = np.zeros(n_points, dtype=bool)
    for flag in ("reference", "control"):
        if flag in runs.columns:
            marked[numbers[runs[flag].to_numpy(dtype=bool)]] = True
    return marked


def verdicts(frame: pd.DataFrame, /) -> pd.DataFrame:
    """Return the verdict on the point of each run: a row for each of the frame's, a column for each engine.

    Columns are called "verdict/<engine>"; "" where there is no verdict.

    >>> verdicts(pd.DataFrame({"point": ["reference"], "reference": [True]})).shape
    (1, 0)
    """
    found = pd.DataFrame(index=range(len(frame)))
    for runs in split_groups(frame.reset_index(drop=True)).values():
        for engine, own in _in_group(runs).groupby("engine", sort=False):
            name = f"verdict/{engine}"
            if name not in found.columns:
                found[name] = ""
            by_label = dict(zip(own["point"], own["verdict"], strict=True))
            found.loc[runs.index, name] = [by_label.get(str(label), "") for label in runs["point"]]
    return found.set_axis(frame.index)
