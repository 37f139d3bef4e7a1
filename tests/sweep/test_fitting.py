"""Which columns of a table fit: whole ones go, the least important first, at every width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.sweep.fitting import GAP, Column, fitted

METRICS = ("n_seeds", "accuracy", "accuracy_std", "accuracy_val", "size_bytes", "size_ratio", "macs", "macs_effective")
METRICS += ("params_nonzero", *(f"{kind}/{engine}" for engine in "abc" for kind in ("latency_ms", "speedup")), "iou")


def column(name, *cells, is_axis=False):
    return Column(name=name, heading=name.replace("_", "\n"), cells=cells, is_axis=is_axis)


def table(*axes):
    there = [column(name, value, "0", is_axis=True) for name, value in axes]
    return [*there, *(column(name, "12.3 K", "4.56 M") for name in METRICS)]


def width(columns):
    return sum(one.width for one in columns) + GAP * (len(columns) - 1)


AXES = [
    [("prune", "0.5")],
    [("model", "torchvision_mobilenet_v3_large"), ("prune", "0.5"), ("bits", "8"), ("recipe.steps", "[train, prune]")],
    [],
]


@pytest.mark.parametrize("axes", AXES)
@given(narrow=st.integers(1, 250), more=st.integers(0, 60))
def test_what_is_shown_fits_and_a_wider_terminal_shows_as_much(axes, narrow, more):
    columns = table(*axes)
    less, wider = (fitted(columns, n, quality="accuracy") for n in (narrow, narrow + more))
    assert width(less.columns) <= narrow or len([c for c in less.columns if c.name in METRICS]) == 1
    shown, shown_wider = ([c.name for c in one.columns if c.name in METRICS] for one in (less, wider))
    assert set(shown) <= set(shown_wider) or (less.names and not wider.names)
    assert sorted([*shown, *(c.name for c in less.left_out)]) == sorted(METRICS)
    assert shown == [name for name in METRICS if name in shown]
    assert all(c in columns for c in less.columns if c.name in METRICS)


def test_at_full_width_all_are_there_as_they_are():
    columns = table(*AXES[1])
    assert fitted(columns, width(columns), quality="accuracy").columns == tuple(columns)


def test_quality_and_bytes_stay_longest_and_axes_stay_where_they_can():
    columns = table(("prune", "0.5"))
    order = []
    for n in range(width(columns), 10, -1):
        order += [c.name for c in fitted(columns, n, quality="accuracy").left_out if c.name not in order]
    assert order[0] == "iou" and order[-2:] == ["accuracy_val", "size_bytes"]
    assert fitted(columns, 23, quality="accuracy").columns[0].name == "prune"


def test_a_cost_that_no_point_moves_goes_before_one_that_does():
    columns = [column("prune", "0", "1", is_axis=True), column("accuracy", "98.1 %", "1 %")]
    columns += [column("macs", "3.67 M", "3.67 M"), column("params_nonzero", "36 K", "4 K")]
    shown = fitted(columns, width(columns) - 1, quality="accuracy")
    assert [c.name for c in shown.left_out] == ["macs"]


def test_where_axes_leave_no_room_rows_have_numbers_and_are_named():
    shown = fitted(table(*AXES[1]), 40, quality="accuracy")
    assert shown.columns[0].cells == ("1", "2")
    assert shown.names[0] == "model=torchvision_mobilenet_v3_large, prune=0.5, bits=8, recipe.steps=[train, prune]"
    assert {"accuracy", "size_bytes"} <= {c.name for c in shown.columns}
