"""Which points meet a budget, the cheapest first; or which come nearest to it, and by how much they miss it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.columns import metric_columns, parse_numbers
from effbench.analysis.curves.costs import chosen_cost
from effbench.analysis.curves.curve import Curve, curve_of
from effbench.analysis.curves.groups import select_group
from effbench.analysis.curves.quality import Quality
from effbench.analysis.definitions.choice import has_live_reference

PERCENTILES = {50: "latency_ms/", 90: "latency_ms_p90/", 99: "latency_ms_p99/"}
"""The columns of a percentile of latencies begin so; the engine's name follows."""
_ROUND_OFF = 1e-9
_SHOWN_COSTS = ("size_bytes", "macs_effective", "macs")


def recommend(
    frame: pd.DataFrame,
    *,
    max_drop: float = 0.02,
    max_size_bytes: float | None = None,
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    percentile: int = 50,
    engine: str | None = None,
    n: int = 5,
    model: str | None = None,
    **bounds: float,
) -> pd.DataFrame:
    """Return the cheapest points that meet every budget; where none does, those that come nearest.

    Parameters
    ----------
    frame
        One row per run, of one group; seeds are averaged, and compared with their own reference, as in
        `saturation_point`. The reference is a point as well; named controls are left out.
    max_drop
        The most quality that may be lost against the own reference, on validation, in the quality's own numbers: 0.02
        of an accuracy are 2 points.
    max_size_bytes, max_latency_ms, max_macs
        The most of `size_bytes`, of a latency, of `macs`; inclusive, as all budgets are.
    percentile, engine
        Which latency: 50 (the median), 90 or 99, and on which engine; None where the runs have one.
    n
        How many rows at most.
    model
        The network, where the frame has several with references of their own.
    **bounds
        What a quality must be on validation: min_accuracy=0.9 is about `accuracy_val`; max_perplexity where lower is
        better.

    Returns
    -------
    pandas.DataFrame
        point, meets, missed (the largest miss), missed_<budget> (0 where it is met: a share of the budget, of
        max_drop a share of the reference's quality), quality and drop on validation and test, costs, axes, n_seeds.
        Those that meet all come in the order of the first cost with a budget (bytes, latency, MACs; without one the
        first that varies); of equal ones the other costs decide, then the drop, then the label. Where none meets all,
        `meets` is False and the smallest `missed` comes first. `.attrs`: "not_measured" has the labels that lack a
        value, "failed" and "not_compared" those that have no finished run, or none with a reference; "ordered_by" the
        cost.

    Raises
    ------
    ValueError
        A budget that is negative or no number, a latency or column that no run has, several groups, no reference
        among the runs, or one that is not better than chance by more than max_drop.

    Examples
    --------
    >>> runs = pd.DataFrame({"point": ["reference", "bits=8", "bits=4"], "size_bytes": [400, 100, 50],
    ...                      "accuracy_val": [0.96, 0.95, 0.90]})
    >>> recommend(runs, max_drop=0.02, max_size_bytes=200)["point"].tolist()
    ['bits=8']
    >>> recommend(runs, max_drop=0.02, max_size_bytes=80, n=2)[["point", "missed"]].round(2).to_numpy().tolist()
    [['bits=4', 0.04], ['bits=8', 0.25]]
    """
    if len(frame) == 0:
        raise ValueError("the frame has no rows: there is nothing to recommend")
    runs = select_group(frame, model=model)
    limits = _limits(
        runs, max_size_bytes=max_size_bytes, max_latency_ms=max_latency_ms, max_macs=max_macs,
        percentile=percentile, engine=engine,
    )  # fmt: skip
    _refuse_negative("max_drop", max_drop, zero=True)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n={n!r}: must be a whole number of rows, at least 1")
    columns = [column for column, _ in limits.values()]
    bounded = _bounds(runs, bounds)
    cost = columns[0] if columns else chosen_cost(runs, None)
    # A run without a value would lower nothing: its point is left out, and named.
    known = np.logical_and.reduce([_is_known(runs, name) for name in (cost, *columns, *bounded)])
    unknown = [] if "point" not in runs.columns else sorted(set(runs["point"][~known].astype(str)))
    measured = runs[~runs["point"].astype(str).isin(unknown)] if unknown else runs[known]
    measured.attrs = dict(runs.attrs)
    if len(measured) == 0:
        raise ValueError(f"no point has {', '.join(dict.fromkeys((cost, *columns, *bounded)))} in all of its runs")
    curve = curve_of(measured, cost=cost)
    if curve.is_fraction and max_drop > 1:
        raise ValueError(f"max_drop={max_drop:g}: is a fraction of the quality, at most 1; 0.02 is two points")
    _check_references(curve, max_drop)
    missed = _missed(curve, max_drop, limits, bounded)
    table = _table(curve, missed, columns)
    costs = dict.fromkeys((*columns, cost, *(name for name in _SHOWN_COSTS if name in table.columns)))
    order = [*costs, "drop", "point"]
    table = table.sort_values(order if table["meets"].any() else ["missed", *order], kind="stable")
    chosen = table[table["meets"]] if table["meets"].any() else table
    chosen = chosen.head(n).reset_index(drop=True)
    chosen.attrs = {
        "ordered_by": cost, "not_measured": unknown, "failed": list(curve.failed),
        "not_compared": list(curve.not_compared),
    }  # fmt: skip
    return chosen


