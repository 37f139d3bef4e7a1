import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from effbench.analysis import Counts, Saturation, saturation_point

QUICK = settings(max_examples=60, deadline=None)
TOLERANCES = st.sampled_from([0.0, 0.01, 0.02, 0.05, 0.1, 0.3])
CURVES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), min_size=2, max_size=15).map(
    lambda rows: pd.DataFrame({"cost": [c for c, _ in rows], "score": [q / 100 for _, q in rows]})
)


def saturate(frame, **options):
    return saturation_point(frame, cost="cost", quality="score", **options)


def reference_of(frame):
    most_expensive = frame[frame["cost"] == frame["cost"].max()]
    return most_expensive.loc[most_expensive["score"].idxmax()]


@QUICK
@given(CURVES, TOLERANCES)
def test_the_chosen_point_is_acceptable_and_nothing_cheaper_is(frame, tolerance):
    saturation = saturate(frame, tolerance=tolerance)
    acceptable = frame[frame["score"] >= reference_of(frame)["score"] - tolerance - 1e-9]
    if saturation.point is None:
        assert acceptable["cost"].min() == frame["cost"].min()
    else:
        assert saturation.point["cost"] == acceptable["cost"].min()
        assert saturation.point["score"] == acceptable[acceptable["cost"] == saturation.point["cost"]]["score"].max()


