import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from effbench.analysis import pareto_front
from effbench.analysis.captions import base_word, write_labels
from effbench.analysis.curve import curve_of
from effbench.analysis.placement import Label
from tests.analysis.conftest import runs_of


@pytest.fixture
def ax():
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    return figure.subplots()


def captions(ax, frame, chosen, *, controls=(), legend=False):
    curve = curve_of(frame, cost="size_bytes")
    ax.scatter(curve.costs, curve.values, label="points")
    write_labels(ax, curve, chosen, controls, legend=legend)
    return [text.get_text() for text in ax.texts]


def test_the_chosen_point_says_what_it_saves_and_loses_on_the_seeds_of_both(lucky, ax):
    texts = captions(ax, lucky, 0)
    assert texts[0] == "prune=0.9 (2 of 3 seeds)\n0.1× the bytes,\n−3.0 points"
    assert sorted(texts[1:]) == ["prune=0.5", "reference"]


def test_a_reference_that_is_chosen_saves_nothing(lucky, ax):
    assert captions(ax, lucky, 2)[0] == "reference"


def test_controls_are_named_and_nothing_overlaps(lucky, ax):
    control = Label(text="distill=0.9", x=100_000, y=0.945)
    assert "distill=0.9" in captions(ax, lucky, 1, controls=[control], legend=True)
    ax.figure.draw_without_rendering()
    boxes = [super(type(text), text).get_window_extent() for text in ax.texts]
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert ax.get_legend() is not None


def test_of_many_points_only_the_front_is_named(ax):
    points = [
        ("reference", 1000, 0.95),
        *((f"a={n}", 1000 - 20 * n, 0.9 - 0.01 * (n % 5) - 0.003 * n) for n in range(1, 30)),
    ]
    frame = runs_of(points, seeds=(0,))
    texts = captions(ax, frame, None)
    front = set(pareto_front(frame, cost="size_bytes")["point"])
    assert "reference" in texts and len(texts) >= 2
    assert set(texts) <= front < set(frame["point"])


def test_what_points_are_compared_with(lucky):
    assert base_word(curve_of(lucky, cost="size_bytes")) == "reference"
    alone = lucky[lucky["reference"]]
    assert base_word(curve_of(alone, cost="size_bytes")) == "most accurate"
