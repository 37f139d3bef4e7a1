"""The panels of the report: axes with room for all that is drawn."""

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP, Line, of_runs, scales_of


def test_axes_have_room_for_points_runs_and_the_tolerance(grid_runs):
    curve = curve_of(grid_runs(n_seeds=3), cost="size_bytes")
    x, y = scales_of(curve, None, 0.5)
    assert x.is_logarithmic
    assert all(LEFT < x.place(float(cost)) < RIGHT for cost in of_runs(curve, "size_bytes"))
    assert all(TOP < y.place(float(value)) < BOTTOM for value in of_runs(curve, "accuracy_val"))
    assert TOP < y.place(0.45) < BOTTOM
    assert y.low > scales_of(curve, None, 0.6)[1].low


def test_corners_are_the_points_of_a_polyline():
    assert Line(corners=[(1.0, 2.5), (10.25, 3.0)]).points == "1,2.5 10.25,3"