def _limits(
    runs: pd.DataFrame,
    *,
    max_size_bytes: float | None,
    max_latency_ms: float | None,
    max_macs: float | None,
    percentile: int,
    engine: str | None,
) -> dict[str, tuple[str, float]]:
    """Return the column and the limit of each budget on a cost, by the budget's name."""
    if percentile not in PERCENTILES:
        raise ValueError(f"percentile={percentile!r}: must be one of {', '.join(map(str, PERCENTILES))}")
    if engine is not None and max_latency_ms is None:
        raise ValueError(f"engine={engine!r}: is the engine of max_latency_ms, which is not given")
    budgets = {"max_size_bytes": max_size_bytes, "max_latency_ms": max_latency_ms, "max_macs": max_macs}
    limits: dict[str, tuple[str, float]] = {}
    for name, limit in budgets.items():
        if limit is None:
            continue
        _refuse_negative(name, limit)
        column = _latency_column(runs, percentile, engine) if name == "max_latency_ms" else name.removeprefix("max_")
        if column not in runs.columns:
            raise ValueError(f"{name}={limit:g}: no run has {column}")
        limits[name] = (column, float(limit))
    return limits


def _latency_column(runs: pd.DataFrame, percentile: int, engine: str | None) -> str:
    """Return the column of a latency. ValueError where no run has it, or several engines are there to choose from."""
    prefix = PERCENTILES[percentile]
    there = [name.removeprefix(prefix) for name in map(str, runs.columns) if name.startswith(prefix)]
    if not there:
        raise ValueError(f"max_latency_ms: no run has a {prefix}…: measure it, as in effbench latency sweep=… engine=…")
    if engine is None and len(there) > 1:
        raise ValueError(f"max_latency_ms: there are latencies of {', '.join(there)}: choose with engine=")
    if engine is not None and engine not in there:
        raise ValueError(f"engine={engine!r}: no run has {prefix}{engine}; there are {', '.join(there)}")
    return prefix + (there[0] if engine is None else engine)


def _bounds(runs: pd.DataFrame, bounds: Mapping[str, float]) -> dict[str, tuple[str, float, int]]:
    """Return by column, of each bound on a quality, its name, its value and 1 or, where lower is better, -1."""
    quality, found = Quality.of_frame(runs), {}
    for name, value in bounds.items():
        direction, _, about = name.partition("_")
        qualities = sorted(column.removesuffix("_val") for column in metric_columns(runs) if column.endswith("_val"))
        if direction not in ("min", "max") or about not in qualities:
            raise ValueError(
                f"{name}={value!r}: is no option; a bound is min_ or max_ and one of {', '.join(qualities)}"
            )
        is_loss = about.startswith(("loss", "calibration_error"))
        lower = is_loss or (about == quality.name and quality.direction == "lower")
        if lower != (direction == "max"):
            raise ValueError(
                f"{name}={value!r}: {about} is better when {'lower: max' if lower else 'higher: min'}_{about}"
            )
        _refuse_negative(name, value)
        found[f"{about}_val"] = (name, float(value), -1 if lower else 1)
    return found


def _refuse_negative(name: str, value: object, *, zero: bool = False) -> None:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0 or (value == 0 and not zero):  # type: ignore[arg-type, operator]
        raise ValueError(f"{name}={value!r}: must be a number {'of at least' if zero else 'above'} 0")


def _is_known(runs: pd.DataFrame, column: str) -> NDArray[np.bool_]:
    numbers = parse_numbers(runs[column])
    if numbers is None:
        raise ValueError(f"{column} holds something that is not a number")
    return np.isfinite(numbers)


def _check_references(curve: Curve, max_drop: float) -> None:
    """Refuse runs without a reference, and one that learned nothing: everything would be as good as that."""
    if curve.base == "missing" or len(curve) == 0:
        raise ValueError("the reference is not among the runs that have what is asked for: no drop is known")
    if not has_live_reference(curve, max_drop).any():
        raise ValueError(f"the reference is not better than chance by more than max_drop={max_drop:g}: train it longer")


def _missed(
    curve: Curve,
    max_drop: float,
    limits: Mapping[str, tuple[str, float]],
    bounds: Mapping[str, tuple[str, float, int]],
) -> dict[str, NDArray[np.float64]]:
    """Return by which share each budget is missed, by its name: (n_points,), 0 where it is met."""
    base = np.abs(curve.qualities[curve.references])
    # Against a reference that learned nothing, no drop says anything.
    drops = np.where(has_live_reference(curve, max_drop), curve.losses - max_drop, np.inf)
    excess = {"max_drop": (drops, np.where(base > 0, base, 1.0))}
    for name, (column, limit) in limits.items():
        excess[name] = (np.asarray(curve.points[column], dtype=np.float64) - limit, np.full(len(curve), limit))
    for column, (name, bound, sign) in bounds.items():
        values = np.asarray(curve.points[column], dtype=np.float64)
        excess[name] = (sign * (bound - values), np.full(len(curve), bound))
    return {name: np.where(over > _ROUND_OFF * share, over / share, 0.0) for name, (over, share) in excess.items()}


def _table(curve: Curve, missed: Mapping[str, NDArray[np.float64]], columns: list[str]) -> pd.DataFrame:
    """Return all points, in the curve's order."""
    largest = np.max(list(missed.values()), axis=0)
    quality = curve.quality
    assert quality is not None, "the frame's own quality"
    found: dict[str, object] = {"point": curve.labels, "meets": largest == 0, "missed": largest}
    found |= {f"missed_{name}": values for name, values in missed.items()}
    found |= {quality.column: curve.values, "drop": curve.losses}
    if quality.name in curve.points.columns:
        found |= {quality.name: curve.points[quality.name].to_numpy(), "drop_test": curve.losses_of(quality.name)}
    shown = dict.fromkeys((*columns, curve.cost, *_SHOWN_COSTS, *curve.runs.attrs.get("axes", ())))
    found |= {name: curve.points[name].to_numpy() for name in shown if name in curve.points.columns}
    return pd.DataFrame(found | {"n_seeds": curve.n_seeds})
