from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis import saturation_point
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.definitions.knee import Kneedle
from effbench.analysis.definitions.reasons import reason_of
from tests.analysis.conftest import runs_of


def knee_of(frame, **options):
    curve = curve_of(frame, cost="cost", quality="score")
    method = Kneedle(**options)
    choice = method.choose(curve)
    return None if choice.row is None else curve.points.iloc[choice.row], reason_of(curve, choice, method, None)


def test_knee_of_a_bent_curve():
    x = np.linspace(0, 1, 11)
    frame = pd.DataFrame({"cost": x, "score": 1 - np.exp(-x / 0.15)}).sample(frac=1, random_state=1)
    row, reason = knee_of(frame)
    assert row["cost"] == pytest.approx(0.3, abs=0.11)
    assert reason == "cost=0.3 is the knee of the front"


def test_a_knee_at_cost_zero_is_not_mistaken_for_none():
    frame = pd.DataFrame({"cost": [-1.0, 0.0, 1.0, 2.0, 3.0], "score": [0.0, 0.9, 0.93, 0.96, 1.0]})
    assert knee_of(frame)[0]["cost"] == 0.0


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
    row, answer = knee_of(pd.DataFrame({"cost": np.arange(1.0, 7.0), "score": scores}))
    assert row is None
    assert reason in answer


def test_a_curve_that_bends_too_little_for_the_sensitivity():
    frame = pd.DataFrame({"cost": [0.0, 1.0, 2.0, 3.0], "score": [0.0, 0.4, 0.7, 1.0]})
    row, answer = knee_of(frame, sensitivity=50)
    assert row is None
    assert "bends too little for sensitivity 50" in answer


def test_the_knee_of_the_papers_worked_example():
    # Satopaa et al. 2011, figure 2: ten points of 5 - 1 / (x + 0.1) from 0 to 1, whose knee is 0.22.
    x = np.linspace(0, 1, 10)
    frame = pd.DataFrame({"cost": x, "score": 5 - 1 / (x + 0.1)})
    row, reason = knee_of(frame)
    assert row["cost"] == pytest.approx(2 / 9)
    # Over the logarithm of another cost, which is that of this one, it is the same point.
    again, other = knee_of(frame.assign(cost=2.0**x), cost_axis="log")
    assert again["cost"] == pytest.approx(2 ** (2 / 9))
    assert other.split(" is ")[1] == reason.split(" is ")[1] + " over the logarithm of the cost"


def test_the_knee_of_a_normal_distribution_is_where_it_is_as_steep_as_the_chord():
    # Ibid., section IV, of mean 50 and deviation 10: the density is 1 / 70 at 50 + 14.3.
    x = np.arange(20.0, 90.0, 1.0)
    frame = pd.DataFrame({"cost": x, "score": [NormalDist(50, 10).cdf(value) for value in x]})
    assert knee_of(frame)[0]["cost"] == pytest.approx(64.3, abs=0.5)


@pytest.mark.parametrize("cost_axis", ["linear", "log"])
def test_the_best_point_may_be_the_knee_where_the_reference_is_dearer(cost_axis):
    points = [("reference", 1000, 0.94), ("a=1", 500, 0.941), ("a=2", 250, 0.95), ("a=3", 125, 0.7), ("a=4", 62, 0.4)]
    found = saturation_point(runs_of(points, seeds=(0,)), method="kneedle", cost_axis=cost_axis)
    assert found.point["point"] == "a=2"


def test_a_cost_without_a_logarithm_has_no_logarithmic_axis():
    frame = pd.DataFrame({"cost": [0.0, 1.0, 2.0, 3.0], "score": [0.0, 0.9, 0.95, 1.0]})
    assert knee_of(frame, cost_axis="log") == (None, "cost is not above 0 everywhere: it has no logarithm")
    with pytest.raises(ValueError, match="cost_axis=square: must be linear or log"):
        Kneedle(cost_axis="square")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), min_size=1, max_size=15))
def test_a_knee_is_on_the_front_above_the_line_between_its_ends(rows):
    frame = pd.DataFrame({"cost": [c for c, _ in rows], "score": [q / 100 for _, q in rows]})
    curve = curve_of(frame, cost="cost", quality="score")
    row = Kneedle().choose(curve).row
    if row is None:
        return
    front = front_rows(curve)
    assert row in front
    first, last = front[0], front[-1]
    slope = (curve.qualities[last] - curve.qualities[first]) / (curve.costs[last] - curve.costs[first])
    assert curve.qualities[row] > curve.qualities[first] + slope * (curve.costs[row] - curve.costs[first])


@pytest.mark.parametrize("sensitivity", [-1.0, np.nan, np.inf])
def test_a_sensitivity_out_of_range_is_refused(sensitivity):
    with pytest.raises(ValueError, match="sensitivity must be a finite number of at least 0"):
        knee_of(pd.DataFrame({"cost": [1, 2, 3], "score": [0.1, 0.8, 0.9]}), sensitivity=sensitivity)
