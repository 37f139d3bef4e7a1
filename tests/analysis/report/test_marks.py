"""The marks of the report's figure: controls, single runs, and what is said of a point."""

from effbench.analysis.curves.curve import control_curve, curve_of
from effbench.analysis.report.marks import bars_of, control_marks, keys_of, point_marks, said_of, seed_marks
from effbench.analysis.report.panel import scales_of


def curve_and_scales(runs):
    curve = curve_of(runs, cost="size_bytes")
    return curve, *scales_of(curve, None, 0.02)


def test_a_point_says_what_it_costs_and_loses(grid_runs):
    curve, *_ = curve_and_scales(grid_runs(n_seeds=2))
    row = curve.labels.index("prune=0.5")
    said = said_of(curve, row).splitlines()
    assert said[0] == "prune=0.5" and said[1].startswith("validation accuracy: 94.4 % ± 0.071 over 2 seeds")
    assert said[2] == "file size: 22 KB (0.55× the reference's)" and said[3] == "loses 0.6 points; test: loses 0.6"
    assert keys_of(curve, row) == ["0.5-32-0", "0.5-32-1"]
    assert len(said_of(curve, curve.reference).splitlines()) == 3


def test_single_runs_have_marks_where_there_are_several(grid_runs):
    for n_seeds in (1, 3):
        curve, x, y = curve_and_scales(grid_runs(n_seeds=n_seeds))
        marks = seed_marks(curve, x, y, lambda keys: keys[0])
        assert len(marks) == (9 * 3 if n_seeds == 3 else 0)
        assert len(bars_of(curve, x, y)) == (9 if n_seeds == 3 else 0)
        assert {mark.page for mark in marks} == (set(curve.runs["run_key"]) if marks else set())


def test_the_legend_names_series_but_none_of_which_only_the_reference_is(grid_runs):
    runs = grid_runs(n_seeds=1)
    alone = runs[runs["reference"] | ((runs["prune"] > 0) & (runs["bits"] < 32))]
    for frame, n_names in ((runs, runs["bits"].nunique()), (alone, alone["bits"].nunique() - 1)):
        curve, x, y = curve_and_scales(frame)
        _, lines, legend = point_marks(curve, x, y, lambda keys: None)
        assert len(legend) == n_names and len({entry.colour for entry in legend}) == n_names
        assert len(lines) == n_names


def test_controls_are_hollow_diamonds(grid_runs):
    runs = grid_runs()
    runs["control"] = runs["point"] == "prune=0.5"
    _, x, y = curve_and_scales(runs)
    assert [mark.kind for mark in control_marks(control_curve(runs, cost="size_bytes"), x, y, lambda keys: None)] == [
        "control"
    ]
    assert control_marks(None, x, y, lambda keys: None) == []
