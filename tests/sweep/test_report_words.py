"""What the report says of a frame: what was asked, and each run that the answers are not of, by its name."""

import numpy as np
import pandas as pd

from effbench.sweep.report_words import as_failed, asked_of, problems_of, swept_columns, without_numbers


def runs(**columns):
    frame = {
        "run_name": ["reference, seed=0", "prune=0.5, seed=0", "prune=0.9, seed=0"],
        "point": ["reference", "prune=0.5", "prune=0.9"],
        "reference": [True, False, False],
        "prune": [0.0, 0.5, 0.9],
        "seed": 0,
        "model": "small_cnn",
        "size_bytes": [4.0, 3.0, 2.0],
        "accuracy": [0.9, 0.8, 0.7],
        "accuracy_val": [0.9, 0.8, 0.7],
    }
    return pd.DataFrame({**frame, **columns})


def test_what_was_asked_begins_with_the_axes():
    asked = asked_of(runs(), tolerance=0.02)
    assert list(asked.items())[:3] == [("prune", "0.5, 0.9"), ("network", "small_cnn"), ("seeds", "0")]
    assert asked["tolerance"] == "0.02"
    assert asked_of(pd.DataFrame([]), tolerance=0.02) == {"tolerance": "0.02"}


def test_networks_stand_before_axes():
    assert swept_columns(runs(model=["a", "a", "b"])) == ["model", "prune"]


def test_runs_without_a_number_count_as_failed_and_are_named():
    frame = runs(accuracy_val=[0.9, np.nan, 0.7], accuracy=[0.9, 0.8, np.inf])
    wrong = without_numbers(frame)
    assert wrong.tolist() == [False, True, True]
    kept = as_failed(frame, wrong)
    assert kept["point"].tolist() == ["reference"]
    assert [run["point"] for run in kept.attrs["failed"]] == ["prune=0.5", "prune=0.9"]
    assert problems_of(frame) == [
        "diverged or not whole: prune=0.5, seed=0 has no finite accuracy",
        "diverged or not whole: prune=0.9, seed=0 has no finite accuracy",
    ]


def test_unfinished_repeated_and_half_logged_runs_are_named():
    frame = runs(size_bytes=[4.0, np.nan, 2.0])
    frame.attrs["unfinished"] = [("id", "prune=0.7, seed=0", "FAILED", "OSError: full"), ("id", "b", "RUNNING", "")]
    frame.attrs["repeated"] = [("id", "prune=0.9, seed=0", "key")]
    assert problems_of(frame) == [
        "failed: prune=0.7, seed=0: OSError: full",
        "running: b",
        "logged twice: prune=0.9, seed=0; the later one counts",
        "logged in part: prune=0.5, seed=0 has no size_bytes",
    ]
