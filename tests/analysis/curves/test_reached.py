import pandas as pd
import pytest

from effbench.analysis import saturation_point, saturation_sentence
from effbench.analysis.curves.averages import point_numbers, read_runs
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.reached import axes_in_rounds, ended_early, with_reached, without_repeats
from tests.analysis.conftest import runs_of


@pytest.fixture
def early():
    """prune=0.9 and 0.95 came to 0.785 both; 0.5 to what was asked."""
    frame = runs_of(
        [
            ("reference", 100_000, 0.96),
            ("prune=0.5", 50_000, 0.955),
            ("prune=0.9", 30_000, 0.95),
            ("prune=0.95", 30_100, 0.953),
        ],
        seeds=(0,),
    )
    return frame.assign(prune=[0, 0.5, 0.9, 0.95], prune_reached=[None, 0.5, 0.785, 0.785])


def test_axes_that_say_how_far_they_came(early):
    assert axes_in_rounds(early) == ["prune"]
    assert ended_early(early).tolist() == [False, False, True, True]
    assert not ended_early(early.assign(prune_reached=early["prune"] + 1e-9)).any()
    assert not ended_early(early.drop(columns="prune_reached")).any()


def test_points_that_came_equally_far_are_one(early):
    runs = read_runs(early)
    assert runs["point"][without_repeats(runs, point_numbers(runs))].tolist() == ["reference", "prune=0.5", "prune=0.9"]
    # What was measured does not decide which one stays.
    better = early.assign(accuracy_val=[0.96, 0.955, 0.8, 0.953])
    assert curve_of(better, cost="size_bytes").labels[0] == "prune=0.9 asked, 0.785 reached"
    full = early.assign(prune=[0, 0.785, 0.9, 0.95], prune_reached=[0, 0.785, 0.785, 0.785])
    assert (
        len(curve_of(full.assign(point=["reference", "prune=0.785", "prune=0.9", "prune=0.95"]), cost="size_bytes"))
        == 2
    )


def test_points_that_differ_in_another_axis_or_seed_are_several(early):
    others = early.assign(point=["reference", "prune=0.5", "prune=0.9, bits=4", "prune=0.95, bits=8"])
    assert len(curve_of(others, cost="size_bytes")) == 4
    two = pd.concat([early, early.assign(seed=1, run_key=early["run_key"] + "x", reference_key="reference/0x")])
    two["prune_reached"] = [None, 0.5, 0.785, 0.785, None, 0.5, 0.785, 0.9]
    assert len(curve_of(two, cost="size_bytes")) == 4


def test_two_points_that_came_equally_far_are_too_few(early):
    part = early[early["prune"] != 0.5].drop(columns=["reference", "reference_key"]).iloc[1:]
    assert saturation_point(part, cost="size_bytes").reason == "2 points are needed, there is 1"


def test_labels_say_what_was_asked_and_what_was_reached(early):
    assert with_reached("prune=0.9", early.iloc[[2]]) == "prune=0.9 asked, 0.785 reached"
    assert with_reached("prune=0.5", early.iloc[[1]]) == "prune=0.5"
    spread = early.iloc[[2, 3]].assign(prune_reached=[0.6, 0.785])
    assert with_reached("rank=0.5, prune=0.9, bits=4", spread) == (
        "rank=0.5, prune=0.9 asked, 0.6 to 0.785 reached, bits=4"
    )
    assert with_reached("prune=0.9 (lenet_5)", early.iloc[[2]]) == "prune=0.9 asked, 0.785 reached (lenet_5)"


def test_rounds_that_ended_early_do_not_ask_for_more(early):
    sentence = saturation_sentence(early, cost="size_bytes")
    assert sentence == (
        "size_bytes: not reached: the cheapest, prune=0.9 asked, 0.785 reached, at 0.3× the bytes, loses 1.0 points "
        "(test: loses 1.0): still within 2; its rounds ended before what was asked"
    )
    assert "sweep further" not in saturation_point(early).reason


def test_a_rejected_point_says_how_far_it_came(early):
    sentence = saturation_sentence(early, cost="size_bytes", tolerance=0.007)
    assert sentence.endswith("at 0.5× the bytes; 0.9 asked, 0.785 reached loses 1.0")
