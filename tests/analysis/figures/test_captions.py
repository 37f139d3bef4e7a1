import itertools

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from effbench.analysis import pareto_front
from effbench.analysis.curves.curve import control_curve, curve_of
from effbench.analysis.figures.captions import font_size, write_labels, write_title
from effbench.analysis.figures.legend import Entry
from effbench.analysis.saturation import Saturation
from tests.analysis.conftest import runs_of


@pytest.fixture
def ax():
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    return figure.subplots()


def captions(ax, frame, chosen, *, controls=None, legend=False, **known):
    curve = curve_of(frame, cost="size_bytes")
    points = ax.scatter(curve.costs, curve.values)
    point = None if chosen is None else curve.points.iloc[chosen]
    saturation = Saturation(
        point=point, reason="so", method="tolerance", cost="size_bytes", quality=curve.quality_column, **known
    )
    write_labels(ax, curve, saturation, controls, legend=[Entry(points, "points")] if legend else ())
    return [text.get_text() for text in ax.texts]


def test_the_chosen_point_says_what_it_saves_and_loses_on_the_seeds_of_both(lucky, ax):
    texts = captions(ax, lucky, 0)
    assert texts[0] == "prune=0.9 (2 of 3 seeds)\n0.1× the bytes,\n−3.0 points"
    assert sorted(texts[1:]) == ["prune=0.5", "reference"]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"test_loss": 0.012, "test_loss_interval": (0.009, 0.017)}, "test: −1.2 ± 0.4"),
        ({"test_loss": -0.012}, "test: +1.2"),
        ({"test_loss": 0.0, "test_loss_interval": (-0.001, 0.001)}, "test: +0.0 ± 0.1"),
    ],
)
def test_the_chosen_point_says_what_it_loses_on_test(lucky, ax, known, said):
    assert captions(ax, lucky, 0, **known)[0].splitlines()[-1] == said


def test_a_reference_that_is_chosen_saves_nothing(lucky, ax):
    assert captions(ax, lucky, 2)[0] == "reference"


def test_controls_are_named_and_nothing_overlaps(lucky, ax):
    alone = pd.concat([lucky.assign(control=False), runs_of([("distill=0.9", 99_000, 0.945)]).assign(control=True)])
    controls = control_curve(alone, cost="size_bytes")
    assert "distill=0.9" in captions(ax, lucky, 1, controls=controls, legend=True)
    ax.figure.draw_without_rendering()
    boxes = [super(type(text), text).get_window_extent() for text in ax.texts]
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))
    assert ax.get_legend() is not None


def test_names_leave_out_what_the_legend_says_of_their_series(ax):
    points = [(f"alpha={a}, rho={r}", 1000 * a * r, 0.9 * a * r) for a in (0.25, 0.5) for r in (0.5, 0.75)]
    texts = captions(ax, runs_of([("reference", 1000, 0.95), *points, ("alpha=0.5", 500, 0.6)], seeds=(0,)), 1)
    assert texts[0].startswith("alpha=0.25, rho=0.75") or texts[0].startswith("alpha=0.25, rho=0.5")  # that is chosen
    assert set(texts[1:]) == {"reference", "alpha=0.5", "rho=0.5", "rho=0.75"}


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


@pytest.mark.parametrize("text", ["why " * 60, "a" * 300, "$x^2$ costs $5"])
def test_a_title_is_no_wider_than_its_axes_and_no_markup(ax, text):
    n_lines = write_title(ax, text)
    ax.figure.draw_without_rendering()
    title = ax._left_title
    assert n_lines == title.get_text().count("\n") + 1 <= 4
    assert title.get_window_extent().width <= ax.get_window_extent().width * 1.03
    assert not title.get_parse_math()


def test_text_in_small_axes_is_smaller():
    sizes = [font_size(Figure(figsize=(width, 3)).subplots()) for width in (1, 3, 6, 12)]
    assert sizes == sorted(sizes) and sizes[0] >= 5 and sizes[2] == sizes[3]
