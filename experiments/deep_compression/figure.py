"""Draw the study's figure and write its table: bytes of the whole file against test error, means over the seeds.

python experiments/deep_compression/figure.py   (in the folder of the sweeps, whose mlflow.db it reads)
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
PAPER = {"lenet_300_100": (40, 1.58), "lenet_5": (39, 0.74)}
"""Size ratio and test error, in percent, of Deep Compression (arXiv:1510.00149, table 1)."""
BOUND = {"lenet_300_100": 1.64, "lenet_5": 0.80}
COLOURS = {"huffman": "#d95f02", "context": "#1b6ca8"}


def load(network: str) -> pd.DataFrame:
    """Return the means and standard deviations over the seeds of one network's points."""
    runs = effbench.load_runs(f"deep_compression_{network}")
    runs["error"], runs["error_val"] = 100 * (1 - runs.accuracy), 100 * (1 - runs.accuracy_val)
    groups = runs.groupby(["coder", "distill", "prune", "share"], as_index=False)
    table = groups.agg(
        n_seeds=("seed", "nunique"),
        error=("error", "mean"),
        error_std=("error", "std"),
        error_val=("error_val", "mean"),
        size_bytes=("size_bytes", "mean"),
        size_ratio=("size_ratio", "mean"),
        size_ratio_std=("size_ratio", "std"),
        params_nonzero=("params_nonzero", "mean"),
    )
    table.insert(0, "network", network)
    return table.sort_values(["coder", "size_ratio"])


def draw(axes: plt.Axes, network: str, table: pd.DataFrame) -> None:
    """Draw one network's curves, its reference, the reference taught as the points are, and the paper's point."""
    reference, taught = (table[(table.prune == 0) & (table.distill == weight)] for weight in (0, 1))
    axes.axhline(reference.error.mean(), color="grey", linewidth=1, label="reference")
    axes.axhline(taught.error.mean(), color="grey", linewidth=1, linestyle="--", label="the same, taught")
    axes.axhline(BOUND[network], color="grey", linewidth=1, linestyle=":", label="the paper's reference")
    for coder, colour in COLOURS.items():
        points = table[(table.coder == coder) & (table.prune > 0)]
        axes.errorbar(
            points.size_bytes,
            points.error,
            yerr=points.error_std,
            xerr=points.size_ratio_std / points.size_ratio * points.size_bytes,
            fmt="o",
            color=colour,
            capsize=2,
            label=f"coder={coder}",
        )
    ratio, error = PAPER[network]
    float_bytes = (reference.size_bytes * reference.size_ratio).mean()
    axes.plot(float_bytes / ratio, error, "k*", markersize=11, label=f"Han et al. 2015: {ratio}×")
    axes.set(xscale="log", xlabel="bytes of the file", title=NETWORKS[network], ylim=(0, None))

    def swap(size: np.ndarray) -> np.ndarray:
        return float_bytes / np.maximum(size, 1e-9)

    above = axes.secondary_xaxis("top", functions=(swap, swap))
    above.set_xlabel("× smaller than float32")
    for axis, ticks in ((axes.xaxis, (4_000, 6_000, 10_000, 20_000, 40_000)), (above.xaxis, (40, 80, 160, 320))):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8, frameon=False)


def main() -> None:
    """Read, write, draw."""
    tables = {network: load(network) for network in NETWORKS}
    pd.concat(tables.values()).round(5).to_csv(HERE / "table.csv", index=False)
    figure, both = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for axes, (network, table) in zip(both, tables.items(), strict=True):
        draw(axes, network, table)
    both[0].set_ylabel("test error, %")
    figure.savefig(HERE / "bytes_error.png", dpi=150)
    print(pd.concat(tables.values()).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
