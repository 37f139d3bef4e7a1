"""Draw the study from its runs: `python draw.py [tracking uri]`, in the folder of its sweeps. Trains nothing.

Writes table.csv (a row a point), families.csv (a row a family: where it saturates, its part of the joint front) and
a figure a cost beside this file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import moocore
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

import effbench

HERE = Path(__file__).parent
COSTS = {
    "size_bytes": ("file size (KB)", 1e3),
    "macs": ("multiply-adds (M)", 1e6),
    "latency": ("latency ÷ the reference's (eager)", 1.0),
}
"""By column: what an axis calls it, and the size of the axis's unit."""
AXES = ("prune", "prune_channels", "bits", "share", "rank", "alpha", "distill")
NEUTRAL = {"prune": 0, "prune_channels": 0, "bits": 32, "share": 0, "rank": 1, "alpha": 1, "distill": 0}
TOLERANCE = 0.02
FLOOR = 0.12
"""How far below the reference's accuracy points are shown, and count for the front."""

# Colours of Okabe and Ito; controls have their family's, hollow.
STYLES = {
    "weights": ("#0072B2", "o"),
    "channels": ("#D55E00", "s"),
    "bits": ("#009E73", "^"),
    "shared values": ("#56B4E9", "v"),
    "low rank": ("#CC79A7", "D"),
    "smaller": ("#000000", "P"),
    "smaller, distilled": ("#E69F00", "X"),
    "weights and bits": ("#7F3FBF", "<"),
    "smaller, weights and bits": ("#8C5A2B", ">"),
}
CONTROLS = {
    "weights at random": "weights",
    "channels at random": "channels",
    "bits after training": "bits",
    "shared values after training": "shared values",
}


def main(arguments: Sequence[str]) -> None:
    """Read the runs, write the tables, draw the figures."""
    uri = arguments[0] if arguments else None
    criteria = ["stage.prune.criterion", "stage.prune_channels.criterion"]
    runs = with_families(effbench.load_runs("cross_technique", columns=criteria, tracking_uri=uri))
    counts = effbench.load_counts(runs, tracking_uri=uri)
    points = averaged(runs)
    for cost in COSTS:
        front = effbench.pareto_front(runs[competing(runs, cost)], cost=cost)["point"]
        points[f"front_{cost}"] = points["point"].isin(front)
    columns = [name for name in points.columns if not name.startswith("_")]
    points[columns].to_csv(HERE / "table.csv", index=False, float_format="%.6g")
    families(runs, points, counts).to_csv(HERE / "families.csv", index=False, float_format="%.4g")
    for cost in COSTS:
        draw(points, cost).savefig(HERE / f"{cost}.png", dpi=160)


