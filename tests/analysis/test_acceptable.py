"""Which points keep their quality: by means over seeds, against their own reference, by the tolerance."""

import numpy as np
import pytest

from effbench.analysis.acceptable import acceptable_runs
from effbench.analysis.curves.counts import Counts
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound
from tests.analysis.conftest import pruned

QUALITY = {
    f"quality_{name}": value
    for name, value in zip(
        ("name", "kind", "unit", "direction", "chance"), ("accuracy", "ratio", "points", "higher", 0.1), strict=True
    )
}


def judged(runs, tolerance=0.02):
    return acceptable_runs(runs, Tolerance(tolerance=tolerance), cost="size_bytes")


def test_the_tolerance_is_inclusive_and_the_reference_is_acceptable():
    verdicts, why = judged(pruned({0: 0.0, 0.5: 0.02, 0.9: 0.03}))
    assert (verdicts, why) == ({"0-0": True, "0.5-0": True, "0.9-0": False}, "")
    assert judged(pruned({0: 0.0, 0.5: 0.02, 0.9: 0.03}), 0.01)[0]["0.5-0"] is False


def test_seeds_are_averaged_and_the_order_of_rows_does_not_matter():
    runs = pruned({0: (0.0, 0.0), 0.5: (0.03, 0.0), 0.9: (0.03, 0.02)}, seeds=(0, 1))
    verdicts, _ = judged(runs)
    assert [verdicts[key] for key in ("0.5-0", "0.5-1", "0.9-0", "0.9-1")] == [True, True, False, False]
    assert judged(runs.sample(frac=1, random_state=3))[0] == verdicts
    lacking = runs[runs["run_key"] != "0.5-1"]  # a seed that failed: by the seeds of both
    assert judged(lacking)[0]["0.5-0"] is False


def test_rounds_that_ended_early_are_not_what_was_asked_for():
    runs = pruned({0: 0.0, 0.5: 0.0, 0.9: 0.01}).assign(prune_reached=[0.0, 0.5, 0.7])
    assert judged(runs)[0] == {"0-0": True, "0.5-0": True, "0.9-0": False}


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (pruned({0: 0.0, 0.5: 0.0}, size_bytes=7), "no point is cheaper than the reference"),
        (pruned({0.5: 0.0, 0.9: 0.0}), "the reference is not among the runs"),
        (pruned({0: 0.8, 0.5: 0.8}, **QUALITY), "chance"),
    ],
)
def test_without_an_answer_it_says_why(runs, why):
    verdicts, said = judged(runs)
    assert verdicts == {} and why in said


def counted(runs, n_examples):
    """Return the counts of the runs: of so many examples, the same ones are lost by all of them first."""
    correct = {
        key: np.arange(n_examples) < round(accuracy * n_examples)
        for key, accuracy in zip(runs["run_key"], runs["accuracy_val"], strict=True)
    }
    return Counts.of_correct(correct)


@pytest.mark.parametrize(("n_examples", "is_sure"), [(200, False), (20_000, True)])
def test_by_a_bound_a_loss_within_the_tolerance_is_acceptable_where_enough_examples_say_so(n_examples, is_sure):
    runs = pruned({0: 0.0, 0.5: 0.01, 0.9: 0.1})
    rule, counts = ToleranceBound(tolerance=0.02), counted(runs, n_examples)
    verdicts, why = acceptable_runs(runs, rule, cost="size_bytes", counts=counts)
    assert (verdicts, why) == ({"0-0": True, "0.5-0": is_sure, "0.9-0": False}, "")
    assert judged(runs)[0]["0.5-0"] is True


LOSSES = ((0.005, 0.005, 0.005), (-0.005, 0.005, 0.015))


def test_by_a_bound_seeds_that_differ_are_not_sure():
    alike, apart = (pruned({0: (0.0,) * 3, 0.5: losses, 0.9: (0.2,) * 3}, seeds=(0, 1, 2)) for losses in LOSSES)
    sure = [
        acceptable_runs(runs, ToleranceBound(tolerance=0.02), cost="size_bytes", counts=counted(runs, 2000))[0]["0.5-0"]
        for runs in (alike, apart)
    ]
    assert sure == [True, False] and judged(apart)[0]["0.5-0"] is True


def test_a_bound_needs_counts():
    with pytest.raises(ValueError, match="needs the counts"):
        acceptable_runs(pruned({0: 0.0, 0.5: 0.0}), ToleranceBound(), cost="size_bytes")
