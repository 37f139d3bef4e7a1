"""Frames as a sweep gives them."""

import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")


@pytest.fixture
def runs():
    """Three pruned points and their reference, one seed; rows out of order."""
    return pd.DataFrame(
        {
            "point": ["prune=0.9", "reference", "prune=0.1", "prune=0.5"],
            "prune": [0.9, 0.0, 0.1, 0.5],
            "seed": [0, 0, 0, 0],
            "reference": [False, True, False, False],
            "data": ["digits"] * 4,
            "model": ["small_cnn"] * 4,
            "size_bytes": [60_000, 400_000, 380_000, 164_000],
            "macs": [2_000_000] * 4,
            "macs_effective": [200_000, 2_000_000, 1_800_000, 1_000_000],
            "accuracy": [0.890, 0.955, 0.953, 0.946],
            "accuracy_val": [0.897, 0.960, 0.961, 0.952],
            "latency_ms/eager": [0.50, 0.51, 0.50, 0.52],
        }
    )


@pytest.fixture
def seeded(runs):
    """The same with three seeds each; their mean is the single-seed frame."""
    parts = [
        runs.assign(
            seed=seed, accuracy_val=runs["accuracy_val"] + shift, size_bytes=runs["size_bytes"] + 1000 * seed - 1000
        )
        for seed, shift in enumerate((-0.003, 0.001, 0.002))
    ]
    return pd.concat(parts).sample(frac=1, random_state=0)
