import numpy as np
import pytest

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.choice import NO_ROW
from effbench.analysis.uncertainty.firmness import firmness_of, what_is_covered
from tests.analysis.conftest import runs_of


class Chosen:
    """A method whose choices are known."""

    def __init__(self, rows):
        self._rows = np.asarray(rows)

    def looked_at(self, curve, drawn):
        return drawn

    def rows(self, curve, losses):
        return self._rows


POINTS = [("reference", 100, 0.9), ("a=1", 50, 0.89), ("a=2", 20, 0.5)]


def test_shares_the_interval_and_the_loss():
    on = curve_of(runs_of(POINTS), cost="size_bytes")
    rows = np.repeat([1, 0, 2], [70, 20, 10])
    drawn = np.c_[np.full(100, 0.4), np.linspace(0, 0.02, 100), np.zeros(100)]
    firm = firmness_of(on, 1, Chosen(rows), drawn)
    assert firm.shares == {"a=1": 0.7, "a=2": 0.2, "reference": 0.1}
    assert list(firm.shares) == ["a=1", "a=2", "reference"]
    assert firm.is_stable and firm.interval == (20, 100)
    assert firm.loss == pytest.approx((0.0004, 0.0196), abs=2e-4)


def test_no_point_is_a_share_of_its_own():
    on = curve_of(runs_of(POINTS), cost="size_bytes")
    drawn = np.zeros((10, 3))
    few = firmness_of(on, 1, Chosen([1] * 4 + [2] * 4 + [NO_ROW] * 2), drawn)
    assert few.shares == {"a=1": 0.4, "reference": 0.4, "none": 0.2} and not few.is_stable
    assert few.interval == (50, 100)
    none = firmness_of(on, None, Chosen([1] * 4 + [NO_ROW] * 6), drawn)
    assert none.interval is None and none.loss is None and none.shares["none"] == 0.6
    assert not none.is_stable  # that most find nothing makes no point firm


def test_what_is_covered_is_said():
    three = runs_of(POINTS)
    said = {
        "one": three[three["seed"] == 0],
        "three": three,
        "fewer": three.drop(index=three.index[-1]),
        "unknown": three.drop(columns=["seed", "reference_key"]),
    }
    assert {name: what_is_covered(curve_of(frame, cost="size_bytes")) for name, frame in said.items()} == {
        "one": "examples only, 1 seed",
        "three": "3 seeds",
        "fewer": "2 to 3 seeds",
        "unknown": "examples only, seeds unknown",
    }
