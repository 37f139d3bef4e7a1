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


@pytest.fixture
def segmented(runs):
    """The same, of networks that are judged by their mIoU."""
    return runs.rename(columns={"accuracy": "miou", "accuracy_val": "miou_val"}).assign(
        quality_name="miou",
        quality_kind="mean_of_ratios",
        quality_unit="mIoU points",
        quality_direction="higher",
        quality_chance=0.02,
    )


@pytest.fixture
def language(runs):
    """The same, of networks that are judged by their perplexity, which is better when lower."""
    return runs.drop(columns=["accuracy", "accuracy_val"]).assign(
        perplexity=[30.5, 21.2, 21.1, 21.6],
        perplexity_val=[30.0, 21.0, 20.9, 21.3],
        quality_name="perplexity",
        quality_kind="exp_of_ratio",
        quality_unit="nats",
        quality_direction="lower",
        quality_chance=256.0,
    )
