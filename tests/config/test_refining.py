"""From a command to the curves that may be refined, and points made on them."""

import pytest

from effbench.config.members import declared_axes
from effbench.config.read import read_sweep
from effbench.config.refining import scale_of

TINY = ("model.channels=[4,4]", "data.side=8", "train.epochs=0", "finetune.epochs=0")


def planned(*arguments):
    return read_sweep([*TINY, *arguments])


def test_each_axis_with_an_order_has_its_curve_at_the_least_compressing_of_the_others():
    sweep = planned("+prune=0.5,0.9", "+bits=4,8", "+pooling=late,early", "+seed=0,1", "sweep.refine=2")
    prune, bits = sweep.refinement.curves
    assert (prune.axis, bits.axis, sweep.refinement.unordered) == ("prune", "bits", ("pooling",))
    grid = {point.key: point for point in sweep.plan.points}
    for curve, name, least in ((prune, "prune", {"bits": 8}), (bits, "bits", {"prune": 0.5})):
        for value, points in curve.points.items():
            assert [point.seed for point in points] == [0, 1]
            assert all(point.axes == {**point.axes, **least, name: value, "pooling": "late"} for point in points)
            assert all(grid[point.key].label == point.label for point in points)  # the grid's own
    assert sweep.refinement.most_runs == 2 * 2 * 2


def test_a_neutral_value_that_is_asked_for_is_where_the_others_stand():
    prune, bits = planned("+prune=0.5,0,0.9", "+bits=8,32", "sweep.refine=1").refinement.curves
    assert prune.points[0.5][0].label == "prune=0.5" and bits.points[8][0].label == "bits=8"
    assert prune.points[0][0].is_reference


@pytest.mark.extended
def test_a_point_between_is_made_as_one_of_a_grid_is():
    arguments = ("+bits=8,4", "+seed=3,4")
    curve = planned("+prune=0.5,0.9", *arguments, "sweep.refine=1").refinement.curves[0]
    wider = planned("+prune=0.5,0.7,0.9", *arguments)
    own = {point.key: point for point in wider.plan.points}
    for point in curve.make(0.7):
        same = own[point.key]
        assert (point.label, point.axes, point.reference_key) == (same.label, same.axes, same.reference_key)
        assert point.is_refined and not same.is_refined
    assert all(point.key in own for point in curve.references)


@pytest.mark.extended
def test_the_id_and_the_keys_are_the_grids_whether_or_not_it_is_refined():
    plain, refined = planned("+prune=0.5"), planned("+prune=0.5", "sweep.refine=3")
    assert plain.plan.sweep_id == refined.plan.sweep_id and plain.refinement.curves == ()
    assert [point.key for point in plain.plan.points] == [point.key for point in refined.plan.points]
    more = refined.with_points(refined.refinement.curves[0].make(0.25))
    assert more.plan.sweep_id == plain.plan.sweep_id and len(more.plan.points) == 3


@pytest.mark.extended
def test_each_configuration_has_curves_of_its_own():
    curves = planned("+prune=0.5", "coder=huffman,none", "sweep.refine=1").refinement.curves
    assert [curve.name for curve in curves] == ["coder=huffman, prune", "coder=none, prune"]
    assert [curve.make(0.25)[0].coder for curve in curves] == ["huffman", "none"]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+pooling=early"], "sweep.refine=2: needs an axis with an order that moves bytes or multiply-adds: pooling"),
        (["+act_bits=8"], "sweep.refine=2: needs an axis with an order"),
        (["+distill=0.5"], "sweep.refine=2: needs an axis with an order"),
        ([], "sweep.refine=2: needs an axis with an order that moves bytes or multiply-adds, as in +prune=0.5,0.9"),
    ],
)
def test_what_has_no_order_is_refused(arguments, message):
    with pytest.raises(ValueError) as caught:
        planned(*arguments, "sweep.refine=2")
    assert str(caught.value).startswith(message)
    planned(*arguments, "sweep.refine=0")


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("value", ["-1", "1.5", "many", "true", "null", "101"])
def test_a_number_of_values_is_a_whole_one(value):
    with pytest.raises(ValueError, match=f"sweep.refine={value}: must be a whole number, 0 to 100"):
        planned("+prune=0.5", f"sweep.refine={value}")


def test_the_scales_of_effbenchs_axes():
    axes = declared_axes()
    ends = {name: (scale.weakest, scale.limit) for name in axes if (scale := scale_of(axes[name])) is not None}
    assert ends["prune"] == (0, 1) and ends["bits"] == (32, 1) and ends["share"] == (65536, 2)
    assert ends["alpha"] == (1, 0) and ends["tokens"] == (1, 0) and ends["prune_blocks"] == (0, None)
    assert {"pooling", "groups", "act_bits", "distill", "kernel", "shuffle"}.isdisjoint(ends)
    geometric = {name for name in ends if scale_of(axes[name]).is_geometric}
    assert geometric == {"bits", "bits_budget", "rate", "share"}
