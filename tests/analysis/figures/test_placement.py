import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from effbench.analysis.figures.placement import Label, line_boxes, marker_boxes, place_labels


@pytest.fixture
def ax():
    return empty_axes()


def empty_axes():
    figure = Figure(figsize=(5, 4), dpi=72)  # one pixel is one point
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return axes


def box_of(text):
    extent = super(type(text), text).get_window_extent()
    return extent.x0, extent.y0, extent.x1, extent.y1


def overlap(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)), min_size=1, max_size=5, unique=True))
def test_labels_cover_neither_markers_nor_each_other_while_there_is_room(anchors):
    ax = empty_axes()
    x, y = np.array(anchors).T
    markers = marker_boxes(ax, x, y, size=6)
    placed = place_labels(ax, [Label(text="p=1", x=a, y=b) for a, b in anchors], obstacles=markers, fontsize=7)
    ax.figure.draw_without_rendering()
    boxes = [box_of(text) for text in placed]
    assert len(boxes) == len(anchors)
    frame = ax.get_window_extent()
    for first, second in itertools.combinations(boxes, 2):
        assert overlap(first, second) < 1.0
    for box in boxes:
        assert all(overlap(box, marker) < 1.0 for marker in markers)
        assert frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1


def test_an_optional_label_without_a_place_is_left_out_and_a_needed_one_is_not(ax):
    frame = ax.get_window_extent()
    everywhere = [(frame.x0, frame.y0, frame.x1, frame.y1)]
    labels = [Label(text="needed", x=0.5, y=0.5), Label(text="optional", x=0.5, y=0.5, optional=True)]
    assert [text.get_text() for text in place_labels(ax, labels, obstacles=everywhere, fontsize=8)] == ["needed"]


def test_text_far_from_its_point_has_a_line_to_it(ax):
    near, far = Label(text="near", x=0.2, y=0.5), Label(text="far", x=0.7, y=0.5)
    anchor = ax.transData.transform((0.7, 0.5))
    around = [(anchor[0] - 12, anchor[1] - 12, anchor[0] + 12, anchor[1] + 12)]
    texts = place_labels(ax, [near, far], obstacles=around, fontsize=8)
    assert [text.arrow_patch is not None for text in texts] == [False, True]


def test_of_many_points_a_name_has_its_place_beside_its_point_or_none(ax):
    crowd = np.linspace(0.3, 0.7, 60)
    obstacles = marker_boxes(ax, crowd, np.full(60, 0.5), size=7)
    labels = [Label(text=f"p={n}", x=x, y=0.5, optional=True, near=True) for n, x in enumerate(crowd)]
    placed = place_labels(ax, labels, obstacles=obstacles, fontsize=8)
    assert 4 <= len(placed) < 60
    assert all(text.arrow_patch is None or abs(text.xyann[1]) <= 20 for text in placed)


def test_a_name_does_not_stand_where_it_would_be_taken_for_that_of_another_point(ax):
    other, own = (0.75, 0.5), (0.25, 0.5)
    (x, y), (left, bottom), (right, top) = (ax.transData.transform(place) for place in (other, (0, 0), (1, 1)))
    # All of the axes is covered but for a place beside the other point.
    taken = [(left, bottom, x + 8, top), (x + 8, y + 12, right, top), (x + 8, bottom, right, y - 12)]
    far = Label(text="p=1", x=own[0], y=own[1], optional=True)
    anchors = {"obstacles": taken, "fontsize": 7}
    assert place_labels(ax, [far], anchors=[own, other], **anchors) == []
    assert len(place_labels(ax, [far], anchors=[own], **anchors)) == 1


def test_a_line_to_a_point_crosses_no_other_text(ax):
    labels = [Label(text="a long name", x=0.5, y=0.5), Label(text="another long name", x=0.5, y=0.52)]
    anchor = ax.transData.transform((0.5, 0.5))
    around = [(anchor[0] - 20, anchor[1] - 20, anchor[0] + 20, anchor[1] + 20)]
    first, second = place_labels(ax, labels, obstacles=around, fontsize=8)
    ax.figure.draw_without_rendering()
    box, end = box_of(first), ax.transData.transform((0.5, 0.52))
    left, bottom, right, top = box_of(second)
    for share in np.linspace(0, 1, 40):
        x, y = (1 - share) * np.array([(left + right) / 2, (bottom + top) / 2]) + share * end
        assert not (box[0] < x < box[2] and box[1] < y < box[3])


def test_names_are_no_markup(ax):
    (text,) = place_labels(ax, [Label(text="$x^2$ _a_ <b>", x=0.5, y=0.5)], obstacles=[], fontsize=8)
    assert text.get_text() == "$x^2$ _a_ <b>" and not text.get_parse_math()


def test_boxes_along_a_line_leave_no_gap(ax):
    boxes = line_boxes(ax, np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    centres = np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes])
    assert np.hypot(*np.diff(centres, axis=0).T).max() <= 3.1
    assert centres[[0, -1]] == pytest.approx(ax.transData.transform([(0, 0), (1, 1)]))


def test_marker_boxes_are_as_large_as_markers(ax):
    ((left, bottom, right, top),) = marker_boxes(ax, np.array([0.5]), np.array([0.5]), size=10)
    assert (right - left, top - bottom) == pytest.approx((10, 10))
