import numpy as np

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.knee import Kneedle
from effbench.analysis.definitions.reasons import bounds_of, reason_of
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound
from tests.analysis.conftest import runs_of

POINTS = [("reference", 100, 0.96), ("a=1", 50, 0.955), ("a=2", 20, 0.93)]


def test_each_method_says_why():
    on = curve_of(runs_of(POINTS), cost="size_bytes")
    drawn = np.repeat(on.losses[None], 100, axis=0)
    drawn[:20] += 0.01
    drawn[:, on.reference] = 0
    told = {}
    for name, method in {
        "plain": Tolerance(),
        "sure": ToleranceBound(),
        "less": ToleranceBound(tolerance=0.01),
        "more": ToleranceBound(tolerance=0.1),
        "knee": Kneedle(),
    }.items():
        told[name] = reason_of(on, method.choose(on, drawn), method, drawn)
    assert told == {
        "plain": "a=1 loses 0.5 points; the next cheaper, a=2, loses 3.0 points",
        "sure": "a=1 loses 0.5 points, at most 1.5; the next cheaper, a=2, loses 3.0 points, perhaps 4.0",
        "less": "of nothing cheaper than the reference it is sure that it stays within 1 point: already a=1 loses 0.5 "
        "points, perhaps 1.5",
        "more": "not reached: the cheapest, a=2, at 0.2× the bytes, loses 3.0 points, at most 4.0 (test: loses 3.0): "
        "still within 10; sweep further",
        "knee": "no knee: the front bends too little for sensitivity 1",
    }
    assert bounds_of(on, Tolerance().choose(on), drawn) == ("1.5", "4.0")
    sharp = Kneedle(sensitivity=0)
    assert reason_of(on, sharp.choose(on), sharp, None) == "a=1 is the knee of the front"
    drawn += np.random.default_rng(0).normal(0, 0.05, drawn.shape)
    assert reason_of(on, sharp.choose(on, drawn), sharp, drawn) == (
        "no knee stands out from the noise: that at a=1 may be chance; add seeds"
    )
