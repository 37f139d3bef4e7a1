"""The runs whose tables the report draws: few, and those that matter; read from the store or from the tracker."""

import pandas as pd
import pytest

from effbench.analysis import answers
from effbench.sweep.report_tables import MOST_RUNS, from_store, tables_of


def frame(n_points, n_seeds=1):
    return pd.DataFrame(
        [
            {
                **{"point": f"prune={n}" if n else "reference", "reference": n == 0, "seed": seed},
                **{"run_key": f"{n}-{seed}", "reference_key": f"0-{seed}", "size_bytes": 1000.0 - 9 * n},
                **{"accuracy_val": 0.9 - 0.001 * n**2, "accuracy": 0.9},
            }
            for n in range(n_points)
            for seed in range(n_seeds)
        ]
    )


def drawn(runs, found=()):
    return tables_of(runs, found, lambda rows: [{"curves": pd.DataFrame({"epoch": [1]})} for _ in rows["run_key"]])


@pytest.mark.parametrize("n_points", [1, 2, 7, 8, 30])
def test_at_most_seven_runs_one_of_a_point_the_reference_first_and_the_last_among_them(n_points):
    runs = frame(n_points)
    tables = drawn(runs)
    assert len(tables.by_run) == min(n_points, MOST_RUNS)
    assert tables.n_others == n_points - len(tables.by_run)
    assert next(iter(tables.by_run)) == "reference"
    assert n_points == 1 or f"prune={n_points - 1}" in tables.by_run


def test_the_saturation_point_is_among_them():
    runs = frame(30)
    found = answers(runs)
    (point,) = [answer.saturation.point["point"] for answer in found]
    assert list(drawn(runs, found).by_run)[:2] == ["reference", point] and point == "prune=4"


def test_seeds_are_named_and_the_others_counted():
    tables = drawn(frame(3, n_seeds=2))
    assert list(tables.by_run) == ["reference, seed=0", "prune=1, seed=0", "prune=2, seed=0"] and tables.n_others == 3


def test_runs_of_which_nothing_is_known_are_left_out():
    assert tables_of(frame(3), (), lambda rows: [{}] * len(rows)).by_run == {}
    assert tables_of(pd.DataFrame(), (), lambda rows: []).by_run == {}


def test_the_store_gives_the_tables_that_are_drawn(store):
    store.put_json("runs/0-0.json", {"tables": {"curves": [{"epoch": 1, "loss": 2.0}], "other": [{"a": 1}]}})
    store.put_json("runs/1-0.json", {"tables": {}})
    own, none, missing = from_store(store)(frame(3))
    assert list(own) == ["curves"] and own["curves"]["loss"].tolist() == [2.0]
    assert none == missing == {}
