"""Question: on CIFAR-10, is a pruned network better than a small architecture of its cost? Table, verdicts and figure.

Command: python experiments/families_cifar10/draw.py    in the folder of its sweeps' mlflow.db
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.stats import t

import effbench

HERE = Path(__file__).parent
COSTS = {
    "size_bytes": (1e3, "file size (KB)"),
    "macs": (1e6, "multiply-adds (M)"),
    "macs_effective": (1e6, "effective multiply-adds (M)"),
}
"""By column: the size of the axis's unit, and what it is called."""
METRICS = ("accuracy", "accuracy_val", "params", *COSTS)
# Colours of Okabe and Ito; filled: compressed after training; hollow: small before it.
STYLES = {
    "small_cnn, weights pruned": ("#0072B2", "o"),
    "small_cnn, channels pruned": ("#56B4E9", "s"),
    "resnet18, weights pruned": ("#000000", "P"),
    "resnet18, channels pruned": ("#999999", "X"),
    "separable": ("#D55E00", "^"),
    "shuffle": ("#009E73", "D"),
    "mobilenet_v1": ("#CC79A7", "v"),
}
UNTOUCHED = ("separable", "shuffle", "mobilenet_v1")


def main() -> None:
    """Write the tables and the figure. What earlier sweeps came to, whose database is gone, stays in the tables."""
    runs = with_earlier(with_families(effbench.load_runs("families_cifar10")))
    runs.to_csv(HERE / "runs.csv", index=False, float_format="%.6g")
    points = with_means(averaged(runs))
    points.to_csv(HERE / "points.csv", index=False, float_format="%.6g")
    verdicts = pd.concat([verdicts_on(points, cost) for cost in COSTS])
    verdicts.to_csv(HERE / "verdicts.csv", index=False, float_format="%.4g")
    draw(points).savefig(HERE / "points.png", dpi=160)
    print(points.to_string(index=False))
    print(verdicts.to_string(index=False))


def with_families(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with their family; a dense network stands at the end of each of its compressed families."""
    conv = runs["conv"].fillna("standard") if "conv" in runs.columns else pd.Series("standard", index=runs.index)
    parts = []
    for model in ("small_cnn", "resnet18"):
        dense = runs[(runs["model"] == model) & (conv == "standard")]
        for axis, word in (("prune", "weights"), ("prune_channels", "channels")):
            own = dense[dense["point"].str.startswith(f"{axis}=") | (dense["point"] == "reference")]
            parts.append(own.assign(family=f"{model}, {word} pruned"))
    cnn = runs["model"] == "small_cnn"
    parts += [runs[cnn & (conv == kind)].assign(family=kind) for kind in ("separable", "shuffle")]
    parts.append(runs[runs["model"] == "mobilenet_v1"].assign(family="mobilenet_v1"))
    return pd.concat(parts, ignore_index=True)


def with_earlier(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row a family, point and seed: of these runs, and of earlier ones in runs.csv."""
    table, keys = HERE / "runs.csv", ["family", "point", "seed"]
    parts = [runs[runs["size_bytes"].notna()][[*keys, *METRICS]], *([pd.read_csv(table)] if table.exists() else [])]
    return pd.concat(parts, ignore_index=True).drop_duplicates(keys).sort_values(keys)


def averaged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row a family and point, the mean over its seeds; of accuracy the sample standard deviation as well."""
    groups = runs.groupby(["family", "point"])
    means = groups[list(METRICS)].mean()
    means.insert(1, "accuracy_std", groups["accuracy"].std())
    means.insert(2, "n_seeds", groups["seed"].nunique())
    return means.reset_index()


def with_means(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points, and in their place what points.csv has of more seeds: not of all is each seed on record."""
    both = pd.concat([points, pd.read_csv(HERE / "points.csv")], ignore_index=True)
    most = both.sort_values("n_seeds", ascending=False, kind="stable").drop_duplicates(["family", "point"])
    return most.sort_values(["family", "size_bytes"], ignore_index=True)


def verdicts_on(points: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Return how far each compressed point is above the untouched networks at its cost, on one cost.

    The untouched networks' accuracy there lies on the straight line, over the logarithm of the cost, between the points
    of their own front on either side; points beyond its ends have no verdict. The interval is Student's t of both
    sides' seeds (Welch), the line's by its nearer point.
    """
    small = points[points["family"].isin(UNTOUCHED)].sort_values([cost, "accuracy"])
    front = small[small["accuracy"] > small["accuracy"].cummax().shift(fill_value=-1.0)]
    rows = []
    compressed = points[~points["family"].isin(UNTOUCHED) & (points["point"] != "reference")]
    spans = points.groupby("family")[cost].agg(lambda costs: costs.max() / costs.min())
    for _, point in compressed[compressed["family"].map(spans) > 1.02].iterrows():
        at = float(point[cost])
        if not front[cost].iloc[0] <= at <= front[cost].iloc[-1]:
            continue
        there = float(np.interp(np.log(at), np.log(front[cost]), front["accuracy"]))
        near = front.iloc[int(np.argmin(np.abs(np.log(front[cost]) - np.log(at))))]
        gained, half = point["accuracy"] - there, _half_width(point, near)
        verdict = "better" if gained > half else "worse" if gained < -half else "level"
        verdict = verdict if np.isfinite(half) else "one seed"
        row = {"cost": cost, "at": at, **point[["family", "point", "accuracy"]], "untouched": there}
        rows.append({**row, "points_gained": 100 * gained, "plus_minus": 100 * half, "verdict": verdict})
    return pd.DataFrame(rows)


def _half_width(one: pd.Series, other: pd.Series) -> float:
    """Return half the width of the 95 % interval of a difference of two means over seeds; infinite for one seed."""
    deviations, n_seeds = (np.array([one[name], other[name]], dtype=float) for name in ("accuracy_std", "n_seeds"))
    squares, freedom = deviations**2 / n_seeds, n_seeds - 1
    if (freedom < 1).any() or squares.sum() == 0:
        return float("inf")
    welch = squares.sum() ** 2 / (squares**2 / freedom).sum()
    return float(t.ppf(0.975, welch) * np.sqrt(squares.sum()))


def draw(points: pd.DataFrame) -> Figure:
    """Draw all families against each cost."""
    figure = Figure(figsize=(14, 5), layout="constrained")
    axes = figure.subplots(1, len(COSTS), sharey=True)
    for ax, (cost, (unit, title)) in zip(axes, COSTS.items(), strict=True):
        ax.set(xscale="log", xlabel=title)
        ax.grid(color="0.93", which="both")
        is_wide = points[cost].max() > 500 * points[cost].min()
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if is_wide else (1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        for family in STYLES:
            draw_family(ax, points[points["family"] == family].sort_values(cost), cost, unit, family)
    axes[0].set_ylabel("test accuracy (%), mean and deviation of the seeds")
    named = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def draw_family(ax: Axes, own: pd.DataFrame, cost: str, unit: float, family: str) -> None:
    """Draw a family as a line; nothing where the cost stands still."""
    if len(own) < 2 or own[cost].max() < 1.02 * own[cost].min():
        return
    colour, marker = STYLES[family]
    is_small = family in UNTOUCHED
    ax.errorbar(
        own[cost] / unit,
        100 * own["accuracy"],
        100 * own["accuracy_std"].fillna(0),
        color=colour,
        marker=marker,
        capsize=2,
        linestyle="--" if is_small else "-",
        markerfacecolor="white" if is_small else colour,
        label=family,
    )


if __name__ == "__main__":
    main()
