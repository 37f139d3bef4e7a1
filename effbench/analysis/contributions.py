"""Several axes at once: each axis's own curve, and which axis the joint front owes its points to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.costs import chosen_cost
from effbench.analysis.curves.curve import Curve, curve_of
from effbench.analysis.curves.groups import select_group
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.series import axis_values
from effbench.analysis.uncertainty.student import mean_interval

DEPTH = 0.1
"""The share of the reference's quality down to which points count."""
_LEAST = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Moves:
    """Which axes each point of a curve has moved away from its reference's value."""

    axes: list[str]
    moved: NDArray[np.bool_]
    """(n_points, n_axes)."""


def moves_of(curve: Curve, /) -> Moves:
    """Return the axes that vary over a curve, and which of them each point has moved."""
    values = axis_values(curve)
    names = [str(name) for name in values.columns if name != "model"]
    table = values[names].to_numpy(dtype=object).reshape(len(curve), len(names))
    own = table[curve.references]
    # A label that does not name an axis leaves it where the reference has it.
    return Moves(axes=names, moved=np.asarray((table != own) & (table != ""), dtype=np.bool_))


def axis_rows(curve: Curve, axis: str, /) -> NDArray[np.int64]:
    """Return the rows of an axis's own curve: those that have moved it, and their reference, by cost: (n_rows,).

    The other axes stand at the reference's value; where no point has that, at the one whose points cost most, which
    compresses least. ValueError for an axis that does not vary.
    """
    found = moves_of(curve)
    if axis not in found.axes:
        raise ValueError(f"axis={axis!r}: must be one that varies: {', '.join(found.axes) or 'none does'}")
    place, values = found.axes.index(axis), axis_values(curve)
    rows = np.flatnonzero(found.moved[:, place])
    for other, name in enumerate(found.axes):
        if other == place or len(rows) == 0:
            continue
        neutral = rows[~found.moved[rows, other]]
        if len(neutral) == 0:
            costs = pd.Series(curve.costs[rows]).groupby(values[name].iloc[rows].to_numpy(), sort=True).mean()
            neutral = rows[(values[name].iloc[rows] == costs.idxmax()).to_numpy()]
        rows = neutral
    return np.asarray(np.union1d(rows, curve.references[rows]), dtype=np.int64)


def is_joined(curve: Curve, axis: str, /) -> bool:
    """Whether points that move an axis are joined by a line: they differ in a number, whatever the reference has."""
    moved = np.setdiff1d(axis_rows(curve, axis), curve.references)
    return parse_numbers(axis_values(curve)[axis].iloc[moved]) is not None


