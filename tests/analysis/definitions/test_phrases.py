import pandas as pd
import pytest

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.phrases import (
    cheapest_is_acceptable,
    cheapest_is_acceptable_in_short,
    loss_and_test,
    nothing_is_acceptable,
    remarks,
    saving,
)
from effbench.analysis.definitions.tolerance import Tolerance
from tests.analysis.conftest import runs_of


def curve(frame, **options):
    return curve_of(frame, **{"cost": "size_bytes", **options})


def test_losses_on_both_splits(runs):
    assert loss_and_test(curve(runs), 1) == "loses 0.8; test: loses 0.9"
    told = loss_and_test(curve(runs), 1, most="1.4", test=(0.005, 0.013))
    assert told == "loses 0.8, at most 1.4; test: loses 0.9 ± 0.4"
    assert loss_and_test(curve(runs, quality="accuracy"), 1) == "loses 0.9"


def test_what_is_not_reached_says_what_the_cheapest_point_is_worth(runs):
    text = cheapest_is_acceptable(curve(runs), 0, 0.1, firmness=" (firm)")
    assert text == (
        "not reached: the cheapest, prune=0.9, at 0.15× the bytes (firm), loses 6.3 points (test: loses 6.5): still "
        "within 10; sweep further"
    )
    assert cheapest_is_acceptable_in_short(curve(runs), 0, 0.1) == (
        "not reached: even prune=0.9 stays within 10 points; sweep further"
    )


def test_nobody_is_sent_further_where_a_point_failed(runs):
    runs.attrs["failed"] = [{"point": "prune=0.99", "seed": 0}]
    for phrase in (cheapest_is_acceptable, cheapest_is_acceptable_in_short):
        assert "sweep further" not in phrase(curve(runs), 0, 0.1)
    assert remarks(curve(runs)) == ["prune=0.99 failed"]


@pytest.mark.parametrize(
    ("label", "is_further"), [("pooling=early", False), ("recipe=a, prune=0.9", True), ("x", True)]
)
def test_nobody_is_sent_beyond_a_category(runs, label, is_further):
    runs = runs.assign(point=runs["point"].where(runs["point"] != "prune=0.9", label))
    for phrase in (cheapest_is_acceptable, cheapest_is_acceptable_in_short):
        assert ("sweep further" in phrase(curve(runs), 0, 0.1)) == is_further


def test_nothing_is_acceptable(runs):
    assert nothing_is_acceptable(curve(runs), 0, 0.02, firmness=" (firm)") == (
        "nothing cheaper than the reference stays within 2 points (firm): already prune=0.9 loses 6.3 points"
    )


@pytest.mark.parametrize(
    ("cost", "written"),
    [("size_bytes", "at 0.41× the bytes"), ("below", "at below -3"), ("macs", "at 1× the multiply-adds")],
)
def test_savings_are_shares_where_there_is_one(runs, cost, written):
    on = curve(runs.assign(below=[-4, -1, -2, -3]), cost=cost)
    assert saving(on, on.labels.index("prune=0.5")) == written


def test_a_weaker_reference_is_remarked():
    frame = pd.concat(
        [
            runs_of([(f"{r}, reference", 99, q), (f"{r}, a=1", 50 + k, q)], seeds=(0,), reference=f"{r}, reference")
            for k, (r, q) in enumerate((("r=1", 0.8), ("r=2", 0.9)))
        ]
    )
    on = curve(frame)
    assert remarks(on, Tolerance().choose(on)) == ["its reference has 80.0 %, r=2, reference 90.0 %"]
    equal = curve(frame.assign(accuracy_val=0.9))
    assert remarks(equal, Tolerance().choose(equal)) == []
