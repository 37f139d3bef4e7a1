"""Question: which savings are real on which engine? The table and the figure of the sweeps of this folder's README.

Command: python experiments/engines/table.py    in the folder of their mlflow.db
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import effbench
from effbench.analysis import nominal_and_real, plot_nominal

OWN = ("latency_ms", "accuracy", "agreement", "size_bytes", "download_bytes", "int8_share")
"""Metrics that each engine has, or the network itself."""


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="mobilenet_v2")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    sweeps = [effbench.load_runs(sweep=name) for name in effbench.load_runs()["sweep"].unique()]
    sweeps = [own for own in sweeps if own["reference"].any() and any("speedup/" in name for name in own.columns)]
    runs = pd.concat(sweeps, ignore_index=True).drop_duplicates("run_key")
    (_,) = runs.groupby(["model", "data", "seed"]).groups  # one network, one data set, one seed
    rows = pd.concat([with_engines(own) for own in sweeps], ignore_index=True).dropna(subset=["latency_ms"])
    rows.to_csv(given.out / f"{given.name}.csv", index=False, float_format="%.5g")
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    plot_nominal(runs, ax=figure.add_subplot())
    figure.savefig(given.out / f"{given.name}.png", dpi=200)
    print(rows.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def with_engines(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each point and engine of a sweep: what was promised, what was measured, at which quality."""
    engines = [name.removeprefix("latency_ms/") for name in map(str, runs.columns) if name.startswith("latency_ms/")]
    of_reference = pd.DataFrame([{"point": "reference", "engine": engine} for engine in engines])
    rows = pd.concat([of_reference, nominal_and_real(runs)], ignore_index=True)
    by_point = runs.set_index("point")
    for name in OWN:
        rows[name] = [_value(by_point.loc[row.point], name, row.engine) for row in rows.itertuples()]
    rows.insert(0, "sweep", runs["sweep"].iloc[0])  # its own reference was timed in turn with its points
    return rows


def _value(run: pd.Series, name: str, engine: str) -> float:
    """Return a metric of a run on an engine; the network's own where the engine has none (threads share a file)."""
    for column in (f"{name}/{engine}", f"{name}/{engine.partition('.t')[0]}", *([] if "latency" in name else [name])):
        if column in run.index and pd.notna(run[column]):
            return float(run[column])
    return float("nan")


if __name__ == "__main__":
    main()