def axis_contributions(
    frame: pd.DataFrame,
    *,
    cost: str | None = None,
    quality: str | None = None,
    depth: float = DEPTH,
    model: str | None = None,
) -> pd.DataFrame:
    """Return what the joint front of several axes owes to each: how much of it is gone without it, or with it held.

    Parameters
    ----------
    frame
        As for `saturation_point`: one row per run, of one group.
    cost, quality, model
        As for `pareto_front`. Costs must be above 0.
    depth
        Points count down to this share of their reference's quality below it; above 0.

    Returns
    -------
    pandas.DataFrame
        One row per axis, the one that most depends on first: axis; n_values (that points have); held_at; on_front
        (points of the joint front that have moved it), alone (those that have moved it and no other); hypervolume (of
        the joint front) and without (of the front of the points that leave the axis where the reference has it; where
        all points have moved some axis, as in a grid of several, each axis is held at the one of its values whose front
        has the largest hypervolume, held_at, else ""); lost, their difference as a share of the first, with several
        seeds its mean over them; low and high, the 95 % interval of that mean (Student's t, from 0 to 1; NaN with one
        seed), n_seeds.
        `.attrs`: "front" has the labels of the joint front by cost, "owed_to" the axes that each of them has moved.

    Raises
    ------
    ValueError
        A column that is missing or not finite, several groups, no axis that varies, no reference, a cost or a depth
        that is not above 0.

    Notes
    -----
    The hypervolume (Zitzler & Thiele 1999, IEEE Trans. Evol. Comput. 3(4); computed by moocore) lies between the front
    and the corner of the reference's cost and a quality `depth` below it. Its axes are the halvings of the cost, which
    is logarithmic, and the quality as a share of that depth: so it knows no units. Costs and qualities are taken
    against the own reference, on the same seeds.

    Examples
    --------
    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5", "bits=8", "prune=0.5, bits=8"],
    ...                      "size_bytes": [400, 200, 100, 50], "accuracy_val": [0.96, 0.95, 0.96, 0.95]})
    >>> axis_contributions(runs)[["axis", "on_front", "alone", "lost"]].round(2).to_numpy().tolist()
    [['bits', 2, 1, 0.69], ['prune', 1, 0, 0.31]]
    """
    if not (isinstance(depth, int | float) and math.isfinite(depth) and depth > 0):
        raise ValueError(f"depth={depth!r}: must be a number above 0, the share of the reference's quality that counts")
    runs = select_group(frame, model=model)
    curve = curve_of(runs, cost=chosen_cost(runs, cost), quality=quality)
    _check(curve)
    found, front = moves_of(curve), front_rows(curve)
    if not found.axes:
        raise ValueError("no axis varies over the points: there is nothing that a front could owe to one")
    ratios, losses = _objectives(curve, depth)
    whole = _hypervolume(ratios, losses)
    by_seed, values = _seed_objectives(curve, depth), axis_values(curve)
    others = np.setdiff1d(np.arange(len(curve)), curve.references)
    # A grid of several axes has no points without one of them: each is then held at a value, not left out.
    is_held = len(found.axes) > 1 and bool(found.moved[others].all(axis=0).any())
    rows = []
    for place, axis in enumerate(found.axes):
        if not found.moved[:, place].any():  # a configuration with a reference of its own
            continue
        kept, held_at = ~found.moved[:, place], ""
        without = _hypervolume(ratios[kept], losses[kept])
        if is_held:
            kept, held_at, without = _best_value(values[axis], ratios, losses, curve.references)
        shares = [_lost(_hypervolume(x, y), _hypervolume(x[kept[points]], y[kept[points]])) for points, x, y in by_seed]
        low, high = np.clip(mean_interval(np.array(shares)), 0, 1)
        lost = float(np.mean(shares)) if len(shares) > 1 else _lost(whole, without)
        on_front = found.moved[front, place]
        rows.append(
            {"axis": axis, "n_values": int(values[axis].iloc[others].nunique()), "held_at": held_at,
             "on_front": int(on_front.sum()),
             "alone": int((on_front & (found.moved[front].sum(axis=1) == 1)).sum()),
             "hypervolume": whole, "without": without, "lost": lost,
             "low": low, "high": high, "n_seeds": len(shares)}
        )  # fmt: skip
    table = pd.DataFrame(rows).sort_values(["lost", "axis"], ascending=[False, True], ignore_index=True)
    names = np.array(found.axes, dtype=object)
    table.attrs = {
        "cost": curve.cost,
        "front": [curve.labels[row] for row in front],
        "owed_to": {curve.labels[row]: names[found.moved[row]].tolist() for row in front},
    }
    return table


def _best_value(
    values: pd.Series, ratios: NDArray[np.float64], losses: NDArray[np.float64], references: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], str, float]:
    """Return the points that have an axis at the one value whose front has the largest area; it; and that area.

    The references are among them.
    """
    found: list[tuple[NDArray[np.bool_], str, float]] = []
    for value in sorted(set(values)):
        kept = np.array(values == value, dtype=np.bool_)
        kept[references] = True
        found.append((kept, str(value), _hypervolume(ratios[kept], losses[kept])))
    return max(found, key=lambda one: one[2])


