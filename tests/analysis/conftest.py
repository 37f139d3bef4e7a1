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


def runs_of(points, *, seeds=(0, 1, 2), reference="reference", **common):
    """Runs as a sweep gives them, from (label, bytes, validation accuracy by seed); None: that seed failed.

    Accuracies may be one number, for all seeds; test accuracies are 0.01 lower.
    """
    rows = []
    for label, size, accuracies in points:
        values = accuracies if isinstance(accuracies, (list, tuple)) else [accuracies] * len(seeds)
        for seed, value in zip(seeds, values, strict=True):
            if value is not None:
                row = {"point": label, "seed": seed, "reference": label == reference, "size_bytes": size}
                keys = {"run_key": f"{label}/{seed}", "reference_key": f"{reference}/{seed}"}
                rows.append({**row, **keys, **common, "accuracy_val": value, "accuracy": value - 0.01})
    return pd.DataFrame(rows)


@pytest.fixture
def lucky():
    """Three seeds, of which the second is a bad one that prune=0.9 lost: alone, its mean would look better."""
    frame = runs_of(
        [
            ("reference", 100_000, [0.96, 0.90, 0.96]),
            ("prune=0.5", 50_000, [0.95, 0.89, 0.95]),
            ("prune=0.9", 10_000, [0.93, None, 0.93]),
        ]
    )
    frame.attrs["failed"] = [{"point": "prune=0.9", "seed": 1}]
    return frame


def pruned(losses, *, sizes=None, seeds=(0,), **columns):
    """Runs of points at shares with losses, {share: loss, or one for each seed}; that at 0 is the reference.

    sizes: the bytes by share; None: as many as weights are left.
    """
    rows = [
        {
            "point": f"prune={share}" if share else "reference",
            "reference": share == 0,
            "seed": seed,
            "prune": share,
            "run_key": f"{share}-{seed}",
            "reference_key": f"0-{seed}",
            "size_bytes": 1000 * (1 - share) if sizes is None else sizes[share],
            "accuracy_val": 0.9 - (loss[seed] if isinstance(loss, tuple) else loss),
        }
        for share, loss in losses.items()
        for seed in seeds
    ]
    return pd.DataFrame(rows).assign(**columns)
