"""The legend: what it says is what was given, and it covers nothing."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from effbench.analysis.figures.legend import Entry, place_legend, unique_entries
from effbench.analysis.figures.placement import covered, marker_boxes


@pytest.fixture
def ax():
    axes = Figure(figsize=(5, 4), dpi=72).subplots()  # one pixel is one point
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return axes


def entries(*texts, is_series=False):
    return [Entry(Line2D([], [], marker="o"), text, is_series) for text in texts]


def placed(ax, listed, x, y, *, size=8):
    def obstacles():
        return marker_boxes(ax, np.asarray(x, dtype=float), np.asarray(y, dtype=float), size=size)

    box = place_legend(ax, listed, obstacles=obstacles, fontsize=8)
    ax.figure.draw_without_rendering()
    extent = ax.get_legend().get_window_extent()
    assert (extent.x0, extent.y0, extent.x1, extent.y1) == pytest.approx(box, abs=1.5)
    return covered(box, obstacles())


@pytest.mark.parametrize(("x", "y"), [(0.05, 0.05), (0.95, 0.05), (0.05, 0.95), (0.95, 0.95)])
def test_it_goes_where_the_points_are_not(ax, x, y):
    assert placed(ax, entries("points"), [x], [y], size=30) == 0
    assert ax.get_ylim() == (0, 1)


def test_where_points_are_everywhere_room_is_made(ax):
    x, y = np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 12))
    assert placed(ax, entries("points", "more", "reference"), x.ravel(), y.ravel()) == 0
    assert ax.get_ylim()[0] < 0 and ax.get_ylim()[1] == 1


def test_where_there_is_no_room_at_all_it_stands_below():
    axes = Figure(figsize=(1.2, 0.8), dpi=72).subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    assert placed(axes, entries(*"abcdefgh"), [0.5], [0.5]) == 0
    assert axes.get_ylim() == (0, 1)


def test_names_are_written_as_they_are_even_those_that_matplotlib_would_leave_out(ax):
    placed(ax, entries("_hidden", "$x^2$", "a" * 80, "two\nlines"), [0.5], [0.5])
    first, second, third, fourth = ax.get_legend().get_texts()
    assert (first.get_text(), second.get_text()) == ("_hidden", "$x^2$") and not second.get_parse_math()
    assert len(third.get_text()) < 40 and fourth.get_text() == "two\nlines"


def test_of_many_series_some_are_left_out_and_counted_but_no_meaning(ax):
    placed(ax, [*entries(*map(str, range(40)), is_series=True), *entries("reference")], [0.5], [0.5])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(texts) <= 15 and texts[-1] == "reference"
    assert texts[-2] == f"… and {40 - (len(texts) - 2)} more"


def test_entries_stand_once_and_in_order():
    assert [entry.text for entry in unique_entries(entries("a", "b", "a"))] == ["a", "b"]
