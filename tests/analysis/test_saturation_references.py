"""Saturation points by what they are compared with: own references, the seeds of both, nothing."""

import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Counts, saturation_point
from tests.analysis.conftest import runs_of


def test_each_network_has_its_own_answer(runs):
    weak = runs.assign(model="weak", accuracy_val=runs["accuracy_val"] - 0.05, size_bytes=runs["size_bytes"] // 10)
    both = pd.concat([weak, runs])
    for model, size in (("weak", 16_400), ("small_cnn", 164_000)):
        saturation = saturation_point(both, model=model)
        assert (saturation.point["point"], saturation.point["model"]) == ("prune=0.5", model)
        assert saturation.point["size_bytes"] == size
    for method in ("tolerance", "kneedle"):
        with pytest.raises(ValueError, match="2 groups"):
            saturation_point(both, method=method)


def test_each_point_is_compared_with_its_own_reference(runs):
    keyed = runs.assign(run_key=list("abcd"), reference_key="b")
    recipe = keyed.assign(
        point="recipe=poor, " + keyed["point"],
        run_key=list("wxyz"),
        reference_key="x",
        accuracy_val=[0.87, 0.89, 0.88, 0.80],
        size_bytes=[55_000, 390_000, 300_000, 100_000],
    )
    saturation = saturation_point(pd.concat([keyed, recipe]))
    assert saturation.point is None  # recipe=poor, prune=0.9 loses 2 points against recipe=poor, reference
    assert "its reference has 89.0 %, reference 96.0 %" in saturation.reason
    dead = pd.concat([keyed, recipe]).assign(
        quality_name="accuracy", quality_kind="ratio", quality_direction="higher", quality_chance=0.888
    )
    assert saturation_point(dead).point["point"] == "prune=0.5"  # the poor reference learned nothing


def test_a_reference_that_learned_nothing_with_one_seed_has_no_answer(seeded):
    frame = seeded.assign(quality_name="accuracy", quality_kind="ratio", quality_direction="higher", quality_chance=0.1)
    assert saturation_point(frame).point is not None
    frame.loc[frame["reference"] & (frame["seed"] == 1), "accuracy_val"] = 0.099
    saturation = saturation_point(frame)
    assert (saturation.point, saturation.reason) == (
        None,
        "the reference learned nothing with seed 1 (9.9 % where chance is 10.0 %): leave it out",
    )
    assert saturation_point(frame[frame["seed"] != 1]).point is not None


@pytest.mark.parametrize("n_points", [1, 2, 3, 5])
def test_seeds_exactly_at_chance_are_found_however_many_rows_there_are(n_points):
    """Chance is the mean of as many equal numbers: it is that number, and not a bit less."""
    labels = ["reference", *(f"prune=0.{digit}" for digit in range(1, n_points + 1))]
    frame = pd.DataFrame(
        [
            {"point": label, "seed": seed, "reference": label == "reference", "size_bytes": 400 - 50 * number}
            | {"accuracy_val": 0.1 if seed < 2 and label == "reference" else 0.9}
            for number, label in enumerate(labels)
            for seed in (0, 1, 2)
        ]
    ).assign(quality_name="accuracy", quality_kind="ratio", quality_direction="higher", quality_chance=0.1)
    for rows in (frame, frame.iloc[::-1]):
        saturation = saturation_point(rows)
        assert saturation.point is None
        assert saturation.reason == (
            "the reference learned nothing with seeds 0 and 1 (10.0 %, as by chance): leave them out"
        )


def test_a_seed_within_the_tolerance_of_chance_is_named_too(seeded):
    frame = seeded.assign(quality_name="accuracy", quality_kind="ratio", quality_direction="higher", quality_chance=0.1)
    frame.loc[frame["reference"] & (frame["seed"] == 2), "accuracy_val"] = 0.112
    assert "hardly anything, 2 or less with seed 2 (11.2 % where chance is 10.0 %)" in saturation_point(frame).reason
    unknown = frame.assign(seed=float("nan"))
    assert "seed" not in saturation_point(unknown).reason


def test_a_seed_that_failed_makes_no_point_better(lucky):
    saturation = saturation_point(lucky)
    assert saturation.point["point"] == "prune=0.5"
    assert saturation.reason == (
        "prune=0.5 loses 1.0 points; the next cheaper, prune=0.9 (2 of 3 seeds), loses 3.0 points"
    )


def test_named_controls_are_no_candidates(runs):
    control = runs.iloc[[1]].assign(point="distill=0.9", reference=False, size_bytes=10, accuracy_val=0.99)
    frame = pd.concat([runs.assign(control=False), control.assign(control=True)])
    for method in ("tolerance", "kneedle"):
        assert saturation_point(frame, method=method).reason == saturation_point(runs, method=method).reason


def test_an_interval_is_known_where_a_curve_is_not_reached():
    accuracies = {"reference": 0.95, "prune=1": 0.932}
    frame = runs_of(
        [(label, 100 - 50 * (label != "reference"), value) for label, value in accuracies.items()], seeds=(0,)
    )
    right = {
        key: np.arange(500) < 500 * value for key, value in zip(frame["run_key"], accuracies.values(), strict=True)
    }
    saturation = saturation_point(frame, counts=Counts.of_correct(right))
    assert saturation.point is None and saturation.interval == (50, 100)


def test_a_frame_that_lost_its_reference_says_which_row_stands_in(runs):
    saturation = saturation_point(runs[~runs["reference"]])
    assert "no row is marked as the reference: prune=0.1, the most expensive, stands in" in saturation.reason


@pytest.mark.extended
def test_a_reference_that_learned_nothing_has_no_saturation_point(segmented, language):
    reason = "the reference learned hardly anything, 2 mIoU points or less (96.0 % where chance is 94.5 %)"
    saturation = saturation_point(segmented.assign(quality_chance=0.945))
    assert (saturation.point, saturation.reason) == (None, reason)
    assert saturation_point(segmented.assign(quality_chance=0.93)).point is not None
    assert saturation_point(segmented.assign(quality_chance=0.945), tolerance=0.01).point is not None
    worse = saturation_point(language.assign(quality_chance=20.5), tolerance=0.5)
    assert worse.point is None and worse.reason == "the reference learned nothing (21.0 where chance is 20.5)"
    knee = saturation_point(segmented.assign(quality_chance=0.97), method="kneedle")
    assert knee.point is None and knee.reason == "the reference learned nothing (96.0 % where chance is 97.0 %)"
