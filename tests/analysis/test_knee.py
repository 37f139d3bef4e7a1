import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis.curve import curve_of
from effbench.analysis.knee import knee_row
from effbench.analysis.pareto import front_rows


def knee_of(frame, **options):
    curve = curve_of(frame, cost="cost", quality="score")
    row, reason = knee_row(curve, **options)
    return None if row is None else curve.points.iloc[row], reason


def test_knee_of_a_bent_curve():
    x = np.linspace(0, 1, 11)
    frame = pd.DataFrame({"cost": x, "score": 1 - np.exp(-x / 0.15)}).sample(frac=1, random_state=1)
    row, reason = knee_of(frame)
    assert row["cost"] == pytest.approx(0.3, abs=0.11)
    assert "knee of the front of 11 points" in reason


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), min_size=1, max_size=15))
def test_a_knee_is_on_the_front_above_the_line_between_its_ends(rows):
    frame = pd.DataFrame({"cost": [c for c, _ in rows], "score": [q / 100 for _, q in rows]})
    curve = curve_of(frame, cost="cost", quality="score")
    row, _ = knee_row(curve)
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
