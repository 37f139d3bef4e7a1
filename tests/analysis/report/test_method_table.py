"""Methods side by side: those that there are, each with its point, its interval and its reason."""

import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Counts, answers, saturation_point
from effbench.analysis.report.method_table import method_rows


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


def counts_of(n_right):
    correct = {key: (np.arange(1000) < n).astype(np.int64) for key, n in zip("abcd", n_right, strict=True)}
    by_run = {key: np.stack([own, np.ones_like(own)], axis=-1)[:, None, :] for key, own in correct.items()}
    return Counts(kind="ratio", by_run=by_run)


def test_each_method_has_a_row_with_what_it_says(runs):
    rows = {row.method: row for row in method_rows(answers(runs))}
    assert list(rows) == ["tolerance", "kneedle", "kneedle over log cost", "marginal"]  # no counts: no bound
    for name, row in rows.items():
        options = {"cost_axis": "log"} if "log" in name else {}
        expected = saturation_point(runs, method=name.partition(" ")[0], **options)
        label = "none" if expected.point is None else expected.point["point"]
        assert (row.point, row.reason, row.where) == (label, expected.reason, "file size")


def test_an_interval_and_shares_are_there_with_counts(runs):
    counts = counts_of([950, 945, 920, 500])
    for method, options in {"tolerance": {}, "price": {"price": {"size_bytes": 300.0}}}.items():
        rows = method_rows(answers(runs, counts=counts, method=method, **options))
        names = [row.method for row in rows]
        assert names[0] == method and names[-4:] == ["tolerance_bound", "kneedle", "kneedle over log cost", "marginal"]
        assert " to " in rows[0].interval and rows[0].interval.endswith(("KB", "bytes"))
        assert rows[0].shares.startswith(rows[0].point)
        bound = next(row for row in rows if row.method == "tolerance_bound")
        expected = saturation_point(runs, method="tolerance_bound", counts=counts)
        assert (bound.point, bound.reason) == (expected.point["point"], expected.reason)


def test_without_a_cost_there_is_no_row():
    runs = pd.DataFrame({"point": ["reference"], "reference": [True], "size_bytes": [4.0], "accuracy_val": [0.9]})
    assert not method_rows(answers(runs))
