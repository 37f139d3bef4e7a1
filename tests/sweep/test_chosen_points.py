"""Which points are timed: all of few, the front of many, with references and controls."""

import dataclasses

from effbench.config.read import read_sweep
from effbench.sweep.chosen_points import MANY, are_all_timed, points_to_measure

GRID = "prune=" + ",".join(f"{n / 100:g}" for n in range(1, MANY + 5))


def metrics_of(points, worse):
    """Each point smaller than the one before and less accurate; those of `worse` as large and bad as can be."""
    known = {}
    for place, point in enumerate(points):
        is_worse = point.label in worse
        known[point.key] = {
            "accuracy_val": 0.1 if is_worse else 0.9 - 0.01 * place,
            "size_bytes": 9e9 if is_worse else 1000.0 - place,
            **dict.fromkeys(("macs", "macs_effective", "params"), 10.0),
        }
    return known


def test_few_points_are_all_timed_and_many_where_that_is_asked_for():
    few, many = read_sweep(["prune=0.1,0.5"]), read_sweep([GRID])
    assert are_all_timed(few.plan.points, few) and not are_all_timed(many.plan.points, many)
    everything = dataclasses.replace(many, measure=dataclasses.replace(many.measure, points="all"))
    assert points_to_measure(many.plan.points, everything, {}) == list(many.plan.points)


def test_of_many_the_front_is_timed_with_its_reference():
    sweep = read_sweep([GRID])
    points = sweep.plan.points
    worse = {"prune=0.03", "prune=0.07", "reference"}
    chosen = points_to_measure(points, sweep, metrics_of(points, worse))
    left_out = {point.label for point in points} - {point.label for point in chosen}
    assert left_out == {"prune=0.03", "prune=0.07"}
    assert [point for point in points if point in chosen] == chosen  # in their order
