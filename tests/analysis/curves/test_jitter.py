import numpy as np
import pandas as pd
import pytest

from effbench.analysis import saturation_sentence, varying_costs
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.jitter import is_cheaper, least_spread, noise, varies
from tests.analysis.conftest import runs_of

LATENCY = "latency_ms/eager"


def timed(latency, low=None, high=None, p90=None):
    """A reference and a point with these latencies, ends of the speed-up's interval and percentiles."""
    frame = runs_of([("reference", 100, 0.9), ("alpha=0.5", 50, 0.9)], seeds=(0,)).assign(**{LATENCY: latency})
    if low is not None:
        speedups = {"speedup": np.array(latency)[0] / latency, "speedup_low": low, "speedup_high": high}
        frame = frame.assign(**{f"{name}/eager": values for name, values in speedups.items()})
    return frame if p90 is None else frame.assign(**{"latency_ms_p90/eager": p90})


@pytest.mark.parametrize(
    ("latency", "low", "high", "answered"),
    [
        ([1.0, 0.95], [1, 1.03], [1, 1.07], True),  # little, but surely
        ([1.0, 0.80], [1, 0.98], [1, 1.40], False),  # much, but perhaps nothing
        ([1.0, 1.20], [1, 0.80], [1, 0.90], True),  # surely slower
        ([1.0, 0.985], [1, 1.010], [1, 1.020], False),  # surely, but next to nothing
    ],
)
def test_a_latency_is_answered_where_the_interval_of_a_speedup_excludes_1(latency, low, high, answered):
    frame = timed(latency, low, high)
    assert varies(frame, LATENCY) is answered
    assert (LATENCY in varying_costs(frame)) is answered


def test_without_intervals_a_tenth_is_what_counts():
    assert not varies(timed([1.0, 0.95]), LATENCY)
    assert varies(timed([1.0, 0.85]), LATENCY)
    assert varies(timed([1.0, 0.85], [1, None], [1, None]).assign(**{"speedup/eager": [1, 1.2]}), LATENCY) is True


def test_a_point_is_faster_where_its_interval_says_so():
    assert is_cheaper(curve_of(timed([1.0, 0.95], [1, 1.03], [1, 1.07]), cost=LATENCY)).tolist() == [True, False]
    assert not is_cheaper(curve_of(timed([1.0, 0.80], [1, 0.98], [1, 1.40]), cost=LATENCY)).any()
    assert not is_cheaper(curve_of(timed([1.0, 0.95]), cost=LATENCY)).any()
    slower = timed([1.0, 1.2], [1, 0.8], [1, 0.9])
    assert saturation_sentence(slower, cost=LATENCY) == f"{LATENCY}: no point is cheaper than the reference"


def test_two_percent_of_bytes_and_multiply_adds_are_nothing():
    frame = runs_of([("reference", 1000, 0.9), ("bits=8", 250, 0.9)], seeds=(0,))
    assert varying_costs(frame.assign(macs_effective=[1000, 981])) == ["size_bytes"]
    assert varying_costs(frame.assign(macs_effective=[1000, 979])) == ["size_bytes", "macs_effective"]
    assert [least_spread(cost) for cost in ("macs", "macs_effective", "energy")] == [0.02, 0.02, 0.0]


def test_points_are_compared_with_the_reference_not_with_each_other():
    # 1.5 % more and 1.5 % less are 3 % apart, and neither is a change.
    frame = runs_of([("reference", 1000, 0.9), ("a=1", 1015, 0.9), ("a=2", 985, 0.9)], seeds=(0,))
    assert not varies(frame, "size_bytes")


def test_seeds_that_failed_move_no_cost():
    frame = runs_of([("reference", 1000, 0.9), ("a=1", 1000, [0.9, None, None])])
    frame["size_bytes"] *= 1 + 0.1 * frame["seed"]  # as seeds differ, not points
    assert not varies(frame, "size_bytes")


def test_a_cost_that_no_axis_moves_is_not_answered(runs):
    runs.attrs["moves"] = {"prune": ["size_bytes", "latency"], "distill": []}
    frame = runs.assign(**{LATENCY: [0.2, 0.5, 0.5, 0.5]})
    assert varying_costs(frame) == ["size_bytes", LATENCY]
    runs.attrs["moves"] = {"distill": []}
    with pytest.raises(ValueError, match=r"none of .* varies"):
        varying_costs(runs)


def test_what_no_axis_declares_is_answered_where_it_was_removed(runs):
    """Dead units, or layers of a network that flattens smaller images: fewer parameters are fewer bytes."""
    frame = runs.assign(params=[900, 1000, 1000, 950], macs=[1_000_000, 2_000_000, 2_000_000, 1_900_000])
    frame.attrs["moves"] = {"prune": ["macs_effective"]}
    assert varying_costs(frame) == ["size_bytes", "macs_effective", "macs"]
    frame["params"] = 1000
    assert varying_costs(frame) == ["macs_effective", "macs"]


def test_axes_of_other_groups_move_nothing_here(runs):
    runs.attrs["moves"] = {"bits": ["size_bytes"], "prune": ["macs_effective"], "alpha": ["size_bytes", "macs"]}
    assert varying_costs(runs) == ["macs_effective"]


def test_controls_move_no_cost():
    frame = runs_of([("reference", 1000, 0.9), ("distill=0.9", 700, 0.9)], seeds=(0,)).assign(control=[False, True])
    assert not varies(frame, "size_bytes")


def test_a_disturbed_latency_is_remarked():
    quiet, disturbed = timed([1.0, 0.5], p90=[1.2, 1.5]), timed([1.123, 0.5], p90=[21.2, 1.5])
    assert noise(curve_of(quiet, cost=LATENCY)) == ""
    assert noise(curve_of(disturbed, cost=LATENCY)) == "noisy: p90 21 ms beside a median of 1.1"
    assert noise(curve_of(disturbed, cost="size_bytes")) == ""
    assert saturation_sentence(disturbed, cost=LATENCY).endswith("; noisy: p90 21 ms beside a median of 1.1")


def test_what_was_measured_in_part_is_judged_by_that():
    frame = runs_of([("reference", 100, 0.9), ("a=1", 50, 0.9), ("a=2", 40, 0.9)], seeds=(0,))
    assert varies(frame.assign(macs=[100, None, 50]), "macs")
    assert not varies(frame.assign(macs=[100, None, None]), "macs")
    assert not varies(frame.assign(macs=[None, 100, 50]), "macs")
    plain = pd.DataFrame({"macs": [100, None, 50]})
    assert varies(plain, "macs")
