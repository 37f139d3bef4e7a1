"""Draw the study's figure and write its table: bytes of the whole file against test error, means over the seeds.

python experiments/deep_compression/figure.py   (in the folder of the sweeps, whose mlflow.db it reads)

Rows of sweeps that are not in this folder stay as they are: each takes an hour, and may be made anew alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

import effbench

HERE = Path(__file__).parent
NETWORKS = {"lenet_300_100": "LeNet-300-100", "lenet_5": "LeNet-5"}
RECIPES = ("deep_compression", "rate_constrained")
AXES = {"distill": 0.0, "prune": 0.0, "share": 0, "rate": 32.0}
"""Of the points, and their neutral values."""
PAPER = {"lenet_300_100": (40, 1.58), "lenet_5": (39, 0.74)}
"""Size ratio and test error, in percent, of Deep Compression (arXiv:1510.00149, table 1)."""
BOUND = {"lenet_300_100": 1.64, "lenet_5": 0.80}
SERIES = {
    ("deep_compression", "huffman"): "#d95f02",
    ("deep_compression", "context"): "#1b6ca8",
    ("rate_constrained", "context"): "#1a9850",
}


def load(network: str, recipe: str) -> pd.DataFrame:
    """Return the means and standard deviations over the seeds of a sweep's points. ValueError where there is none."""
    runs = effbench.load_runs(f"{recipe}_{network}")
    runs = runs.assign(**{axis: neutral for axis, neutral in AXES.items() if axis not in runs})
    runs["error"], runs["error_val"] = 100 * (1 - runs.accuracy), 100 * (1 - runs.accuracy_val)
    groups = runs.groupby(["coder", *AXES], as_index=False)
    table = groups.agg(
        n_seeds=("seed", "nunique"),
        error=("error", "mean"),
        error_std=("error", "std"),
        error_worst=("error", "max"),
        error_val=("error_val", "mean"),
        size_bytes=("size_bytes", "mean"),
        size_ratio=("size_ratio", "mean"),
        size_ratio_std=("size_ratio", "std"),
        params_nonzero=("params_nonzero", "mean"),
    )
    table.insert(0, "network", network)
    table.insert(1, "recipe", recipe)
    return table.sort_values(["coder", "size_ratio"]).round(5)


def renewed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the rows of the sweeps that are in this folder."""
    parts = []
    for network in NETWORKS:
        for recipe in RECIPES:
            try:
                parts.append(load(network, recipe))
            except ValueError as error:
                print(f"{recipe}_{network}: its rows stay as they are ({error})")
                parts.append(table[(table.network == network) & (table.recipe == recipe)])
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def draw(axes: plt.Axes, network: str, table: pd.DataFrame) -> None:
    """Draw one network's curves, its reference, the reference taught as the points are, and the paper's point."""
    is_whole = (table.prune == 0) & (table.rate == 32)
    latest = table[is_whole & (table.recipe == RECIPES[-1])]
    reference, taught = (latest[latest.distill == weight] for weight in (0, 1))
    axes.axhline(reference.error.mean(), color="grey", linewidth=1, label="reference")
    axes.axhline(taught.error.mean(), color="grey", linewidth=1, linestyle="--", label="the same, taught")
    axes.axhline(BOUND[network], color="grey", linewidth=1, linestyle=":", label="the paper's reference")
    for (recipe, coder), colour in SERIES.items():
        points = table[~is_whole & (table.recipe == recipe) & (table.coder == coder)]
        axes.errorbar(
            points.size_bytes,
            points.error,
            yerr=points.error_std,
            xerr=points.size_ratio_std / points.size_ratio * points.size_bytes,
            fmt="o",
            color=colour,
            capsize=2,
            label=f"{recipe}, coder={coder}",
        )
    ratio, error = PAPER[network]
    float_bytes = (reference.size_bytes * reference.size_ratio).mean()
    axes.plot(float_bytes / ratio, error, "k*", markersize=11, label=f"Han et al. 2015: {ratio}×")
    axes.set(xscale="log", xlabel="bytes of the file", title=NETWORKS[network], ylim=(0, None))

    def swap(size: np.ndarray) -> np.ndarray:
        return float_bytes / np.maximum(size, 1e-9)

    above = axes.secondary_xaxis("top", functions=(swap, swap))
    above.set_xlabel("× smaller than float32")
    below, over = (2_000, 4_000, 8_000, 16_000, 32_000), (40, 80, 160, 320, 640)
    for axis, ticks in ((axes.xaxis, below), (above.xaxis, over)):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8, frameon=False)


def main() -> None:
    """Read, write, draw."""
    table = renewed(pd.read_csv(HERE / "table.csv"))
    table.to_csv(HERE / "table.csv", index=False)
    figure, both = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for axes, network in zip(both, NETWORKS, strict=True):
        draw(axes, network, table[table.network == network])
    both[0].set_ylabel("test error, %")
    figure.savefig(HERE / "bytes_error.png", dpi=150)
    print(table.to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
