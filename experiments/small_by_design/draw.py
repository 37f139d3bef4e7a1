"""Question: which knob of a network that is small before it is trained pays? Tables and figures of the README here.

Command: python experiments/small_by_design/draw.py    in the folder of its sweeps' mlflow.db
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

import effbench
from effbench.analysis import rank_correlations
from effbench.analysis.figures.placement import Label, marker_boxes, place_labels

HERE = Path(__file__).parent
# Colours of Okabe and Ito.
STYLES = {
    "conv": ("#0072B2", "o"),
    "octave": ("#009E73", "^"),
    "pooling": ("#D55E00", "s"),
    "kernel": ("#CC79A7", "D"),
    "classifier": ("#E69F00", "v"),
    "reference": ("black", "*"),
}
COUNTED = {"params": "parameters (M)", "macs": "multiply-adds (M)", "size_bytes": "file size (MB)"}
PAYS = {"macs": (1e6, "multiply-adds (M)"), "speedup/eager": (1, "speed ÷ the reference's (eager): more is faster")}
"""By column: the size of the axis's unit, and what it is called."""


def main() -> None:
    """Write both tables and both figures."""
    points = averaged(effbench.load_runs("small_by_design"))
    points.to_csv(HERE / "points.csv", index=False, float_format="%.5g")
    draw_points(points[points["accuracy"] > 0.9]).savefig(HERE / "points.png", dpi=160)
    networks = effbench.load_runs("networks").sort_values("latency_ms/eager")
    columns = ["model", "side", *COUNTED, "latency_ms/eager"]
    networks[columns].to_csv(HERE / "networks.csv", index=False, float_format="%.5g")
    draw_networks(networks).savefig(HERE / "networks.png", dpi=160)
    print(rank_correlations(networks).to_string(index=False))


def averaged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row a point, the mean over its seeds; of accuracy the sample standard deviation as well."""
    costs = ["accuracy_val", "size_bytes", "params", "macs", "speedup/eager"]
    means = runs.groupby("point")[["accuracy", *costs]].mean()
    means.insert(1, "accuracy_std", runs.groupby("point")["accuracy"].std())
    return means.sort_values("macs").reset_index()


def draw_points(points: pd.DataFrame) -> Figure:
    """Draw accuracy against multiply-adds, and against the speed that was measured."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    qualities = 100 * points["accuracy"]
    for ax, (cost, (unit, title)) in zip(axes, PAYS.items(), strict=True):
        ax.set(xscale="log" if unit > 1 else "linear", xlabel=title)
        for label, value, quality, spread in zip(
            points["point"], points[cost] / unit, qualities, 100 * points["accuracy_std"], strict=True
        ):
            colour, marker = STYLES[label.partition("=")[0]]
            ax.errorbar(value, quality, spread, color=colour, marker=marker, capsize=2)
        ax.margins(x=0.15, y=0.08)
    axes[0].set_ylabel("test accuracy (%)")
    name(axes, points["point"], [points[cost] / unit for cost, (unit, _) in PAYS.items()], qualities)
    return figure


def draw_networks(networks: pd.DataFrame) -> Figure:
    """Draw latency against what can be counted without running a network."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    times, correlations = networks["latency_ms/eager"], rank_correlations(networks).query("side == ''")
    for ax, (column, title) in zip(axes, COUNTED.items(), strict=True):
        ax.loglog(networks[column] / 1e6, times, "o", color=STYLES["conv"][0])
        (found,) = correlations[correlations["counted"] == column].itertuples()
        ax.set_title(f"rank correlation {found.correlation:.2f} ({found.low:.2f} to {found.high:.2f})", fontsize=9)
        ax.set_xlabel(title)
        ax.margins(x=0.15, y=0.08)
    axes[0].set_ylabel("latency (ms, eager, one thread)")
    name(axes, networks["model"], [networks[column] / 1e6 for column in COUNTED], times)
    return figure


def name(axes: Sequence[Axes], labels: pd.Series, across: Sequence[pd.Series], up: pd.Series) -> None:
    """Name the points of each panel, where no name covers another or a point."""
    for ax in axes:
        ax.grid(color="0.93", which="both")
        for axis in (ax.xaxis, ax.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.set_minor_formatter(NullFormatter())
    FigureCanvasAgg(axes[0].figure).draw()  # places are found in pixels, once the panels have theirs
    for ax, values in zip(axes, across, strict=True):
        anchors = list(zip(values, up, strict=True))
        lowest_first = sorted(zip(up, values, labels, strict=True))
        place_labels(
            ax,
            [Label(text=text, x=x, y=y) for y, x, text in lowest_first],
            obstacles=marker_boxes(ax, values.to_numpy(), up.to_numpy(), size=7),
            fontsize=7,
            anchors=anchors,
        )


if __name__ == "__main__":
    main()