def with_families(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs, each with its family; points are named so that those of two families differ.

    One reference serves all: every sweep has the same one. Latency is told as a share of it, paired in rounds within
    each sweep: the hour of the sweep drops out.
    """
    runs = runs[~runs["control"]].copy()  # the uncompressed network so taught is of no family
    runs["family"] = [family_of(row) for _, row in runs.iterrows()]
    runs["latency"] = (1 / runs["speedup/eager"]).where(~runs["reference"], 1.0)
    runs["recipe"] = "all"
    named = runs["family"] + ": " + runs["point"].astype(str)
    runs["point"] = named.where(runs["family"] != "reference", "reference")
    return runs


def family_of(row: pd.Series) -> str:
    """Return the family of a run, by the axes that are not neutral in it and by who chose."""
    if row["reference"]:
        return "reference"
    given = {axis for axis in AXES if axis in row and pd.notna(row[axis]) and float(row[axis]) != NEUTRAL[axis]}
    at_random = "random" in (row.get("stage.prune.criterion"), row.get("stage.prune_channels.criterion"))
    late = row["recipe"] == "default"
    known = {
        frozenset({"prune"}): "weights at random" if at_random else "weights",
        frozenset({"prune_channels"}): "channels at random" if at_random else "channels",
        frozenset({"bits"}): "bits after training" if late else "bits",
        frozenset({"share"}): "shared values after training" if late else "shared values",
        frozenset({"rank"}): "low rank",
        frozenset({"alpha"}): "smaller",
        frozenset({"alpha", "distill"}): "smaller, distilled",
        frozenset({"prune", "bits"}): "weights and bits",
        frozenset({"alpha", "prune", "bits"}): "smaller, weights and bits",
    }
    return known[frozenset(given)]


def averaged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row a point: means over seeds, and the deviation of the test accuracy."""
    groups = runs.groupby(["family", "point"], sort=False)
    means = ["accuracy", "accuracy_val", "size_bytes", "size_ratio", "macs", "macs_effective", "latency"]
    points = groups[means].mean()
    points.insert(0, "n_seeds", groups.size())
    points.insert(2, "accuracy_std", groups["accuracy"].std())
    reference = points.loc[("reference", "reference")]
    points.insert(1, "points_lost", 100 * (reference["accuracy"] - points["accuracy"]))
    return points.reset_index().sort_values(["family", "size_bytes"], ascending=[True, False])


def competing(points: pd.DataFrame, cost: str) -> pd.Series:
    """Return which points (or runs) compete for the joint front of a cost: no controls.

    Nor, but for bytes, those that compute all that the reference computes: what they differ by is jitter.
    """
    reference_macs = points.loc[points["family"] == "reference", "macs"].iloc[0]
    moves = (points["macs"] != reference_macs) | (points["family"] == "reference") | (cost == "size_bytes")
    return moves & ~points["family"].isin(CONTROLS)


def families(runs: pd.DataFrame, points: pd.DataFrame, counts: effbench.Counts) -> pd.DataFrame:
    """Return where each family saturates on each cost (on validation, with its interval), and its part of the front."""
    reference = points.set_index("point").loc["reference"]
    rows = []
    for family in [*STYLES, *CONTROLS]:
        own = runs[runs["family"].isin(["reference", family])]
        if family not in set(own["family"]):
            continue
        row: dict[str, object] = {"family": family}
        for cost in COSTS:
            if cost != "size_bytes" and np.ptp(own["macs"]) == 0:
                continue  # the family does not move it
            found = effbench.saturation_point(own, cost=cost, tolerance=TOLERANCE, counts=counts)
            name = "" if found.point is None else str(found.point["point"]).rpartition(": ")[2]
            row[f"saturates_{cost}"] = name or "not reached"
            if found.point is not None and found.interval is not None:
                row[f"share_{cost}"] = found.point[cost] / reference[cost]
                row[f"low_{cost}"], row[f"high_{cost}"] = (end / reference[cost] for end in found.interval)
        if family not in CONTROLS:
            for cost in COSTS:
                row[f"on_front_{cost}"] = int(points.loc[points["family"] == family, f"front_{cost}"].sum())
                row[f"alone_{cost}"] = contribution(points, family, cost)
        rows.append(row)
    return pd.DataFrame(rows)


def contribution(points: pd.DataFrame, family: str, cost: str) -> float:
    """Return the share of the joint front's hypervolume that is there by this family alone.

    In log cost and validation accuracy, from the reference's cost and FLOOR below its accuracy.
    """
    used = points[competing(points, cost)]
    whole, without = (hypervolume(one, cost) for one in (used, used[used["family"] != family]))
    return (whole - without) / whole


def hypervolume(points: pd.DataFrame, cost: str) -> float:
    """Return the area that points dominate."""
    reference = points.set_index("point").loc["reference"]
    objectives = np.column_stack(
        [np.log(points[cost] / reference[cost]), reference["accuracy_val"] - points["accuracy_val"]]
    )
    inside = (objectives < [1e-12, FLOOR]).all(axis=1)
    return float(moocore.hypervolume(objectives[inside], ref=[1e-12, FLOOR])) if inside.any() else 0.0


def draw(points: pd.DataFrame, cost: str) -> Figure:
    """Return the figure of a cost: test accuracy against it, a line a family, the joint front behind."""
    figure = Figure(figsize=(8.2, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    reference = points.set_index("point").loc["reference"]
    front = points[points[f"front_{cost}"]].sort_values(cost)
    axes.plot(
        front[cost], 100 * front["accuracy"], color="0.8", linewidth=7, zorder=1, label="joint front (validation)"
    )
    for family, (colour, marker) in STYLES.items():
        add_family(axes, points[points["family"] == family], cost, colour, marker, reference, label=family)
        for control in [name for name, of in CONTROLS.items() if of == family]:
            add_family(axes, points[points["family"] == control], cost, colour, marker, None, label=control)
    axes.scatter(reference[cost], 100 * reference["accuracy"], marker="*", s=170, color="#D00000", zorder=5)
    axes.annotate("reference", (reference[cost], 100 * reference["accuracy"]), (4, 7), textcoords="offset points")
    level = 100 * (reference["accuracy"] - TOLERANCE)
    axes.axhline(level, color="black", linewidth=0.8, linestyle=(0, (5, 3)), label="2 points below the reference")
    axes.set_ylim(100 * (reference["accuracy"] - FLOOR), 100 * points["accuracy"].max() + 1)
    axes.set_xscale("log")
    title, unit = COSTS[cost]
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(title)
    axes.set_ylabel("test accuracy (%)")
    axes.grid(True, which="both", color="0.93", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def add_family(
    axes: Axes,
    own: pd.DataFrame,
    cost: str,
    colour: str,
    marker: str,
    reference: pd.Series | None,
    *,
    label: str,
) -> None:
    """Draw a family from the reference on; a control (no reference) dotted and hollow."""
    if own.empty:
        return
    own = own.sort_values("size_bytes", ascending=False)
    x, y = list(own[cost]), list(100 * own["accuracy"])
    axes.errorbar(x, y, 100 * own["accuracy_std"], fmt="none", ecolor=colour, elinewidth=0.8, capsize=2, alpha=0.6)
    face = colour if reference is not None else "white"
    axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=6, zorder=4, label=label)
    if reference is not None:
        x, y = [reference[cost], *x], [100 * reference["accuracy"], *y]
    axes.plot(x, y, color=colour, linewidth=1.0, linestyle="-" if reference is not None else ":", zorder=3)


if __name__ == "__main__":
    main(sys.argv[1:])
