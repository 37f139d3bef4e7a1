import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from effbench.analysis import Saturation, saturation_point

QUICK = settings(max_examples=60, deadline=None)
TOLERANCES = st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.1, 0.3])
CURVES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), min_size=2, max_size=15).map(
    lambda rows: pd.DataFrame({"cost": [c for c, _ in rows], "score": [q / 100 for _, q in rows]})
)


def saturate(frame, **options):
    return saturation_point(frame, cost="cost", quality="score", **options)


def reference_of(frame):
    dearest = frame[frame["cost"] == frame["cost"].max()]
    return dearest.loc[dearest["score"].idxmax()]


@QUICK
@given(CURVES, TOLERANCES)
def test_the_chosen_point_is_acceptable_and_nothing_cheaper_is(frame, tolerance):
    found = saturate(frame, tolerance=tolerance)
    acceptable = frame[frame["score"] >= reference_of(frame)["score"] - tolerance - 1e-9]
    if found.point is None:
        assert acceptable["cost"].min() == frame["cost"].min()
    else:
        assert found.point["cost"] == acceptable["cost"].min()
        assert found.point["score"] == acceptable[acceptable["cost"] == found.point["cost"]]["score"].max()


@QUICK
@given(CURVES, TOLERANCES, st.sampled_from(["tolerance", "kneedle"]), st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_rows(frame, tolerance, method, random):
    options = {"tolerance": tolerance} if method == "tolerance" else {}
    order = list(range(len(frame)))
    random.shuffle(order)
    found, shuffled = (saturate(f, method=method, **options) for f in (frame, frame.iloc[order]))
    assert found.reason == shuffled.reason
    assert (found.point is None) == (shuffled.point is None)
    assert found.point is None or found.point.equals(shuffled.point)


@QUICK
@given(CURVES, st.sampled_from(["tolerance", "kneedle"]), st.sampled_from([2.0**-10, 0.5, 4.0, 2.0**20]))
def test_the_unit_of_the_cost_does_not_matter(frame, method, unit):
    found, scaled = (saturate(frame.assign(cost=frame["cost"] * u), method=method) for u in (1.0, unit))
    assert (found.point is None) == (scaled.point is None)
    if found.point is not None:
        assert scaled.point["cost"] == found.point["cost"] * unit
        assert scaled.point["score"] == found.point["score"]


@QUICK
@given(CURVES, TOLERANCES, TOLERANCES)
def test_a_tighter_tolerance_never_gives_a_cheaper_point(frame, one, other):
    assume(one < other)
    tight, loose = (saturate(frame, tolerance=tolerance) for tolerance in (one, other))
    cheapest = frame["cost"].min()  # where a curve is not reached, its cheapest point is acceptable
    costs = [cheapest if found.point is None else found.point["cost"] for found in (tight, loose)]
    assert costs[0] >= costs[1]


def test_hand_computed(runs):
    found = saturation_point(runs)
    assert isinstance(found, Saturation)
    assert found.point["point"] == "prune=0.5"
    assert (found.cost, found.quality, found.method) == ("size_bytes", "accuracy_val", "tolerance")
    assert found.reason == "prune=0.5 loses 0.8 points; the next cheaper, prune=0.9, loses 6.3 points"
    assert found.interval is None


def test_seeds_are_averaged(runs, seeded):
    assert saturation_point(seeded).point["point"] == "prune=0.5"
    assert saturation_point(seeded).reason == saturation_point(runs).reason


@pytest.mark.parametrize("reference", [0.95, 0.9, 0.61, 0.3])
def test_the_tolerance_is_inclusive_in_spite_of_round_off(reference):
    frame = pd.DataFrame({"cost": [3, 2, 1], "score": [reference, round(reference - 0.02, 2), 0.0]})
    assert saturate(frame).point["cost"] == 2
    assert saturate(frame.assign(score=[reference, reference - 0.0201, 0.0])).point["cost"] == 3


def test_the_last_acceptable_not_the_one_before_the_first_bad():
    frame = pd.DataFrame({"cost": [1, 2, 3, 4, 5], "score": [0.5, 0.94, 0.7, 0.95, 0.95]})
    assert saturate(frame).point["cost"] == 2


def test_not_reached(runs):
    found = saturation_point(runs, tolerance=0.07)
    assert found.point is None
    assert found.reason == "not reached: even prune=0.9 stays within 7 points; sweep further"


def test_only_the_reference_is_acceptable(runs):
    found = saturation_point(runs.assign(accuracy_val=[0.5, 0.96, 0.9, 0.8]))
    assert found.point["point"] == "reference"
    assert found.reason == (
        "nothing cheaper than the reference stays within 2 points: already prune=0.1 loses 6.0 points"
    )


def test_a_reference_that_is_the_cheapest_point(runs):
    found = saturation_point(runs.assign(size_bytes=[9, 1, 9, 8]))
    assert found.point is None
    assert "no point is cheaper than the reference" in found.reason


def test_points_dearer_than_the_reference_do_not_count_as_savings(runs):
    frame = runs.assign(size_bytes=[1, 2, 3, 4], accuracy_val=[0.5, 0.9, 0.99, 0.95])
    assert saturation_point(frame).point["point"] == "reference"


def test_the_most_accurate_of_several_references_counts(runs):
    weak = runs.assign(model="weak", accuracy_val=runs["accuracy_val"] - 0.05, size_bytes=runs["size_bytes"] // 10)
    found = saturation_point(pd.concat([weak, runs]))
    assert (found.point["point"], found.point["model"]) == ("prune=0.5", "small_cnn")


def test_a_frame_that_lost_its_reference_says_which_row_stands_in(runs):
    found = saturation_point(runs[~runs["reference"]])
    assert "no row is marked as the reference: prune=0.1, the most expensive, stands in" in found.reason


@pytest.mark.parametrize(("method", "n_rows"), [("tolerance", 0), ("tolerance", 1), ("kneedle", 0), ("kneedle", 1)])
def test_too_few_points(runs, method, n_rows):
    found = saturation_point(runs.iloc[:n_rows], method=method)
    assert found.point is None
    assert "are needed" in found.reason


def test_the_smallest_frame():
    assert saturate(pd.DataFrame({"cost": [1.0, 2.0], "score": [0.1, 0.9]})).point["cost"] == 2.0


def test_a_quality_that_is_no_fraction_is_written_in_its_own_unit():
    found = saturate(pd.DataFrame({"cost": [1, 2, 3], "score": [20.0, 31.5, 32.0]}), tolerance=1.0)
    assert found.reason == "cost=2 loses 0.5 of score; the next cheaper, cost=1, loses 12.0 of score"


def test_knee_of_a_bent_curve():
    x = np.linspace(0, 1, 11)
    frame = pd.DataFrame({"cost": x, "score": 1 - np.exp(-x / 0.15)}).sample(frac=1, random_state=1)
    found = saturate(frame, method="kneedle")
    assert found.point["cost"] == pytest.approx(0.3, abs=0.11)
    assert "knee of the front of 11 points" in found.reason


def test_a_knee_at_cost_zero_is_not_mistaken_for_none():
    frame = pd.DataFrame({"cost": [-1.0, 0.0, 1.0, 2.0, 3.0], "score": [0.0, 0.9, 0.93, 0.96, 1.0]})
    assert saturate(frame, method="kneedle").point["cost"] == 0.0


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.arange(1, 7) / 10, "straight line"),
        (np.arange(1, 7) ** 2 / 40, "straight line"),
        (np.ones(6), "3 points are needed on the front for a knee, it has 1"),
        (np.r_[0.5, np.ones(5)], "it has 2"),
    ],
)
def test_curves_without_a_knee(scores, reason):
    found = saturate(pd.DataFrame({"cost": np.arange(1.0, 7.0), "score": scores}), method="kneedle")
    assert found.point is None
    assert reason in found.reason


