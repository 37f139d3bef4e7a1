"""Values of many runs by their names."""

import numpy as np
import pytest

from effbench.tracking.logged import MISSING, LoggedRuns, Values


@pytest.fixture
def values():
    """Return those of four runs, of which the third logged nothing."""
    layouts = [("lr", "seed"), ("seed",), ("lr", "seed")]
    return Values.gather(layouts, ["0.1", "3", "4", "0.2", "5"], runs=[3, 0, 1], n_runs=4)


def test_a_column_holds_what_each_run_logged(values):
    assert values.names == ("lr", "seed")
    assert values.column("seed", "-").tolist() == ["4", "5", "-", "3"]
    assert values.column("lr", "-").tolist() == ["-", "0.2", "-", "0.1"]
    assert values.has("lr").tolist() == [False, True, False, True]
    assert values.column("none", "-").tolist() == ["-"] * 4
    assert values.has("none").tolist() == [False] * 4


def test_runs_with_the_same_names_share_a_layout(values):
    assert [values.layouts[number] for number in values.layout_of] == [("seed",), ("lr", "seed"), (), ("lr", "seed")]
    assert len(values.layouts) == 3


def test_what_is_missing_is_told_from_a_number_that_is_none():
    numbers = Values.gather([("loss",), ("loss",)], np.array([np.nan, 2.0]), runs=[0, 2], n_runs=3)
    assert numbers.cells.dtype == np.float64
    np.testing.assert_array_equal(numbers.column("loss"), [np.nan, MISSING, 2.0])
    assert numbers.has("loss").tolist() == [True, False, True]


def test_runs_can_be_chosen_and_repeated(values):
    taken = values.take([3, 2, 3])
    assert taken.column("lr", "-").tolist() == ["0.1", "-", "0.1"]
    runs = LoggedRuns(
        list("abcd"),
        ["FINISHED"] * 4,
        np.arange(4),
        params=values,
        metrics=values,
        tags=values,
        experiments=list("xyxy"),
    )
    assert runs.take([1, 0]).ids == ["b", "a"]
    assert runs.take([1, 0]).experiments == ["y", "x"]
    assert runs.take([1, 0]).starts.tolist() == [1, 0]
    assert runs.take([1, 0]).params.column("seed").tolist() == ["5", "4"]


@pytest.mark.parametrize("n_runs", [0, 2])
@pytest.mark.parametrize("values", [[], np.array([], dtype=np.float64)])
def test_of_nothing_there_is_nothing(n_runs, values):
    nothing = Values.gather([], values, runs=[], n_runs=n_runs)
    assert nothing.column("seed", "-").tolist() == ["-"] * n_runs
    assert nothing.take([]).has("seed").tolist() == []
