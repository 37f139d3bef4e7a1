"""The figure of a sweep: nothing covers anything, nothing is cut, nothing stands there twice, no place is empty."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from effbench.analysis import answers, answers_figure, answers_png, plot_saturation
from tests.analysis.conftest import runs_of


def boxes_of(texts):
    return [super(type(text), text).get_window_extent() for text in texts]


def legend_of(figure):
    (legend,) = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend() is not None)]
    return legend.get_window_extent()


def crossings(ax, box):
    """The points of an axes' markers and lines that lie inside a box (pixels)."""
    places = [np.asarray(dots.get_offsets()) for dots in ax.collections if dots.get_gid() in ("points", "reference")]
    for line in ax.lines:
        if line.get_gid() == "front":
            ends = np.asarray(line.get_xydata(), dtype=float)
            pixels = ax.transData.transform(ends)
            places += [ax.transData.inverted().transform(np.linspace(a, b, 50)) for a, b in itertools.pairwise(pixels)]
    shown = ax.transData.transform(np.concatenate(places))
    inside = (shown > [box.x0, box.y0]) & (shown < [box.x1, box.y1])
    return int(inside.all(axis=1).sum())


def assert_readable(figure):
    """No name covers a name, a mark or a line; the legend covers nothing; all is inside the figure."""
    figure.draw_without_rendering()
    legend = legend_of(figure)
    for ax in figure.axes:
        names = boxes_of([text for text in ax.texts if text.get_gid() != "group"])
        for first, second in itertools.combinations(names, 2):
            assert not first.overlaps(second)
        for box in names:
            assert crossings(ax, box) == 0
            assert not box.overlaps(legend)
        assert crossings(ax, legend) == 0
        frame = figure.bbox
        for box in [
            *boxes_of(ax.texts),
            ax._left_title.get_window_extent(),
            ax.xaxis.label.get_window_extent(),
            legend,
        ]:
            assert box.width == 0 or (frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1)
            assert box.height == 0 or (frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1)
        for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t, at in zip(axis.get_majorticklabels(), axis.get_majorticklocs(), strict=True)]
            ticks = [
                t.get_window_extent()
                for t, at in zip(ticks, axis.get_majorticklocs(), strict=True)
                if low <= at <= high
            ]
            ends = sorted((getattr(t, f"{side}0"), getattr(t, f"{side}1")) for t in ticks)
            assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
            assert len(ticks) >= 2


def sweep(n, *, axis="prune", n_seeds=1, spread=0.004, decades=1.0, seed=0, model="net"):
    """n points along an axis, their quality falling faster and faster."""
    random = np.random.default_rng(seed)
    points = [("reference", 100_000, [0.97] * n_seeds)]
    for k, share in enumerate(np.linspace(0, 1, n + 1)[1:]):
        quality = 0.97 - 0.3 * share**6 + random.normal(0, spread, n_seeds)
        points.append((f"{axis}={share:.3f}", round(100_000 * 10 ** (-decades * share)) - k, list(quality)))
    return runs_of(points, seeds=tuple(range(n_seeds)), model=model)


@pytest.mark.extended
@settings(max_examples=4, deadline=None)
@given(
    n=st.integers(1, 60),
    n_seeds=st.sampled_from([1, 1, 3]),
    decades=st.floats(0.3, 5),
    seed=st.integers(0, 99),
    axis=st.sampled_from(["prune", "stage.prune.$x_1$", "a" * 70]),
)
def test_every_figure_of_one_axis_is_readable(n, n_seeds, decades, seed, axis):
    runs = sweep(n, n_seeds=n_seeds, decades=decades, seed=seed, axis=axis)
    found = [answer for answer in answers(runs) if answer.cost]
    assert_readable(answers_figure(found))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("n", [1, 5, 60])
def test_axes_of_the_users_own_are_readable(n):
    figure = Figure(figsize=(6, 4))
    plot_saturation(sweep(n), ax=figure.subplots())
    assert_readable(figure)


