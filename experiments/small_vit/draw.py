"""Question: what of a small vision transformer can be saved, and is it other than of a small CNN? Table and figure.

Command: python experiments/small_vit/draw.py    in the folder of its sweeps' mlflow.db
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

import effbench

HERE = Path(__file__).parent
# Colours of Okabe and Ito; filled: the transformer, hollow: the CNN.
STYLES = {
    "prune": ("#0072B2", "o"),
    "bits": ("#009E73", "^"),
    "prune_heads": ("#D55E00", "s"),
    "prune_blocks": ("#CC79A7", "D"),
    "tokens": ("#E69F00", "v"),
    "prune_channels": ("#56B4E9", "P"),
}
COSTS = {"size_bytes": (1e3, "file size (KB)"), "macs": (1e6, "multiply-adds (M)")}
"""By column: the size of the axis's unit, and what it is called."""


def main() -> None:
    """Write the table and the figure."""
    runs = effbench.load_runs("small_vit")
    points = averaged(runs)
    points.to_csv(HERE / "points.csv", index=False, float_format="%.5g")
    draw(points).savefig(HERE / "points.png", dpi=160)
    print(points.to_string(index=False))


def averaged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row a network and point, the mean over its seeds; of accuracy the sample standard deviation as well."""
    costs = ["accuracy_val", "size_bytes", "params", "macs", "macs_effective"]
    groups = runs.groupby(["model", "point"])
    means = groups[["accuracy", *costs]].mean()
    means.insert(1, "accuracy_std", groups["accuracy"].std())
    return means.sort_values(["model", "size_bytes"]).reset_index()


def draw(points: pd.DataFrame) -> Figure:
    """Draw what each technique leaves of both networks' accuracy, against bytes and multiply-adds."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (cost, (unit, title)) in zip(axes, COSTS.items(), strict=True):
        ax.set(xscale="log", xlabel=title)
        ax.grid(color="0.93", which="both")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        for model, own in points.groupby("model"):
            for axis in STYLES:
                draw_axis(ax, own, axis, cost, unit, is_filled=model == "small_vit", label=f"{model}: {axis}")
    axes[0].set_ylabel("test accuracy (%)")
    named = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=6, fontsize=8)
    return figure


def draw_axis(ax: Axes, own: pd.DataFrame, axis: str, cost: str, unit: float, *, is_filled: bool, label: str) -> None:
    """Draw the points of one axis of one network, and its reference, as a line; nothing where the cost stands still."""
    named = own[own["point"].str.startswith(f"{axis}=") | (own["point"] == "reference")].sort_values(cost)
    if len(named) < 2 or named[cost].max() < 1.02 * named[cost].min():
        return
    colour, marker = STYLES[axis]
    ax.errorbar(
        named[cost] / unit,
        100 * named["accuracy"],
        100 * named["accuracy_std"],
        color=colour,
        marker=marker,
        capsize=2,
        linestyle="-" if is_filled else "--",
        markerfacecolor=colour if is_filled else "white",
        label=label,
    )


if __name__ == "__main__":
    main()
