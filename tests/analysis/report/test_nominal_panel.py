"""Nominal against real as a picture: the guides, a mark and a bar for each point and engine."""

import pandas as pd
import pytest

from effbench.analysis.nominal import nominal_and_real
from effbench.analysis.report.nominal_panel import nominal_panels
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP


@pytest.fixture
def rows():
    return nominal_and_real(
        pd.DataFrame(
            {
                "point": ["reference", "prune=0.5", "prune=0.9"],
                "reference": [True, False, False],
                "macs_effective": [100, 50, 10],
                "size_bytes": [400, 200, 100],
                **{f"speedup/{name}": [1.0, 1.01, 4.0] for name in ("eager", "onnxruntime")},
                **{f"speedup_low/{name}": [1.0, 0.97, 3.5] for name in ("eager", "onnxruntime")},
                **{f"speedup_high/{name}": [1.0, 1.04, 4.4] for name in ("eager", "onnxruntime")},
            }
        )
    )


def test_each_point_has_a_mark_for_each_engine(rows):
    (panel,) = nominal_panels(rows)
    assert len(panel.marks) == len(panel.bars) == 4
    assert all(LEFT < mark.x < RIGHT and TOP < mark.y < BOTTOM for mark in panel.marks)
    assert len({(mark.x, mark.y) for mark in panel.marks}) == 4
    assert all(low > high for _, low, high in panel.bars)
    assert {line.kind: line.said for line in panel.lines} == {
        "level": "none of it is real",
        "limit": "all of it is real",
    }
    assert panel.marks[0].said == "prune=0.5, eager: 2.00× fewer multiply-adds, 1.01× as fast (0.97 to 1.04): none"
    assert [entry.name for entry in panel.legend] == ["eager", "onnxruntime"]
    assert "2 are no faster" in panel.described


def test_on_the_diagonal_promise_and_measurement_are_one(rows):
    (panel,) = nominal_panels(rows.assign(speedup=rows["macs_effective_ratio"]))
    (diagonal,) = [line for line in panel.lines if line.kind == "limit"]
    (x0, y0), (x1, y1) = diagonal.corners
    for mark in panel.marks[:2]:
        assert y0 + (mark.x - x0) / (x1 - x0) * (y1 - y0) == pytest.approx(mark.y, abs=3)


def test_where_no_promise_is_known_nothing_is_drawn(rows):
    assert nominal_panels(rows.assign(macs_effective_ratio=float("nan"))) == []
    assert nominal_panels(rows[:0]) == []


def test_a_single_point_that_is_no_faster_is_drawn(rows):
    (panel,) = nominal_panels(rows[:1].assign(macs_effective_ratio=1.0, speedup=1.0, speedup_low=1.0, speedup_high=1.0))
    assert len(panel.x_ticks) >= 1 and len(panel.y_ticks) >= 1
