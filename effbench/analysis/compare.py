"""Two sweeps beside each other: what each point has gained or lost, on the same seeds and examples."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.averages import point_numbers, read_runs
from effbench.analysis.curves.columns import finite_numbers, parse_numbers
from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.groups import seed_name, select_group
from effbench.analysis.curves.jitter import LATENCY
from effbench.analysis.curves.labels import label_axes, shared_groups, without_parts
from effbench.analysis.curves.quality import chosen_quality
from effbench.analysis.uncertainty.bootstrap import resampled_qualities
from effbench.analysis.uncertainty.seed_noise import shared_share
from effbench.analysis.uncertainty.student import mean_interval, t_quantile

_COSTS = ("size_bytes", "macs_effective", "macs", "params")
_NUMBER = re.compile(r"(?:(?<==)|^)[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?(?=, |$)", re.ASCII)
"""A number that is a whole value of an axis."""
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sweep:
    """The runs of one sweep."""

    runs: pd.DataFrame
    rows: Mapping[object, Mapping[str, int]]
    """By what identifies a point, in the order of the frame: the row of each of its seeds."""
    labels: Mapping[object, str]


def compare(
    frame_a: pd.DataFrame, frame_b: pd.DataFrame, *, counts: Counts | None = None, quality: str | None = None
) -> pd.DataFrame:
    """Return what the points that two sweeps both have differ by: b against a, on the seeds of both.

    Parameters
    ----------
    frame_a, frame_b
        One row per run, of one group each; points are the same where their labels are, or the axes and values that
        these name, numbers by what they are worth (bits=4, bits=4.0). Named controls are left out.
    counts
        The counts of the examples behind `quality`, of the runs of both, by run key, as of
        `load_counts(pd.concat([a, b]))`: all evaluated on the same examples, in the same order.
    quality
        Column; None takes the frames' own on validation.

    Returns
    -------
    pandas.DataFrame
        One row per point of both, in the order of `frame_a`: point, n_seeds (of both), <quality>_a, <quality>_b,
        difference (b - a), low and high (95 %), covers (what the interval is about), and of each cost that both
        measured <cost>_a, <cost>_b, <cost>_difference and <cost>_ratio (b / a). `.attrs`: "only_a" and "only_b" have
        the labels that one has alone, "unpaired" by label the seeds that one has alone, "failed_a" and "failed_b" the
        failed runs of each.

    Raises
    ------
    ValueError
        A column that is missing or not finite, different qualities, several groups, two runs of a seed, no point in
        common, or counts that are missing, not those of the quality, or of other examples.

    Notes
    -----
    With several seeds the interval of the mean of the paired differences is Student's t of their number; with counts
    the deviation of the mean over 1,000 samples of the examples, the same for all runs (Efron & Tibshirani 1993,
    chapter 6), is added to it in squares, but for what seeds do not share of it, which is in their own already. With
    one seed it covers the examples only, and says so; without counts there is none.

    Examples
    --------
    >>> a = pd.DataFrame({"point": ["reference", "bits=4"], "size_bytes": [400, 50], "accuracy_val": [0.96, 0.90]})
    >>> b = a.assign(size_bytes=[400, 40], accuracy_val=[0.96, 0.93])
    >>> compare(a, b)[["point", "difference", "size_bytes_ratio"]].round(2).to_numpy().tolist()
    [['reference', 0.0, 1.0], ['bits=4', 0.03, 0.8]]
    """
    (known_a, column), (known_b, column_b) = chosen_quality(frame_a, quality), chosen_quality(frame_b, quality)
    if column != column_b or (known_a and known_a.direction) != (known_b and known_b.direction):
        raise ValueError(
            f"the frames have the qualities {column} and {column_b}: name one that both have with quality="
        )
    a, b = _sweep(frame_a, column, "frame_a"), _sweep(frame_b, column, "frame_b")
    both = [key for key in a.rows if key in b.rows]
    if not both:
        raise ValueError(f"no point in common: {_listed(a)} and {_listed(b)}")
    resampled = None if counts is None else _resampled(a, b, column, counts)
    costs = [name for name in _costs(a.runs) if name in _costs(b.runs)]
    rows, unpaired = [], {}
    for key in both:
        seeds = [seed for seed in a.rows[key] if seed in b.rows[key]]
        alone = sorted(set(a.rows[key]) ^ set(b.rows[key]))
        if alone:
            unpaired[a.labels[key]] = alone
        if seeds:
            pair = np.array([[a.rows[key][seed], b.rows[key][seed]] for seed in seeds], dtype=np.int64)
            rows.append({"point": a.labels[key], **_differences(a, b, pair, column, costs, resampled)})
    table = pd.DataFrame(rows)
    table.attrs = {
        "only_a": [a.labels[key] for key in a.rows if key not in b.rows],
        "only_b": [b.labels[key] for key in b.rows if key not in a.rows],
        "unpaired": unpaired,
        "failed_a": list(frame_a.attrs.get("failed", ())), "failed_b": list(frame_b.attrs.get("failed", ())),
    }  # fmt: skip
    if not rows:
        raise ValueError(f"no seed in common: of {len(both)} points that both have, each has other seeds in the other")
    return table


def _sweep(frame: pd.DataFrame, column: str, name: str) -> _Sweep:
    if len(frame) == 0:
        raise ValueError(f"{name} has no rows: there is nothing to compare")
    if "point" not in frame.columns:
        raise ValueError(f"{name} has no column point, by which points are known")
    chosen = select_group(frame)
    runs = read_runs(chosen.assign(**{column: finite_numbers(chosen, column)}))
    if "control" in runs.columns:
        runs = runs[~runs["control"].to_numpy(dtype=bool)].reset_index(drop=True)
    point_numbers(runs)  # refuses two runs of one seed
    shared = shared_groups([str(label) for label in runs["point"]])
    rows: dict[object, dict[str, int]] = {}
    labels: dict[object, str] = {}
    names = [without_parts(str(full), shared) for full in runs["point"]]
    n_written = Counter(_by_value(label) for label in set(names))
    for row, label in enumerate(names):
        # Two labels of one sweep that differ in how a number is written are two points: text, such as versions.
        same = _by_value(label) if n_written[_by_value(label)] == 1 else label
        axes = label_axes(same)
        # What stands before the first axis, as in "smaller: alpha=0.5", is part of what a point is.
        key: object = (same[: same.index(f"{next(iter(axes))}=")], frozenset(axes.items())) if axes else same
        labels.setdefault(key, label)
        own = rows.setdefault(key, {})
        seed = seed_name(runs["seed"][row]) if "seed" in runs.columns else "0"
        if seed in own:
            raise ValueError(f"{name}: {label!r} has two runs of seed {seed}: give each run its seed, or select one")
        own[seed] = row
    return _Sweep(runs=runs, rows=rows, labels=labels)


def _by_value(label: str) -> str:
    """Return a label with its numbers written in one way, as 4 for 4.0."""
    return _NUMBER.sub(lambda found: f"{(Decimal(found[0]) + 0).normalize()}", label)


def _listed(sweep: _Sweep) -> str:
    names = list(sweep.labels.values())
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _costs(runs: pd.DataFrame) -> list[str]:
    names = [*_COSTS, *(name for name in map(str, runs.columns) if name.startswith(LATENCY))]
    return [name for name in names if name in runs.columns and parse_numbers(runs[name]) is not None]


def _resampled(a: _Sweep, b: _Sweep, column: str, counts: Counts) -> NDArray[np.float64]:
    """Return the quality of all runs, those of a first, on the same examples drawn anew: (n_resamples, n_runs)."""
    for name in ("data", "data.split_seed"):
        seen = [set(one.runs[name].dropna().astype(str)) for one in (a, b) if name in one.runs.columns]
        if len(seen) == 2 and seen[0] != seen[1]:
            raise ValueError(f"counts: the sweeps have other examples ({name} differs): compare them without counts")
    if not all("run_key" in one.runs.columns for one in (a, b)):
        raise ValueError("counts are known by run_key, and a frame has no such column")
    both = pd.concat([one.runs[["run_key", column]] for one in (a, b)], ignore_index=True)
    return resampled_qualities(both, column, counts)


def _differences(
    a: _Sweep, b: _Sweep, pair: NDArray[np.int64], column: str, costs: list[str], resampled: NDArray[np.float64] | None
) -> dict[str, object]:
    """Return a row of the table. pair: (n_seeds, 2), the rows of a and of b."""
    values = [np.asarray(one.runs[column], dtype=np.float64)[pair[:, side]] for side, one in enumerate((a, b))]
    paired, n_seeds = values[1] - values[0], len(pair)
    draws = None
    if resampled is not None:
        draws = resampled[:, len(a.runs) + pair[:, 1]] - resampled[:, pair[:, 0]]
    low, high, covers = _interval(paired, draws)
    row: dict[str, object] = {"n_seeds": n_seeds, f"{column}_a": values[0].mean(), f"{column}_b": values[1].mean()}
    row |= {"difference": float(paired.mean()), "low": low, "high": high, "covers": covers}
    for cost in costs:
        own = []
        for side, one in enumerate((a, b)):
            numbers = parse_numbers(one.runs[cost])
            assert numbers is not None, "costs hold numbers"
            own.append(float(numbers[pair[:, side]].mean()))
        ratio = own[1] / own[0] if own[0] > 0 else math.nan
        row |= {f"{cost}_a": own[0], f"{cost}_b": own[1], f"{cost}_difference": own[1] - own[0], f"{cost}_ratio": ratio}
    return row


def _interval(paired: NDArray[np.float64], draws: NDArray[np.float64] | None) -> tuple[float, float, str]:
    """Return the interval of the mean difference, and what it covers. draws: (n_resamples, n_seeds)."""
    n_seeds = len(paired)
    if draws is None:
        covers = f"{n_seeds} seeds" if n_seeds > 1 else "nothing: 1 seed, no counts"
        return *mean_interval(paired), covers
    means = draws[np.isfinite(draws).all(axis=1)].mean(axis=1)
    deviation = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    if n_seeds == 1:
        half, covers = _NORMAL_95 * deviation, "examples only, 1 seed"
    else:
        of_seeds = t_quantile(n_seeds) * float(paired.std(ddof=1)) / math.sqrt(n_seeds)
        of_examples = _NORMAL_95 * deviation * shared_share(draws)
        half, covers = math.hypot(of_seeds, of_examples), f"examples and {n_seeds} seeds"
    middle = float(paired.mean())
    return middle - half, middle + half, covers
