"""Methods side by side: those that there are, each with its point, its interval and its reason."""

import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Counts, answers, method_table, saturation_point
from effbench.analysis.method_table import method_rows
from effbench.analysis.saturation import Saturation


@pytest.fixture
def runs():
    return pd.DataFrame(
        {
            "point": ["reference", "prune=0.5", "prune=0.8", "prune=0.9"],
            "reference": [True, False, False, False],
            "run_key": list("abcd"),
            "reference_key": ["a"] * 4,
            "seed": 0,
            "size_bytes": [4000.0, 2000, 1000, 500],
            "accuracy_val": [0.95, 0.945, 0.92, 0.5],
        }
    )


def test_each_method_has_a_row_with_what_it_says(runs):
    rows = {row.method: row for row in method_rows(answers(runs), tolerance=0.02, counts=None)}
    assert {"tolerance", "kneedle"} <= set(rows)
    for method, row in rows.items():
        if method in ("tolerance", "kneedle"):
            expected = saturation_point(runs, method=method)
            assert (row.point, row.reason, row.where) == (expected.point["point"], expected.reason, "file size")


def test_an_interval_is_in_the_costs_unit(runs):
    n_right = [950, 945, 920, 500]
    correct = {key: (np.arange(1000) < n).astype(np.int64) for key, n in zip("abcd", n_right, strict=True)}
    by_run = {key: np.stack([own, np.ones_like(own)], axis=-1)[:, None, :] for key, own in correct.items()}
    counts = Counts(kind="ratio", by_run=by_run)
    rows = method_rows(answers(runs, counts=counts), tolerance=0.02, counts=counts)
    assert " to " in rows[0].interval and rows[0].interval.endswith(("KB", "bytes"))


def test_a_method_that_there_is_not_is_left_out_and_one_that_fails_says_why(runs, monkeypatch):
    def fails(frame, *, method, **_):
        raise ValueError("unknown method 'x'" if method != "kneedle" else "no knee can be looked for")

    monkeypatch.setattr(method_table, "saturation_point", fails)
    rows = method_rows(answers(runs), tolerance=0.02, counts=None)
    assert [(row.method, row.point) for row in rows] == [("tolerance", "prune=0.5"), ("kneedle", "none")]
    assert rows[1].reason == "no knee can be looked for"


def test_how_often_points_were_chosen_is_said_where_it_is_known(runs, monkeypatch):
    monkeypatch.setattr(Saturation, "shares", {"prune=0.5": 0.81, "prune=0.8": 0.19, "x": 0.0, "y": 0.0}, raising=False)
    (row, *_) = method_rows(answers(runs), tolerance=0.02, counts=None)
    assert row.shares == "prune=0.5 81 %, prune=0.8 19 %, …"


def test_without_a_cost_there_is_no_row():
    runs = pd.DataFrame({"point": ["reference"], "reference": [True], "size_bytes": [4.0], "accuracy_val": [0.9]})
    assert not method_rows(answers(runs), tolerance=0.02, counts=None)
