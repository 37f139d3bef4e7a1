"""Print the study's summary from its table, and draw its figure: bytes of the file against what the network keeps.

python experiments/bytes/figure.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "benchmarks"))
from parts.fronts import DIVERGENCE, hypervolume, size_at  # noqa: E402

NAMES = {
    "mobilenet_v2": "MobileNetV2, ImageNet",
    "cifar_cnn": "CNN, CIFAR-10",
    "lenet_5": "LeNet-5, MNIST",
    "lenet_300_100": "LeNet-300-100, MNIST",
    "small_cnn": "small CNN, digits",
}
COLOURS = {"rate": "#1b6ca8", "bits, feedback, norms": "#4daf4a", "NNCodec, norms": "#d95f02"}
SHOWN_POINTS = 12
WITHOUT = {"rate, no data": "#1b6ca8", "NNCodec dependent, no data": "#d95f02"}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network and method: means over the splits."""
    found = []
    for (network, method), rows in table[table.split != "all"].groupby(["network", "method"]):
        whole = float(table[(table.network == network) & (table.method == "float32")].megabytes.iloc[0])
        floats = table[(table.network == network) & (table.method == "float32") & (table.split != "all")]
        if method == "float32":
            continue
        areas, sizes = [], []
        for _, one in rows.groupby("split"):
            points = list(one[["megabytes", "divergence", "accuracy"]].itertuples(index=False, name=None))
            areas.append(hypervolume(points, float(floats.accuracy.mean()), whole))
            sizes.append(size_at(points, DIVERGENCE))
        found.append(
            {
                "network": network,
                "method": method,
                "splits": len(areas),
                f"MB at {DIVERGENCE} nats": np.mean(sizes),
                "hypervolume": np.mean(areas),
            }
        )
    return pd.DataFrame(found)


def draw(axes: plt.Axes, network: str, table: pd.DataFrame) -> None:
    """Draw one network's curves: means over the splits; thin, what looked at no image."""
    rows = table[table.network == network]
    floats = rows[rows.method == "float32"]
    axes.axhline(100 * floats[floats.split != "all"].accuracy.mean(), color="grey", linewidth=1, label="float32")
    for methods, marker, width in ((COLOURS, "o", 1.6), (WITHOUT, ".", 0.8)):
        for method, colour in methods.items():
            of_method = rows[rows.method == method]
            means = of_method.groupby("setting", as_index=False)[["megabytes", "accuracy"]].mean()
            means = means.sort_values("megabytes")
            line = {"color": colour, "label": method, "marker": marker, "linewidth": width, "markersize": 4}
            axes.plot(1000 * means.megabytes, 100 * means.accuracy, **line)
    best = 100 * floats.accuracy.max()
    shown = rows[100 * rows.accuracy > best - SHOWN_POINTS]
    sizes = shown[shown.method.isin([*COLOURS, *WITHOUT])].megabytes * 1000
    axes.set(xscale="log", xlabel="KB of the file", title=NAMES[network], ylim=(best - SHOWN_POINTS, best + 0.5))
    axes.set_xlim(0.85 * sizes.min(), 1.1 * sizes.max())
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def main() -> None:
    """Read, print, draw."""
    table = pd.read_csv(HERE / "table.csv", dtype={"split": str, "setting": str})
    print(summary(table).round(4).to_string(index=False))
    networks = [name for name in NAMES if name in set(table.network)]
    figure, panels = plt.subplots(1, len(networks), figsize=(4 * len(networks), 4), layout="constrained")
    for axes, network in zip(np.atleast_1d(panels), networks, strict=True):
        draw(axes, network, table)
    np.atleast_1d(panels)[0].set_ylabel("accuracy, %")
    np.atleast_1d(panels)[0].legend(fontsize=7, frameon=False, loc="lower right")
    figure.savefig(HERE / "bytes_accuracy.png", dpi=130)


if __name__ == "__main__":
    main()
