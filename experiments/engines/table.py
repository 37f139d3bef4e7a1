"""Question: which savings are real on which engine? The table and the figure of the sweeps of this folder's README.

Command: python experiments/engines/table.py --name small_cnn [--out .]    in the folder of their mlflow.db
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import effbench
from effbench.analysis import nominal_and_real, plot_nominal


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    runs = effbench.load_runs()
    rows = pd.concat([with_engines(own) for _, own in runs.groupby("sweep", sort=False)], ignore_index=True)
    rows = rows.drop_duplicates(["point", "engine"])
    rows.to_csv(given.out / f"{given.name}.csv", index=False, float_format="%.5g")
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    plot_nominal(runs, ax=figure.add_subplot())
    figure.savefig(given.out / f"{given.name}.png", dpi=200)
    print(rows.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


def with_engines(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each point and engine of a sweep: what was promised, what was measured, at which quality."""
    references = runs[runs["reference"]]
    of_reference = [
        {"point": "reference", "engine": name.removeprefix("latency_ms/")}
        for name in map(str, runs.columns)
        if name.startswith("latency_ms/") and len(references)
    ]
    rows = pd.concat([pd.DataFrame(of_reference), nominal_and_real(runs)], ignore_index=True)
    by_point = runs.drop_duplicates("point").set_index("point")
    for name in ("latency_ms", "accuracy", "agreement", "size_bytes", "int8_share"):
        rows[name] = [_value(by_point.loc[row.point], name, row.engine) for row in rows.itertuples()]
    return rows


def _value(run: pd.Series, name: str, engine: str) -> float:
    """Return a metric of a run on an engine; of the network itself where the engine has none of its own."""
    for column in (f"{name}/{engine}", f"{name}/{engine.partition('.t')[0]}", name):
        if column in run.index and pd.notna(run[column]):
            return float(run[column])
    return float("nan")


if __name__ == "__main__":
    main()
