import numpy as np
import pytest

from effbench.analysis import saturation_point
from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.choice import NO_ROW
from effbench.analysis.definitions.methods import METHODS, method_of
from effbench.analysis.uncertainty.rounds import drawn_latencies, resampled_choices
from tests.analysis.conftest import runs_of

POINTS = [("reference", 100, 0.9), ("a=1", 50, 0.895), ("a=2", 40, 0.89), ("a=3", 20, 0.6)]
LATENCY = "latency_ms/eager"


def timed(*, width=1.1, seeds=(0,)):
    """Points of 10, 5, 4 and 2 ms, whose speed-ups lie within a factor of `width` on either side, for 95 %."""
    frame = runs_of(POINTS, seeds=seeds)
    frame[LATENCY] = frame["size_bytes"] / 10
    speedup = 100 / frame["size_bytes"]
    ends = {"speedup": speedup, "speedup_low": speedup / width, "speedup_high": speedup * width}
    return frame.assign(**{f"{name}/eager": values for name, values in ends.items()})


def test_a_latency_is_drawn_as_its_intervals_say_and_the_reference_is_not():
    on = curve_of(timed(), cost=LATENCY)
    drawn = drawn_latencies(on, n_passes=4000)
    assert drawn.shape == (4000, 4)
    assert (drawn[:, on.reference] == 10).all()
    for row in range(3):
        low, high = np.quantile(drawn[:, row], [0.025, 0.975])
        assert (low, high) == pytest.approx((on.costs[row] / 1.1, on.costs[row] * 1.1), rel=0.01)


@pytest.mark.parametrize(
    ("frame", "cost"),
    [
        (timed(), "size_bytes"),
        (timed().drop(columns=["speedup_low/eager"]), LATENCY),
        (timed().assign(**{"speedup_low/eager": np.nan}), LATENCY),
    ],
    ids=["bytes", "no interval", "unknown interval"],
)
def test_other_costs_have_no_rounds(frame, cost):
    on = curve_of(frame, cost=cost)
    assert drawn_latencies(on) is None
    rows, costs = resampled_choices(on, method_of("tolerance", {}), np.tile(on.losses, (7, 1)))
    assert (rows == rows[0]).all() and (costs == on.costs[rows]).all()


def test_seeds_have_passes_of_their_own():
    widths = []
    for n_seeds in (1, 4):
        on = curve_of(timed(seeds=tuple(range(n_seeds))), cost=LATENCY)
        widths.append(np.log(drawn_latencies(on, n_passes=4000)[:, 0]).std())
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.05)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "price"])
def test_every_definition_chooses_among_points_in_the_order_of_each_pass(name):
    on = curve_of(timed(width=1.5), cost=LATENCY)  # a=1 and a=2 change places in some passes
    drawn = np.random.default_rng(0).normal(on.losses, 0.002, (200, 4))
    rows, costs = resampled_choices(on, method_of(name, {}), drawn)
    assert len(rows) == len(costs) == 200
    assert (np.isnan(costs) == (rows == NO_ROW)).all()
    chosen = rows[rows != NO_ROW]
    assert set(chosen) <= set(range(4))
    if name == "tolerance":
        assert set(chosen) == {1, 2}, "the dearer one is the cheaper in some passes"
        assert len(np.unique(costs)) > 100


def test_without_noise_the_rounds_move_nothing():
    on = curve_of(timed(width=1.0), cost=LATENCY)
    drawn = np.random.default_rng(0).normal(on.losses, 0.01, (100, 4))
    rows, costs = resampled_choices(on, method_of("tolerance", {}), drawn)
    assert rows.tolist() == method_of("tolerance", {}).rows(on, drawn).tolist()
    assert (costs == on.costs[rows]).all()


def test_the_answer_covers_them_and_says_so():
    frame = timed(width=1.05)
    right = {"reference/0": 0.9, "a=1/0": 0.895, "a=2/0": 0.89, "a=3/0": 0.6}
    counts = Counts.of_correct({key: np.arange(200) < 200 * share for key, share in right.items()})
    found = saturation_point(frame, cost=LATENCY, counts=counts)
    assert (found.point["point"], found.covers) == ("a=2", "examples and rounds only, 1 seed")
    low, high = found.interval
    assert low < 4 < high and high - low > 0.2
    assert saturation_point(frame, cost="size_bytes", counts=counts).covers == "examples only, 1 seed"
    several = timed(seeds=(0, 1))
    many = {f"{key[:-1]}{seed}": value for key, value in counts.by_run.items() for seed in (0, 1)}
    assert saturation_point(several, cost=LATENCY, counts=Counts(kind="ratio", by_run=many)).covers == "2 seeds, rounds"
