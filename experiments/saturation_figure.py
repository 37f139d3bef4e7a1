"""Draw a study's figure again from its saved table: `python experiments/saturation_figure.py FOLDER [TABLE.csv]`.

Reads FOLDER/table.csv (a row a point, as a sweep leaves it) and writes FOLDER/saturation.png; trains nothing. It has no
intervals: a table of points has no examples and no seeds to draw anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from effbench.analysis import answers, answers_png
from effbench.analysis.curves.columns import METRIC, belongs_to

TOLERANCE = 0.02
UNITS = {"miou": ("mean_of_ratios", "mIoU points")}
"""Kind and unit of qualities other than accuracy."""


def main(arguments: Sequence[str]) -> None:
    """Read the table, draw the figure."""
    folder = Path(arguments[0])
    frame = runs_of(pd.read_csv(folder / (arguments[1] if len(arguments) > 1 else "table.csv")))
    found = answers(frame, tolerance=TOLERANCE)
    (folder / "saturation.png").write_bytes(answers_png(found))


def runs_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of points as a frame with a run a point: the first row is the reference, as tables have it."""
    quality = next(name.removesuffix("_val") for name in table.columns if name.endswith("_val"))
    axes = [n for n in table.columns if not METRIC.match(n) and not belongs_to(n, [quality]) and n != "n_seeds"]
    axes = [name for name in axes if name != "boundary_iou"]
    neutral = table.iloc[0]
    labels = [
        ", ".join(f"{axis}={row[axis]:g}" for axis in axes if row[axis] != neutral[axis]) or "reference"
        for _, row in table.iterrows()
    ]
    kind, unit = UNITS.get(quality, ("ratio", "points"))
    return table.assign(
        point=labels,
        reference=[label == "reference" for label in labels],
        quality_name=quality,
        quality_kind=kind,
        quality_unit=unit,
        quality_direction="higher",
    ).drop(columns="n_seeds")


if __name__ == "__main__":
    main(sys.argv[1:])