def owes_to_several(curve: Curve, /) -> bool:
    """Whether a front may be taken apart by axes: several vary, each point has its reference, no cost is 0."""
    has_references = curve.base == "reference" and len(curve) > 1 and bool((curve.costs > 0).all())
    return has_references and int(moves_of(curve).moved.any(axis=0).sum()) > 1


def contributions_sentence(table: pd.DataFrame, /) -> str:
    """Say which axis the joint front owes most to, from `axis_contributions`; empty where fewer than two vary.

    >>> runs = pd.DataFrame({"point": ["reference", "prune=0.5", "bits=8", "prune=0.5, bits=8"],
    ...                      "size_bytes": [400, 200, 100, 50], "accuracy_val": [0.96, 0.95, 0.96, 0.95]})
    >>> contributions_sentence(axis_contributions(runs))
    'without bits the joint front would lose 69 % of its area, without prune 31 %'
    """
    # To an axis that has one value everywhere nothing is owed.
    table = table[(table["n_values"] > 1) | (table["held_at"] == "")]
    if len(table) < 2 or not (table["hypervolume"] > 0).all():
        return ""
    parts = []
    for number, row in enumerate(table.to_dict("records")):
        base = f"with {row['axis']} held at {row['held_at']}" if row["held_at"] else f"without {row['axis']}"
        notes = [] if math.isnan(row["low"]) else [f"{100 * row['low']:.0f} to {100 * row['high']:.0f}"]
        if number == 0 and row["n_seeds"] > 0:
            notes.append(f"{row['n_seeds']} seed{'s' if row['n_seeds'] > 1 else ''}")
        note = f" ({', '.join(notes)})" if notes else ""
        what = f"{base} the joint front would lose" if number == 0 else base
        parts.append(f"{what} {100 * row['lost']:.0f} %{' of its area' if number == 0 else ''}{note}")
    return ", ".join(parts)


def _check(curve: Curve) -> None:
    if len(curve) == 0 or curve.base == "missing":
        raise ValueError("the reference is not among the runs: what a point gains is not known")
    if not (curve.costs > 0).all():
        raise ValueError(f"{curve.cost} is {curve.costs.min():g} somewhere: its logarithm needs values above 0")


def _objectives(curve: Curve, depth: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the doublings of each point's cost and its loss as a share of the depth: (n_points,) each."""
    base = np.abs(curve.qualities[curve.references])
    return np.log2(curve.ratios), curve.losses / (depth * np.where(base > 0, base, 1.0))


def _seed_objectives(
    curve: Curve, depth: float
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """Return the points, doublings and losses of each seed apart; nothing where seeds are not known."""
    pairs = curve.pairs
    if not pairs.is_paired or "seed" not in curve.runs.columns or curve.runs["seed"].isna().any():
        return []
    costs = np.asarray(curve.runs[curve.cost], dtype=np.float64)
    values = curve.sign * np.asarray(curve.runs[curve.quality_column], dtype=np.float64)
    base = np.abs(values[pairs.reference_runs])
    losses = (values[pairs.reference_runs] - values[pairs.runs]) / (depth * np.where(base > 0, base, 1.0))
    ratios = np.log2(costs[pairs.runs] / costs[pairs.reference_runs])
    seeds = curve.runs["seed"].astype(str).to_numpy()[pairs.runs]
    of_seed = [np.flatnonzero(seeds == seed) for seed in sorted(set(seeds))]
    return [(pairs.points[rows], ratios[rows], losses[rows]) for rows in of_seed]


def _hypervolume(doublings: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """Return the area between the points and the corner (0, 1); both are better when lower."""
    import moocore

    inside = (doublings < -_LEAST) & (losses < 1)
    if not inside.any():
        return 0.0
    return float(moocore.hypervolume(np.column_stack([doublings, losses])[inside], ref=[0.0, 1.0]))


def _lost(whole: float, without: float) -> float:
    return (whole - without) / whole if whole > 0 else 0.0