@pytest.mark.extended
@QUICK
@given(CURVES, TOLERANCES, st.sampled_from(["tolerance", "kneedle"]), st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_rows(frame, tolerance, method, random):
    options = {"tolerance": tolerance} if method == "tolerance" else {}
    order = list(range(len(frame)))
    random.shuffle(order)
    saturation, shuffled = (saturate(f, method=method, **options) for f in (frame, frame.iloc[order]))
    assert saturation.reason == shuffled.reason
    assert (saturation.point is None) == (shuffled.point is None)
    assert saturation.point is None or saturation.point.equals(shuffled.point)


@QUICK
@given(CURVES, st.sampled_from(["tolerance", "kneedle"]), st.sampled_from([2.0**-10, 0.5, 4.0, 2.0**20]))
def test_the_unit_of_the_cost_does_not_matter(frame, method, unit):
    saturation, scaled = (saturate(frame.assign(cost=frame["cost"] * u), method=method) for u in (1.0, unit))
    assert (saturation.point is None) == (scaled.point is None)
    if saturation.point is not None:
        assert scaled.point["cost"] == saturation.point["cost"] * unit
        assert scaled.point["score"] == saturation.point["score"]


@pytest.mark.extended
@QUICK
@given(CURVES, TOLERANCES, TOLERANCES)
def test_a_tighter_tolerance_never_gives_a_cheaper_point(frame, tighter, looser):
    assume(tighter < looser)
    answers = [saturate(frame, tolerance=tolerance) for tolerance in (tighter, looser)]
    cheapest = frame["cost"].min()  # where a curve is not reached, its cheapest point is acceptable
    costs = [cheapest if answer.point is None else answer.point["cost"] for answer in answers]
    assert costs[0] >= costs[1]


def test_hand_computed(runs):
    saturation = saturation_point(runs)
    assert isinstance(saturation, Saturation)
    assert saturation.point["point"] == "prune=0.5"
    assert (saturation.cost, saturation.quality, saturation.method) == ("size_bytes", "accuracy_val", "tolerance")
    assert saturation.reason == "prune=0.5 loses 0.8 points; the next cheaper, prune=0.9, loses 6.3 points"
    assert saturation.interval is None


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
    saturation = saturation_point(runs, tolerance=0.07)
    assert saturation.point is None
    assert saturation.reason == (
        "not reached: the cheapest, prune=0.9, at 0.15× the bytes, loses 6.3 points (test: loses 6.5): still within 7; "
        "sweep further"
    )


def test_only_the_reference_is_acceptable(runs):
    saturation = saturation_point(runs.assign(accuracy_val=[0.5, 0.96, 0.9, 0.8]))
    assert saturation.point["point"] == "reference"
    assert saturation.reason == (
        "nothing cheaper than the reference stays within 2 points: already prune=0.1 loses 6.0 points"
    )


def test_a_reference_that_is_the_cheapest_point(runs):
    saturation = saturation_point(runs.assign(size_bytes=[9, 1, 9, 8]))
    assert saturation.point is None
    assert "no point is cheaper than the reference" in saturation.reason


def test_points_that_cost_more_than_the_reference_do_not_count_as_savings(runs):
    frame = runs.assign(size_bytes=[1, 2, 3, 4], accuracy_val=[0.5, 0.9, 0.99, 0.95])
    assert saturation_point(frame).point["point"] == "reference"


@pytest.mark.parametrize(("method", "n_rows"), [("tolerance", 0), ("tolerance", 1), ("kneedle", 0), ("kneedle", 1)])
def test_too_few_points(runs, method, n_rows):
    saturation = saturation_point(runs.iloc[:n_rows], method=method)
    assert saturation.point is None
    assert "are needed" in saturation.reason


def test_the_smallest_frame():
    assert saturate(pd.DataFrame({"cost": [1.0, 2.0], "score": [0.1, 0.9]})).point["cost"] == 2.0


def test_a_quality_that_is_no_fraction_is_written_in_its_own_unit():
    saturation = saturate(pd.DataFrame({"cost": [1, 2, 3], "score": [20.0, 31.5, 32.0]}), tolerance=1.0)
    assert saturation.reason == "cost=2 loses 0.5 of score; the next cheaper, cost=1, loses 12.0 of score"


def test_unknown_names_are_refused(runs):
    with pytest.raises(
        ValueError,
        match=r"unknown method 'elbow'; there are .'kneedle', 'marginal', 'price', 'tolerance', 'tolerance_bound'.",
    ):
        saturation_point(runs, method="elbow")
    with pytest.raises(ValueError, match=r"no option 'sensitivity'; it takes \['tolerance'\]"):
        saturation_point(runs, sensitivity=1.0)
    with pytest.raises(ValueError, match=r"no option 'tolerance'; it takes \['sensitivity', 'cost_axis'\]"):
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


@pytest.mark.extended
@QUICK
@given(CURVES, TOLERANCES, st.sampled_from(["tolerance", "kneedle"]))
def test_lower_is_better_gives_the_same_choice_as_its_mirror_image(frame, tolerance, method):
    options = {"tolerance": tolerance} if method == "tolerance" else {}
    lower = frame.assign(
        error_val=-frame["score"],
        quality_name="error",
        quality_kind="exp_of_ratio",
        quality_direction="lower",
    )
    saturation = saturation_point(lower, cost="cost", method=method, **options)
    mirrored = saturate(frame, method=method, **options)
    assert (saturation.quality, saturation.point is None) == ("error_val", mirrored.point is None)
    if mirrored.point is not None:
        assert (saturation.point["cost"], saturation.point["error_val"]) == (
            mirrored.point["cost"],
            -mirrored.point["score"],
        )


def test_differences_are_said_in_the_unit_of_the_quality(segmented, language):
    assert saturation_point(segmented).reason == (
        "prune=0.5 loses 0.8 mIoU points; the next cheaper, prune=0.9, loses 6.3 mIoU points"
    )
    assert saturation_point(language, tolerance=0.5).reason == (
        "prune=0.5 loses 0.3 nats; the next cheaper, prune=0.9, loses 9.0 nats"
    )
    plain = language.assign(quality_unit="")
    assert saturation_point(plain, tolerance=0.5).reason == (
        "prune=0.5 loses 0.3; the next cheaper, prune=0.9, loses 9.0"
    )


def test_runs_of_several_qualities_are_refused(segmented, runs):
    mixed = pd.concat([segmented, runs.assign(quality_name="accuracy")])
    with pytest.raises(ValueError, match="the frame mixes the qualities accuracy, miou: select the runs of one"):
        saturation_point(mixed)


def test_a_csv_read_as_text_gives_the_same_answer(runs, tmp_path):
    runs.to_csv(tmp_path / "runs.csv", index=False)
    for options in ({}, {"dtype": object}):
        saturation = saturation_point(pd.read_csv(tmp_path / "runs.csv", **options))
        assert saturation.reason == saturation_point(runs).reason
        assert float(saturation.point["accuracy_val"]) == 0.952


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
    saturation = saturation_point(frame, cost="latency_ms/eager")
    assert saturation.point is not None and saturation.point["point"] == "reference"
    assert "nothing cheaper" in saturation.reason and "alpha=0.5 loses 10.4" in saturation.reason
    slower = frame[frame["point"] != "alpha=0.5"]
    assert saturation_point(slower, cost="latency_ms/eager").point is None
    # What is counted does not jitter: there 3 % is a saving, and 1 % is no aim.
    counted = frame.rename(columns={"latency_ms/eager": "macs"})
    assert saturation_point(counted, cost="macs").point["point"] == "reference"
    exact = saturation_point(counted.assign(macs=[0.400, 0.388, 0.213]), cost="macs").point
    assert exact is not None and exact["point"] == "prune=0.5"


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("tolerance", {"tolerance": "0.02"}),
        ("tolerance", {"tolerance": True}),
        ("tolerance_bound", {"tolerance": None}),
        ("kneedle", {"sensitivity": "x"}),
        ("marginal", {"rate": None}),
        ("price", {"price": "1"}),
    ],
)
def test_options_that_are_no_numbers_are_named(runs, method, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be a finite number"):
        saturation_point(runs, method=method, **options)


def test_a_test_accuracy_that_is_not_known_costs_nothing_else(seeded):
    runs = seeded.assign(run_key=[f"k{n}" for n in range(len(seeded))]).reset_index(drop=True)
    right = {key: np.arange(1000) < round(1000 * q) for key, q in zip(runs["run_key"], runs["accuracy"], strict=True)}
    runs.loc[(runs["point"] == "prune=0.9") & (runs["seed"] == 1), "accuracy"] = np.nan
    known = saturation_point(runs, cost="size_bytes", test_counts=Counts.of_correct(right))
    assert known.point["point"] == "prune=0.5" and known.test_loss_interval is not None


def test_sentences_of_definitions_in_other_units(language):
    for method, options, said in (
        ("price", {"price": 20_000.0}, "where 1 nats is worth 20 KB"),
        ("marginal", {"rate": 0.5}, "a doubling of the bytes"),
    ):
        assert said in saturation_point(language, cost="size_bytes", method=method, **options).reason
