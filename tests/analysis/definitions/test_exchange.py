import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.exchange import Marginal, Price
from effbench.analysis.definitions.reasons import reason_of
from tests.analysis.conftest import runs_of

HALVES = [("reference", 1600, 0.95), ("a=1", 800, 0.948), ("a=2", 400, 0.943), ("a=3", 200, 0.92), ("a=4", 100, 0.8)]
"""Each half as large as the one before; a doubling buys 12, 2.3, 0.5 and 0.2 points."""


def curve(points, **options):
    return curve_of(runs_of(points, seeds=(0,)), cost="size_bytes", **options)


def chosen(method, on):
    choice = method.choose(on)
    return choice.outcome, None if choice.row is None else on.labels[choice.row]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.1, "reference"), (0.3, "a=1"), (1.0, "a=2"), (2.2, "a=2"), (3.0, "a=3"), (13.0, "a=4")],
)
def test_the_point_from_which_a_doubling_buys_less_than_the_rate(rate, expected):
    outcome, label = chosen(Marginal(rate=rate), curve(HALVES))
    assert label == expected
    assert outcome == {"reference": "nothing", "a=4": "not reached"}.get(expected, "chosen")


def test_at_the_rate_itself_a_doubling_still_pays():
    points = [("reference", 400, 0.9), ("a=1", 200, 0.89), ("a=2", 100, 0.88)]
    assert chosen(Marginal(rate=1.0), curve(points)) == ("nothing", "reference")
    assert chosen(Marginal(rate=1.001), curve(points)) == ("not reached", "a=2")


@pytest.mark.parametrize(
    ("price", "expected"), [(5, "a=4"), (60, "a=3"), (500, "a=2"), (3000, "a=1"), (10_000, "reference")]
)
def test_the_point_that_is_worth_its_cost(price, expected):
    # Of 0.2, 0.7, 3 and 15 points lost: 1600, 800 + 0.2 p, 400 + 0.7 p, 200 + 3 p, 100 + 15 p.
    costs = [1600, 800 + 0.2 * price, 400 + 0.7 * price, 200 + 3 * price, 100 + 15 * price]
    on = curve(HALVES)
    assert chosen(Price(price=price), on)[1] == expected == HALVES[int(np.argmin(costs))][0]


def test_reasons_say_the_rate():
    on = curve(HALVES)
    told = {}
    for name, method in {
        "marginal": Marginal(),
        "low": Marginal(rate=0.1),
        "high": Marginal(rate=20),
        "price": Price(price=500),
    }.items():
        told[name] = reason_of(on, method.choose(on), method, None)
    assert told == {
        "marginal": "beyond a=2 a doubling of the bytes buys less than 1 point",
        "low": "no cheaper point is worth its loss where a doubling of the bytes is to buy 0.1 points: already a=1 "
        "loses 0.2 points",
        "high": "not reached: where a doubling of the bytes is to buy 20 points, even the cheapest, a=4, is worth its "
        "loss; sweep further",
        "price": "a=2 is worth its loss most where a point is worth 500 bytes",
    }


def test_what_can_not_be_exchanged_is_said(runs):
    for wrong in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"(rate|price) must be a finite number above 0, got"):
            Marginal(rate=wrong)
        with pytest.raises(ValueError, match="price must be a finite number above 0, got"):
            Price(price=wrong)
    free = curve_of(runs.assign(energy=[0.0, 3.0, 2.0, 1.0]), cost="energy")
    assert Marginal().choose(free).problem == "energy is not above 0 everywhere: there is no doubling of it"
    assert (
        Price(price=1).choose(curve_of(runs.iloc[:1], cost="size_bytes")).problem == "2 points are needed, there is 1"
    )
    dearer = curve([("reference", 100, 0.9), ("a=1", 110, 0.95)])
    for method in (Marginal(), Price(price=1)):
        assert method.choose(dearer).problem == "no point is cheaper than the reference"


def test_a_quality_that_is_better_when_lower(language):
    on = curve_of(language, cost="size_bytes")
    # Perplexities of 21.0, 20.9, 21.3 and 30 at 400, 380, 164 and 60 KB: half the bytes for 0.3 of perplexity.
    assert on.labels[Marginal(rate=1.0).choose(on).row] == "prune=0.5"
    assert on.labels[Price(price=1e6).choose(on).row] == "prune=0.1"


POINTS = st.lists(st.tuples(st.integers(1, 15), st.integers(0, 300)), min_size=2, max_size=8)


@pytest.mark.extended
@settings(max_examples=60, deadline=None)
@given(POINTS, st.sampled_from([0.25, 1.0, 4.0]), st.sampled_from([0.001, 8.0]), st.integers(0, 10))
def test_neither_the_unit_nor_the_order_nor_a_dominated_point_moves_the_answer(lost, rate, unit, seed):
    points = [("reference", 16.0, 0.95)]
    points += [(f"a={n}", float(cost), 0.95 - loss / 1000) for n, (cost, loss) in enumerate(lost)]
    frame = runs_of(points, seeds=(0,))
    scaled = frame.assign(size_bytes=frame["size_bytes"] * unit).sample(frac=1, random_state=seed)
    worse = runs_of([*points, ("b=0", 15.9, 0.1)], seeds=(0,))
    repeated = pd.concat([frame, frame.assign(seed=1, run_key=frame["run_key"] + "+", reference_key="reference/0+")])
    for method, priced in ((Marginal(rate=rate), Marginal(rate=rate)), (Price(price=rate), Price(price=rate * unit))):
        expected = label_of(method, frame)
        assert label_of(priced, scaled) == expected
        assert label_of(method, worse) == expected or expected is None
        assert label_of(method, repeated) == expected


def label_of(method, frame):
    on = curve_of(frame, cost="size_bytes")
    choice = method.choose(on)
    return None if choice.row is None else (choice.outcome, on.labels[choice.row])