def grid(*, latency=True):
    rows = []
    for a, p, b in itertools.product((1.0, 0.5, 0.25), (0.0, 0.5, 0.9), (32, 8, 4)):
        is_reference = (a, p, b) == (1.0, 0.0, 32)
        row = {"point": "reference" if is_reference else f"alpha={a}, prune={p}, bits={b}", "alpha": a, "prune": p}
        row |= {"bits": b, "reference": is_reference, "size_bytes": 1e6 * a * a * (1 - 0.9 * p) * b / 32}
        row |= {"macs": 1e6 * a * a, "macs_effective": 1e6 * a * a * (1 - 0.9 * p), "seed": 0}
        rows.append(row | {"accuracy_val": 0.98 - 0.02 / a - 0.05 * p**4 - 0.2 / 2**b, "latency_ms/eager": 0.1 + a})
    return pd.DataFrame(rows) if latency else pd.DataFrame(rows).drop(columns="latency_ms/eager")


@pytest.mark.extended
def test_a_grid_is_readable_and_has_a_line_for_each_combination():
    found = answers(grid(latency=False))
    figure = answers_figure(found)
    assert_readable(figure)
    assert [len([line for line in ax.lines if line.get_gid() == "front"]) for ax in figure.axes] == [9, 9, 9]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(texts) == len(set(texts)) and {"alpha=0.25, prune=0.9", "reference", "saturation point"} <= set(texts)


def test_costs_in_proportion_are_one_panel_that_says_so():
    runs = runs_of([("reference", 9000, 0.9), ("rho=0.5", 5000, 0.89), ("rho=0.2", 2000, 0.5)], seeds=(0,))
    runs["macs"] = runs["macs_effective"] = [4e6, 1e6, 2e5]
    figure = answers_figure(answers(runs))
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["file size (KB)", "multiply-adds (K MACs)\n(in proportion: effective multiply-adds)"]
    assert_readable(figure)
    proportional = answers_figure(answers(runs.assign(macs=2 * runs["size_bytes"])))
    assert len(proportional.axes) == 2


@pytest.mark.extended
def test_each_network_has_panels_with_its_name_and_no_place_is_empty():
    names = ("lenet_5", "torchvision_with_a_very_long_$name$_" + "x" * 60)
    runs = pd.concat([sweep(3, model=name).assign(macs=7) for name in names], ignore_index=True)
    runs["run_key"], runs["reference_key"] = runs["model"] + runs["run_key"], runs["model"] + runs["reference_key"]
    figure = answers_figure(answers(runs))
    titles = [text.get_text() for ax in figure.axes for text in ax.texts if text.get_gid() == "group"]
    assert titles[0] == "model=lenet_5" and titles[1].startswith("model=torchvision") and len(figure.axes) == 2
    assert_readable(figure)


@pytest.mark.extended
def test_the_legend_stands_in_a_place_that_is_free_else_below():
    runs = sweep(2).assign(macs=[4e6, 3e6, 2e5], macs_effective=[4e6, 1e6, 9e5])
    three, widths = answers(runs), {}
    for n in (1, 2, 3):
        figure = answers_figure(three[:n])
        figure.draw_without_rendering()
        lowest = min(ax.get_window_extent().y0 for ax in figure.axes)
        assert (legend_of(figure).y1 < lowest) == (n != 3)
        widths[n] = figure.get_size_inches()[0]
        sizes = {tuple(np.round(ax.get_window_extent().size / figure.dpi, 3)) for ax in figure.axes}
        assert sizes == {(4.5, 3.1)}
    assert widths[2] == widths[3] == 2 * widths[1]


def test_the_picture_is_white_whatever_the_users_style():
    import matplotlib.style

    runs = answers(sweep(2))
    with matplotlib.style.context("dark_background"):
        picture = Image.open(io.BytesIO(answers_png(runs))).convert("RGB")
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    assert np.asarray(picture.convert("L")).mean() > 230


@pytest.mark.parametrize("tolerance", [0.0001, 0.5])
def test_a_reason_above_is_not_cut(tolerance):
    runs = sweep(4, axis="a" * 70)
    assert_readable(answers_figure(answers(runs, tolerance=tolerance)))
