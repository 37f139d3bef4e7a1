"""Each axis's own curve on the page: its line, its marks, the joint front behind."""

from effbench.analysis import answers
from effbench.analysis.report.axes_panel import axes_panels
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP


def panels(runs):
    return axes_panels(answers(runs), page_of=lambda keys: f"/{len(keys)}")


def test_a_line_for_each_axis_and_a_mark_for_each_point(grid_runs):
    (panel,) = panels(grid_runs(n_seeds=2))
    kinds = [mark.kind for mark in panel.marks]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"reference": 1, "front": 4, "several": 4}
    assert [(line.kind, len(line.corners)) for line in panel.lines] == [("behind", 6), ("line", 3), ("line", 3)]
    assert [entry.name for entry in panel.legend] == ["joint front", "prune", "bits", "several axes", "reference"]
    assert all(LEFT < mark.x < RIGHT and TOP < mark.y < BOTTOM for mark in panel.marks)
    assert {mark.page for mark in panel.marks} == {"/2"}
    assert {label.text for label in panel.labels} <= {"reference", "prune=0.5", "prune=0.9", "bits=8", "bits=4"}
    assert panel.x_title == "file size (KB), logarithmic" and panel.y_title == "validation accuracy (%)"


def test_categories_are_not_joined(grid_runs):
    runs = grid_runs()
    names = {32: "usual", 8: "grouped", 4: "separable"}
    runs["conv"] = runs.pop("bits").map(names)
    for width, name in names.items():
        runs["point"] = runs["point"].str.replace(f"bits={width}", f"conv={name}")
    (panel,) = panels(runs)
    assert [line.said for line in panel.lines] == ["joint front", "prune"]


def test_one_axis_or_none_has_no_panel(grid_runs):
    assert panels(grid_runs(widths=(32,))) == []
    assert axes_panels([], page_of=lambda keys: None) == []


def test_where_nothing_has_a_reference_there_is_none(grid_runs):
    runs = grid_runs().drop(columns=["reference", "reference_key"])
    assert panels(runs[runs["point"] != "reference"]) == []


def test_each_group_has_its_panel(grid_runs):
    import pandas as pd

    runs = pd.concat([grid_runs().assign(model=name) for name in ("a", "b")], ignore_index=True)
    runs["run_key"] += runs["model"]
    runs["reference_key"] += runs["model"]
    assert [panel.title for panel in panels(runs)] == ["model=a, file size", "model=b, file size"]
