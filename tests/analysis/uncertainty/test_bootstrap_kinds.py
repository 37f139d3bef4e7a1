"""Resampling of qualities that are no accuracies."""

import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Counts, saturation_point
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.uncertainty.bootstrap import resampled_losses, resampled_qualities


def tasks_frame(counts, quality, *, name):
    """Runs of one quality whose values are those of their counts; the first run is the reference."""
    columns = {f"quality_{field}": value for field, value in quality.items()}
    rows = [
        {
            "point": f"prune={number}" if number else "reference",
            "reference": number == 0,
            "run_key": key,
            "size_bytes": 1000 - 100 * number,
            f"{name}_val": counts.quality_of(key),
            "quality_name": name,
            "quality_kind": counts.kind,
            **columns,
        }
        for number, key in enumerate(counts.by_run)
    ]
    return pd.DataFrame(rows)


def test_a_mean_of_ratios_is_resampled_by_its_sums():
    generator = np.random.default_rng(0)
    unions = generator.integers(0, 400, (30, 4))
    unions[:, 3] = 0  # a class that is nowhere
    by_run = {key: np.stack([unions * share // 100, unions], axis=-1) for key, share in (("a", 80), ("b", 60))}
    counts = Counts(kind="mean_of_ratios", by_run=by_run)
    frame = tasks_frame(counts, {"unit": "mIoU points", "direction": "higher"}, name="miou")
    drawn = resampled_qualities(frame, "miou_val", counts, n_resamples=50)
    generator = np.random.default_rng((0, 0))
    for values in drawn:
        examples = generator.integers(0, 30, 30, dtype=np.int32)
        for value, key in zip(values, ("a", "b"), strict=True):
            sums = by_run[key][examples].sum(0)[:3]
            assert value == pytest.approx((sums[:, 0] / sums[:, 1]).mean(), abs=1e-12)


def test_an_exponential_of_a_ratio_is_better_when_lower():
    generator = np.random.default_rng(0)
    tokens = generator.integers(5, 50, 200)
    nats = tokens * generator.normal(3.0, 0.2, 200)
    by_run = {key: np.stack([nats * more, tokens], axis=-1)[:, None] for key, more in (("a", 1), ("b", 1.01), ("c", 2))}
    counts = Counts(kind="exp_of_ratio", by_run=by_run)
    frame = tasks_frame(counts, {"unit": "", "direction": "lower"}, name="perplexity")
    curve = curve_of(frame, cost="size_bytes")
    drawn = resampled_losses(curve, counts, n_resamples=200)
    assert (drawn[:, 0] > drawn[:, 1]).all() and (drawn[:, 1] > 0).all() and (drawn[:, 2] == 0).all()
    assert np.allclose(drawn.mean(0), curve.losses, rtol=0.05)
    saturation = saturation_point(frame, counts=counts, tolerance=1.0)
    assert saturation.point["point"] == "prune=1" and saturation.interval == (900, 900)


def test_sums_beyond_float32_are_exact():
    # 2^24 + 1 has no float32: a ratio of 1 must stay 1, and the smallest difference must not vanish.
    large = np.full((3, 1, 2), 2**24 + 1)
    by_run = {"a": large, "b": large - [[[1, 0]]]}
    counts = Counts(kind="ratio", by_run=by_run)
    frame = tasks_frame(counts, {"unit": "points", "direction": "higher"}, name="overlap")
    drawn = resampled_qualities(frame, "overlap_val", counts, n_resamples=20)
    assert (drawn[:, 0] == 1).all() and (drawn[:, 1] == 2**24 / (2**24 + 1)).all()


def test_resamples_without_any_denominator_are_left_out():
    by_run = {key: np.array([[[1, 2]], [[0, 0]], [[0, 0]]]) for key in ("a", "b")}
    counts = Counts(kind="ratio", by_run=by_run)
    frame = tasks_frame(counts, {"unit": "points", "direction": "higher"}, name="overlap")
    curve = curve_of(frame, cost="size_bytes")
    assert np.nanmax(np.abs(resampled_qualities(frame, "overlap_val", counts, n_resamples=1000) - 0.5)) == 0
    drawn = resampled_losses(curve, counts, n_resamples=1000)
    assert (drawn == 0).all()
    assert len(drawn) == pytest.approx(1000 * (1 - (2 / 3) ** 3), abs=60)
    empty = next(seed for seed in range(50) if _misses_the_first(seed))
    with pytest.raises(ValueError, match="overlap_val is defined in no resample"):
        resampled_losses(curve, counts, n_resamples=1, seed=empty)


def _misses_the_first(seed):
    return 0 not in np.random.default_rng((seed, 0)).integers(0, 3, 3, dtype=np.int32)
