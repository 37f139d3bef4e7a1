"""A sweep of any size as the analysis gets it: rows, and the counts of examples behind them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from effbench.analysis import Counts


def drawn_sweep(n_points: int, n_seeds: int, n_examples: int) -> tuple[pd.DataFrame, Counts]:
    """Return runs whose accuracy bends from 96 % down, the reference among the points, and which examples were right.

    Examples differ in how hard they are, runs of a seed share part of their luck: so differences are paired as in real
    sweeps.
    """
    generator = np.random.default_rng(0)
    hardness = generator.uniform(size=n_examples)
    rows, correct = [], {}
    for seed in range(n_seeds):
        shift = generator.normal(0, 0.003)
        for point in range(n_points):
            accuracy = 0.96 - 0.4 * (point / n_points) ** 4 + shift
            key, label = f"{point:04d}-{seed}", "reference" if point == 0 else f"prune={point / n_points:.4g}"
            right = hardness + generator.normal(0, 0.02, n_examples) < accuracy
            correct[key] = right
            rows.append(
                {"point": label, "seed": seed, "reference": point == 0, "run_key": key, "reference_key": f"0000-{seed}",
                 "size_bytes": round(400_000 * 0.93**point), "accuracy_val": float(right.mean())}
            )  # fmt: skip
    return pd.DataFrame(rows), Counts.of_correct(correct)
