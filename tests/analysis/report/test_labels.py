"""Names in the report's figure cover no point and no other name."""

import itertools

import numpy as np
import pytest

from effbench.analysis.report.labels import Box, place_labels, shortened, text_width

FRAME = Box(left=0, top=0, right=480, bottom=330)


def box_of(label):
    left = label.x - {"start": 0, "end": 1, "middle": 0.5}[label.anchor] * text_width(label.text)
    return Box(left=left, top=label.y - 10, right=left + text_width(label.text), bottom=label.y + 3)


@pytest.mark.parametrize("n_points", [1, 4, 60])
def test_labels_cover_nothing(n_points):
    random = np.random.default_rng(0)
    points = [tuple(point) for point in random.uniform((10, 10), (470, 320), (n_points, 2))]
    labels = place_labels(
        points, [f"prune=0.{number}" for number in range(n_points)], order=range(n_points), frame=FRAME
    )
    boxes = [box_of(label) for label in labels]
    assert labels and all(FRAME.holds(box) for box in boxes)
    assert not any(one.touches(other) for one, other in itertools.combinations(boxes, 2))
    marks = [Box(left=x - 5, top=y - 5, right=x + 5, bottom=y + 5) for x, y in points]
    assert not any(box.touches(mark) for box in boxes for mark in marks)


@pytest.mark.parametrize("place", [(240.0, 160.0), (470.0, 160.0), (240.0, 8.0), (20.0, 320.0)])
def test_a_name_stands_beside_its_ring(place):
    (label,) = place_labels([place], ["prune=0.8"], order=[0], frame=FRAME, ringed=0)
    x, y = place
    assert not box_of(label).touches(Box(left=x - 11, top=y - 11, right=x + 11, bottom=y + 11))


def test_a_name_is_not_written_over_a_line():
    flat = [(20.0, 100.0), (240.0, 100.0), (460.0, 100.0)]
    for line in (flat, [(20.0, 300.0), (240.0, 100.0), (460.0, 90.0)]):
        labels = place_labels(line, ["a=1", "a=2", "a=3"], order=range(3), frame=FRAME, lines=[line])
        assert len(labels) == 3
        for label in labels:
            box = box_of(label)
            for (x0, y0), (x1, y1) in itertools.pairwise(line):
                across = np.linspace(0, 1, 200)
                inside = (box.left < x0 + (x1 - x0) * across) & (x0 + (x1 - x0) * across < box.right)
                at = y0 + (y1 - y0) * across
                assert not (inside & (box.top < at) & (at < box.bottom)).any()


def test_the_first_in_order_has_its_name():
    points = [(100.0, 100.0), (101.0, 101.0)]
    (label, *_) = place_labels(points, ["a" * 20, "b" * 20], order=[1, 0], frame=FRAME)
    assert label.text.startswith("b")


def test_long_names_are_shortened_and_wide_letters_count_two():
    assert shortened("a\nb") == "a b" and len(shortened("x" * 99)) == 30
    assert text_width("宽") == 2 * text_width("x")