def test_a_curve_that_bends_too_little_for_the_sensitivity():
    frame = pd.DataFrame({"cost": [0.0, 1.0, 2.0, 3.0], "score": [0.0, 0.4, 0.7, 1.0]})
    found = saturate(frame, method="kneedle", sensitivity=50)
    assert found.point is None
    assert "bends too little for sensitivity 50" in found.reason


def test_unknown_names_are_refused(runs):
    with pytest.raises(ValueError, match=r"unknown method 'elbow'; there are \['kneedle', 'tolerance'\]"):
        saturation_point(runs, method="elbow")
    with pytest.raises(ValueError, match=r"no option 'sensitivity'; it takes \['tolerance'\]"):
        saturation_point(runs, sensitivity=1.0)
    with pytest.raises(ValueError, match=r"no option 'tolerance'; it takes \['sensitivity'\]"):
        saturation_point(runs, method="kneedle", tolerance=0.02)
    with pytest.raises(
        ValueError, match=r"no cost column 'bytes'; the frame has .*'size_bytes', 'macs_effective', 'macs'"
    ):
        saturation_point(runs, cost="bytes")


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_options_out_of_range_are_refused(runs, value):
    with pytest.raises(ValueError, match="tolerance must be"):
        saturation_point(runs, tolerance=value)
    with pytest.raises(ValueError, match="sensitivity must be"):
        saturation_point(runs, method="kneedle", sensitivity=value)


def test_a_csv_read_as_text_gives_the_same_answer(runs, tmp_path):
    runs.to_csv(tmp_path / "runs.csv", index=False)
    for options in ({}, {"dtype": object}):
        found = saturation_point(pd.read_csv(tmp_path / "runs.csv", **options))
        assert found.reason == saturation_point(runs).reason
        assert float(found.point["accuracy_val"]) == 0.952


def test_a_saturation_is_frozen_and_says_why(runs):
    with pytest.raises(dataclasses.FrozenInstanceError):
        saturation_point(runs).reason = ""
    with pytest.raises(AssertionError):
        Saturation(point=None, reason="", method="tolerance", cost="macs", quality="accuracy_val")


def test_a_latency_within_its_jitter_of_the_reference_saves_nothing():
    frame = pd.DataFrame(
        {
            "point": ["reference", "prune=0.5", "alpha=0.5"],
            "reference": [True, False, False],
            "latency_ms/eager": [0.400, 0.396, 0.213],
            "accuracy_val": [0.709, 0.704, 0.605],
        }
    )
    found = saturation_point(frame, cost="latency_ms/eager")
    assert found.point is not None and found.point["point"] == "reference"
    assert "nothing cheaper" in found.reason and "alpha=0.5 loses 10.4" in found.reason
    slower = frame[frame["point"] != "alpha=0.5"]
    assert saturation_point(slower, cost="latency_ms/eager").point is None
    # Multiply-adds are counted exactly: there 1 % is a saving.
    counted = frame.rename(columns={"latency_ms/eager": "macs"})
    exact = saturation_point(counted, cost="macs").point
    assert exact is not None and exact["point"] == "prune=0.5"
