"""Which points keep their quality: by means over seeds, against their own reference, by the tolerance."""

import pandas as pd
import pytest

from effbench.analysis.definitions.acceptable import acceptable_runs

QUALITY = {
    f"quality_{name}": value
    for name, value in zip(
        ("name", "kind", "unit", "direction", "chance"), ("accuracy", "ratio", "points", "higher", 0.1), strict=True
    )
}


def frame(values, *, seeds=(0,), **columns):
    """Return runs of points at these shares with these losses; that at 0 is the reference."""
    rows = [
        {
            "point": f"prune={share}" if share else "reference",
            "reference": share == 0,
            "seed": seed,
            "prune": share,
            "run_key": f"{share}-{seed}",
            "reference_key": f"0-{seed}",
            "size_bytes": 1000 * (1 - share),
            "accuracy_val": 0.9 - (loss if isinstance(loss, float) else loss[seed]),
        }
        for share, loss in values.items()
        for seed in seeds
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_the_tolerance_is_inclusive_and_the_reference_is_acceptable():
    verdicts, why = acceptable_runs(frame({0: 0.0, 0.5: 0.02, 0.9: 0.03}))
    assert (verdicts, why) == ({"0-0": True, "0.5-0": True, "0.9-0": False}, "")
    assert acceptable_runs(frame({0: 0.0, 0.5: 0.02, 0.9: 0.03}), tolerance=0.01)[0]["0.5-0"] is False


def test_seeds_are_averaged_and_the_order_of_rows_does_not_matter():
    runs = frame({0: (0.0, 0.0), 0.5: (0.03, 0.0), 0.9: (0.03, 0.02)}, seeds=(0, 1))
    verdicts, _ = acceptable_runs(runs)
    assert [verdicts[key] for key in ("0.5-0", "0.5-1", "0.9-0", "0.9-1")] == [True, True, False, False]
    assert acceptable_runs(runs.sample(frac=1, random_state=3))[0] == verdicts
    lacking = runs[runs["run_key"] != "0.5-1"]  # a seed that failed: by the seeds of both
    assert acceptable_runs(lacking)[0]["0.5-0"] is False


def test_rounds_that_ended_early_are_not_what_was_asked_for():
    runs = frame({0: 0.0, 0.5: 0.0, 0.9: 0.01}).assign(prune_reached=[0.0, 0.5, 0.7])
    assert acceptable_runs(runs)[0] == {"0-0": True, "0.5-0": True, "0.9-0": False}


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (frame({0: 0.0, 0.5: 0.0}, size_bytes=7), "no cost but latency varies"),
        (frame({0: 0.0, 0.5: 0.0}, size_bytes=7, **{"latency_ms/eager": [2.0, 1.0]}), "no cost but latency varies"),
        (frame({0.5: 0.0, 0.9: 0.0}), "the reference is not among the runs"),
        (frame({0: 0.8, 0.5: 0.8}, **QUALITY), "chance"),
        (pd.DataFrame(), "no cost but latency varies"),
    ],
)
def test_without_an_answer_it_says_why(runs, why):
    verdicts, said = acceptable_runs(runs)
    assert verdicts == {} and why in said
