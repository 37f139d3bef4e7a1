import numpy as np
import pandas as pd
import pytest

from effbench.analysis.answers import answers
from effbench.analysis.curves.counts import Counts
from effbench.analysis.saturation import answer_of
from effbench.analysis.stability import by_definition, stability_sentence
from tests.analysis.conftest import runs_of


def found_on(frame, method="tolerance", **options):
    return answer_of(frame, cost="size_bytes", method=method, **options)


def sentence(found):
    return stability_sentence(found, by_definition(found, 0.02))


CLEAR = [("reference", 3200, 0.95), ("a=1", 1600, 0.95), ("a=2", 800, 0.949), ("a=3", 400, 0.7), ("a=4", 200, 0.3)]
ROUND = [("reference", 800, 0.96), ("a=1", 400, 0.957), ("a=2", 200, 0.941), ("a=3", 100, 0.91), ("a=4", 50, 0.85)]


def test_where_all_agree_nothing_is_said():
    frame = runs_of(CLEAR, seeds=(0,))
    assert {
        name: said.point["point"] for name, said in by_definition(found_on(frame), 0.02) if said.point is not None
    } == {
        "tolerance": "a=2",
        "kneedle": "a=2",
        "kneedle over log cost": "a=2",
        "marginal": "a=2",
    }
    assert sentence(found_on(frame)) == ""


def test_what_hangs_on_the_definition_is_said():
    frame = runs_of(ROUND, seeds=(0,))
    assert sentence(found_on(frame)) == "by other definitions other points: a=1 at 2× its bytes (marginal)"
    said = sentence(found_on(frame, "marginal", rate=1.0))
    assert said.startswith("by other definitions other points: a=2 at 0.5× its bytes (")


@pytest.mark.parametrize("end", [0, -1])
def test_an_end_of_the_curve_may_decide_a_knee(end):
    points = [("reference", 100, 0.9), ("a=1", 60, 0.88), ("a=2", 40, 0.86), ("a=3", 20, 0.83), ("a=4", 5, 0.3)]
    frame = runs_of(points, seeds=(0,))
    found = found_on(frame, "kneedle", sensitivity=0.0)
    said = sentence(found)
    dropped = [point for number, point in enumerate(points) if number != (1 if end == -1 else 4)]
    alone = found_on(runs_of(dropped, seeds=(0,)), "kneedle", sensitivity=0.0).saturation.point
    name = "without the most expensive" if end == -1 else "without the cheapest"
    differs = alone is not None and alone["point"] != found.saturation.point["point"]
    assert (name in said) == differs


def test_without_a_point_there_is_nothing_to_hang():
    frame = runs_of(CLEAR[:2], seeds=(0,))
    assert sentence(found_on(frame)) == ""
    bare = pd.DataFrame({"size_bytes": [400, 200, 100], "accuracy_val": [0.9, 0.895, 0.5]})
    assert sentence(found_on(bare)) == ""


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("method", ["tolerance", "tolerance_bound", "kneedle", "marginal"])
def test_points_that_came_equally_far_are_one(method):
    points = [("reference", 800, 0.95), ("prune=0.5", 400, 0.949), ("prune=0.8", 200, 0.948), ("prune=0.9", 100, 0.9)]
    frame = runs_of([*points, ("prune=0.95", 100, 0.9)], seeds=(0, 1))
    asked = frame["point"].str.partition("=")[2]
    frame["prune"] = pd.to_numeric(asked, errors="coerce").fillna(0.0)
    frame["prune_reached"] = frame["prune"].clip(upper=0.85)
    right = {key: np.arange(1000) < 1000 * q for key, q in zip(frame["run_key"], frame["accuracy_val"], strict=True)}
    (answer,) = answers(frame, method=method, counts=Counts.of_correct(right))
    assert answer.saturation.point["point"] == "prune=0.8"


def test_a_second_recipe_under_one_label_is_no_trouble():
    points = [("reference", 800, 0.95), ("a=1", 400, 0.949), ("a=2", 200, 0.93), ("a=3", 100, 0.6)]
    one, other = (runs_of(points, seeds=(0,), recipe=name) for name in ("one", "other"))
    other = other.assign(run_key="o" + other["run_key"], reference_key="o" + other["reference_key"])
    frame = pd.concat([one, other.assign(size_bytes=other["size_bytes"] + 7)], ignore_index=True)
    for method in ("tolerance", "kneedle", "marginal"):
        assert isinstance(sentence(found_on(frame, method)), str)
