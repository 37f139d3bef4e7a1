import numpy as np
import pytest

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.choice import candidates, outcome_of, problem_of, rival_of
from tests.analysis.conftest import runs_of

POINTS = [("reference", 100, 0.9), ("a=1", 50, 0.89), ("a=2", 49.9, 0.87), ("a=3", 20, 0.5)]


@pytest.fixture
def on():
    return curve_of(runs_of(POINTS), cost="size_bytes")


def test_outcomes_of_rows(on):
    points = np.flatnonzero(candidates(on, 0.02))
    assert [on.labels[row] for row in points] == ["a=3", "a=2", "a=1"]
    labels = {label: outcome_of(on, on.labels.index(label), points) for label in on.labels}
    assert {label: choice.outcome for label, choice in labels.items()} == {
        "reference": "nothing",
        "a=1": "chosen",
        "a=2": "chosen",
        "a=3": "not reached",
    }
    assert on.labels[labels["reference"].rival] == "a=1"  # the best of what is cheaper


def test_a_rival_is_cheaper_by_more_than_bytes_jitter(on):
    assert on.labels[rival_of(on, on.labels.index("a=1"), np.arange(4))] == "a=3"
    assert rival_of(on, 0, np.arange(4)) is None


def test_problems(on):
    assert problem_of(on, 0.02) == ""
    assert problem_of(curve_of(runs_of(POINTS[:1]), cost="size_bytes"), 0.02) == "2 points are needed, there is 1"
